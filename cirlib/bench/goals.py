"""Goals of the kernels, set before anything was measured, held against the recorded rows of `results/benchmarks/kernels.csv`.

A goal is a ratio to a floor or to a peer of the same case in the same run, and the worst case counts. Which rows speak about a goal is
found by bench, case and provider; a goal about which no row speaks is "not measured", and one that a single row misses is "not met".
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

Row = Mapping[str, Any]
Group = dict[str, Row]  # provider to row: one case on one machine


@dataclass(frozen=True)
class Goal:
    """One thing to reach.

    Attributes:
        name: Number in the list of goals.
        measure: What is divided by what, and where.
        bar: What must be reached.
        at_most: Whether smaller is better.
        values: The ratio of every case that speaks about the goal.
    """

    name: str
    measure: str
    bar: float
    at_most: bool
    values: Callable[[Sequence[Group]], Iterable[float]]

    def verdict(self, groups: Sequence[Group]) -> tuple[float | None, int, str]:
        """The worst ratio, of how many cases, and "met", "not met" or "not measured"."""
        values = list(self.values(groups))
        if not values:
            return None, 0, "not measured"
        worst = max(values) if self.at_most else min(values)
        return worst, len(values), "met" if (worst <= self.bar if self.at_most else worst >= self.bar) else "not met"


def goals_table(rows: Sequence[Row], goals: Sequence[Goal] | None = None) -> pd.DataFrame:
    """Every goal with what was measured.

    Args:
        rows: As `bench.record.read_rows` gives them, of any number of machines.
        goals: All of `GOALS` without it.

    Returns:
        Columns `goal`, `measure`, `must` (a text), `measured` (the worst case, a text; "" where none), `cases`, `verdict`.
    """
    groups, lines = grouped(rows), []
    for goal in GOALS if goals is None else goals:
        worst, cases, verdict = goal.verdict(groups)
        must = f"{'<=' if goal.at_most else '>='} {goal.bar:g}"
        shown = "" if worst is None else f"{worst:.3g}"
        lines.append({"goal": goal.name, "measure": goal.measure, "must": must, "measured": shown, "cases": cases, "verdict": verdict})
    return pd.DataFrame(lines)


def grouped(rows: Sequence[Row]) -> list[Group]:
    """Rows of one case on one machine together, by provider. The run date does not count: a case is measured in one run."""
    groups: dict[tuple[Any, ...], Group] = {}
    for row in rows:
        key = tuple(row[name] for name in ("device", "hardware", "threads", "bench", "case"))
        groups.setdefault(key, {})[row["provider"]] = row
    return list(groups.values())


def ratios(
    groups: Sequence[Group], over: str, under: str, value: str = "p50_ms", *, bench: str, device: str = "cpu", case: str = ""
) -> Iterator[float]:
    """A value of one provider divided by that of another, in each case that has both.

    Args:
        groups: From `grouped`.
        over: Beginning of the provider's name above the line; of several the smallest value counts, as the best peer.
        under: Beginning of the other's name, likewise.
        value: Column or key of `extra`.
        bench: Name of the benchmark.
        device: "cpu" or "cuda".
        case: Beginning of the case's name.
    """
    for group in groups:
        if not _about(group, bench, device, case):
            continue
        above, below = (best(group, name, value) for name in (over, under))
        if above is not None and below:
            yield above / below


def best(group: Group, provider: str, value: str = "p50_ms") -> float | None:
    """The smallest value of the providers whose name begins so; None where none has it."""
    found = [number for name, row in group.items() if name.startswith(provider) and (number := number_of(row, value)) is not None]
    return min(found, default=None)


def number_of(row: Row, value: str) -> float | None:
    """A column, or else a key of `extra`."""
    return row[value] if value in row else row["extra"].get(value)


def _about(group: Group, bench: str, device: str, case: str) -> bool:
    first = next(iter(group.values()))
    return first["bench"] == bench and first["device"] == device and first["case"].startswith(case)


def _gpu_cases(groups: Sequence[Group], kind: str, keep: Callable[..., bool], sort: bool = False) -> Iterator[tuple[str, Group]]:
    """Name and rows of the cases of `cirlib bench gpu` of one kind, such as "search-1024x10000000x512-k100", whose sizes are kept."""
    for group in groups:
        if not _about(group, "gpu", "cuda", f"{kind}-"):
            continue
        name = next(iter(group.values()))["case"]
        if name.endswith("-sorted") == sort and keep(*map(int, re.findall(r"\d+", name))):
            yield name, group


def _gpu_ratio(
    kind: str, over: str, under: str, keep: Callable[..., bool], value: str = "p50_ms"
) -> Callable[[Sequence[Group]], Iterator[float]]:
    """Values of two providers of `cirlib bench gpu`, divided."""

    def values(groups: Sequence[Group]) -> Iterator[float]:
        for _, group in _gpu_cases(groups, kind, keep):
            above, below = best(group, over, value), best(group, under, value)
            if above is not None and below:
                yield above / below

    return values


def _gpu(
    kind: str, provider: str, value: Callable[[Row], float | None], keep: Callable[..., bool]
) -> Callable[[Sequence[Group]], Iterator[float]]:
    """A number of one provider of `cirlib bench gpu`."""

    def values(groups: Sequence[Group]) -> Iterator[float]:
        for _, group in _gpu_cases(groups, kind, keep):
            if provider in group and (number := value(group[provider])) is not None:
                yield number

    return values


def _times_floor(row: Row) -> float | None:
    return row["p50_ms"] / row["floor_ms"] if row["p50_ms"] and row["floor_ms"] else None


def _bandwidth(row: Row) -> float | None:
    speeds = row["extra"].get("ceilings", {})
    return row["extra"]["gbps"] / speeds["copy_gbps"] if "gbps" in row["extra"] and speeds else None


def _below_half_floor(groups: Sequence[Group]) -> Iterator[float]:
    """Time of the 8-bit statistical search over the floor of a 16-bit one."""
    for _, group in _gpu_cases(groups, "search", lambda q, g, *_: g >= 10_000_000):
        ours, half = group.get("cirlib-int8-statistical"), group.get("cirlib-half")
        if ours and half and ours["p50_ms"] and half["floor_ms"]:
            yield ours["p50_ms"] / half["floor_ms"]


def _sorted_to_random(groups: Sequence[Group]) -> Iterator[float]:
    """Times the floor on the sorted gallery over times the floor on the random one, same queries, dimension and k."""
    anywhere = {tuple(map(int, re.findall(r"\d+", name))): group for name, group in _gpu_cases(groups, "search", lambda *_: True)}
    for name, group in _gpu_cases(groups, "search", lambda *_: True, sort=True):
        queries, _, *rest = map(int, re.findall(r"\d+", name))
        for (other, _, *others), match in anywhere.items():
            if (other, others) == (queries, rest) and "cirlib-half" in group and "cirlib-half" in match:
                above, below = _times_floor(group["cirlib-half"]), _times_floor(match["cirlib-half"])
                if above and below:
                    yield above / below


def _faiss_to_certified(groups: Sequence[Group]) -> Iterator[float]:
    """Time of the better FAISS over ours at a million rows; 0 where ours is not the list of float64, up to what fixed point tells apart."""
    for group in groups:
        if _about(group, "search", "cpu", "even-1m") or _about(group, "search", "cpu", "clip-like-1m"):
            theirs, ours = best(group, "faiss"), group.get("certified")
            if theirs and ours and ours["p50_ms"]:
                yield theirs / ours["p50_ms"] if _as_float64(ours) == 1 else 0.0


def _certified_to_floor(groups: Sequence[Group]) -> Iterator[float]:
    """Times the fp32 floor, of the certified search at a million rows and 1,024 queries."""
    for group in groups:
        first = next(iter(group.values()))
        asked = first["bench"] == "search" and first["case"].endswith("-1m-q1024") and "certified" in group
        if asked and (ratio := _times_floor(group["certified"])):
            yield ratio


def _as_float64(row: Row) -> float | None:
    """Share of places that hold the row of float64; rows whose scores differ by less than fixed point resolves count as one."""
    same, gap, dim = (number_of(row, name) for name in ("same_order", "worst_gap", "dim"))
    if same is not None and gap is not None and number_of(row, "recall") == 1 and gap <= 2.0**-26 * dim**0.5:
        return 1.0
    return same


def _exact_share(groups: Sequence[Group]) -> Iterator[float]:
    """Share of proven queries, and of places as in float64, of every search that claims a proof."""
    for group in groups:
        for provider, row in group.items():
            if provider == "certified" or (provider.startswith("cirlib-") and "statistical" not in provider):
                yield from (share for share in (number_of(row, "certified"), _as_float64(row)) if share is not None)


def _at_least(queries: int, **more: int) -> Callable[..., bool]:
    """Whether a case has so many queries, and `k` and `rows` at least as given."""
    return lambda q, g, d=0, k=0, *_: q >= queries and g >= more.get("rows", 0) and k >= more.get("k", 0)


def _at_most(queries: int) -> Callable[..., bool]:
    return lambda q, *_: q <= queries


def _constraints(one: bool) -> Callable[..., bool]:
    return lambda queries, constraints, *_: (constraints == 1) == one


def _cpu(over: str, under: str, bench: str, value: str = "p50_ms", case: str = "") -> Callable[[Sequence[Group]], Iterator[float]]:
    return lambda groups: ratios(groups, over, under, value, bench=bench, case=case)


_HALF, _LATE = "cirlib-half", "late-interaction"
_PLAIN, _SIGNED = _constraints(True), _constraints(False)
_LARGE, _BATCH = _at_least(1024, rows=10_000_000, k=100), _at_least(256, k=50)

GOALS = (
    Goal("G1", "CPU search, 1M rows: better FAISS / certified, list as in float64 up to fixed point", 2, False, _faiss_to_certified),
    Goal("G2", "CPU search, 1M rows, 1,024 queries: certified / fp32 floor", 0.55, True, _certified_to_floor),
    Goal(
        "G3",
        "GPU search, 16 bits, 1,024 queries or more, 10M rows: time / floor",
        1.6,
        True,
        _gpu("search", _HALF, _times_floor, _LARGE),
    ),
    Goal("G4", "GPU search, 64 queries or fewer: share of copy bandwidth", 0.8, False, _gpu("search", _HALF, _bandwidth, _at_most(64))),
    Goal("G5", "GPU search, 256 queries or more: FlashLib / ours", 1.5, False, _gpu_ratio("search", "flashlib", _HALF, _BATCH)),
    Goal("G6a", "GPU search, 256 queries or more: torch / ours", 2.5, False, _gpu_ratio("search", "torch", _HALF, _BATCH)),
    Goal("G6b", "... and memory, torch / ours", 10, False, _gpu_ratio("search", "torch", _HALF, _BATCH, "peak_mib")),
    Goal("G7", "GPU search, 8 bits, statistical, 10M rows: time / 16-bit floor", 1, True, _below_half_floor),
    Goal("G8", "GPU search: sorted / random gallery, each by its floor", 1.05, True, _sorted_to_random),
    Goal("G9a1", "GPU slots, one constraint: time / floor", 1.7, True, _gpu("slots", "cirlib", _times_floor, _PLAIN)),
    Goal(
        "G9a2",
        "... late-interaction-kernels / ours, each by its floor",
        10,
        False,
        _gpu_ratio("slots", _LATE, "cirlib", _PLAIN, "times_floor"),
    ),
    Goal("G9a3", "... chunked torch / ours", 1.4, False, _gpu_ratio("slots", "einsum", "cirlib", _PLAIN)),
    Goal(
        "G9b1",
        "GPU slots, eight signed constraints: time / floor",
        1.6,
        True,
        _gpu("slots", "cirlib", _times_floor, _SIGNED),
    ),
    Goal("G9b2", "... chunked torch / ours", 1.2, False, _gpu_ratio("slots", "einsum", "cirlib", _SIGNED)),
    Goal("G10", "CPU slots: einsum / ours", 3, False, _cpu("einsum", "cirlib", "slots")),
    Goal("G11a", "CPU ranks: ours / product", 1.1, True, _cpu("cirlib", "product", "ranks")),
    Goal("G11b", "CPU ranks: argsort / ours", 6, False, _cpu("argsort", "cirlib", "ranks")),
    Goal("G11c", "GPU ranks: time / floor", 1.6, True, _gpu("ranks", "cirlib", _times_floor, _at_least(1))),
    Goal("G12", "CPU mining pass: ours / its product", 1.5, True, _cpu("cirlib", "product", "midzone")),
    Goal("G13a", "CPU diversity rerank: loop over queries and candidates / ours", 10, False, _cpu("loop over", "cirlib", "mmr")),
    Goal("G13b", "... the better loop, which multiplies a pool at once / ours", 10, False, _cpu("loop", "cirlib", "mmr")),
    Goal("G14a", "CPU contrastive loss: ours / plain, time", 1.2, True, _cpu("cirlib", "plain", "contrastive")),
    Goal("G14b", "... and memory at 32,768 squared", 0.125, True, _cpu("cirlib", "plain", "contrastive", "peak_mib", "batch-32768")),
    Goal("G15", "searches with proof: share of proven queries, of places as in float64 up to fixed point", 1, False, _exact_share),
)
