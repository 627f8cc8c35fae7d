"""Mining negatives: relevance in tiles beside the einsum of published code, which keeps the score of every vector of every picture.

Timed      One rebuild from unit rows to negative sets, in a fresh process: relevance of every query to every picture, the mid-zone with its
           widening, the log. Pictures have 32 vectors of 256 dimensions, as a Q-Former gives. Queries are drawn towards their targets, and
           pictures towards a theme that 60 of them share, so that zones hold some dozens. Both providers must give the same sets.
Providers  "cirlib" scores exactly (float64 products, see `cirlib.kernels.exact`) and keeps no scores. "einsum" multiplies in fp32, holds
           q * p * 32 scores, takes the best of each picture, and applies the same rule to the whole matrix; candidates within 1e-6 of a
           bound may fall on either side of it. "product" is its float64 product in tiles and nothing else, "fp32 product" the same in fp32.
Floor      2 * q * p * 32 * 256 operations at the fp32 rate that this machine reaches; queries and gallery read once: 4 * (q + 32 * p) * 256
           bytes. The einsum also writes and reads 4 * q * p * 32 bytes.
Memory     The peak above the inputs, and the largest size of the whole process, inputs and libraries included.
"""

import argparse
import functools
import resource
import sys
from dataclasses import dataclass
from typing import Any

from cirlib.bench.measure import floor_ms, in_fresh_process, measure, share_floor
from cirlib.bench.record import add_common_arguments, check_common, finish

_VECTORS, _DIM, _THEME = 32, 256, 60
_PROVIDERS = ("einsum", "cirlib", "product", "fp32 product")
_LARGEST_MIB = 2048  # of the einsum's scores; beyond, its memory is stated and not taken


@dataclass(frozen=True)
class Case:
    """Sizes of one rebuild.

    Attributes:
        name: What it stands for.
        queries: Number of queries.
        pool: Number of pictures that they search.
    """

    name: str
    queries: int
    pool: int

    @property
    def einsum_mib(self) -> float:
        """What the scores of all vectors take."""
        return 4 * self.queries * self.pool * _VECTORS / 2**20


CASES = (
    Case("pool-3000", 3000, 3000),  # about the largest whose einsum fits into 2 GiB
    Case("fashioniq", 6000, 6000),  # one garment category: 5,985 to 6,027 training queries and as many targets
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `cirlib bench midzone`."""
    add_common_arguments(parser, repeats=3, devices=("cpu",))
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help="only this case (may be repeated)")


def run(args: argparse.Namespace) -> None:
    """Measure the chosen cases and print them."""
    check_common(args)
    rows = []
    for case in CASES:
        if args.case and case.name not in args.case:
            continue
        rows += measure_case(case, args.repeats)
        if not args.json:
            print("\n".join(_lines(case, [row for row in rows if row["case"] == case.name])), flush=True)
    finish("midzone", rows, args)


def measure_case(case: Case, repeats: int) -> list[dict[str, Any]]:
    """One row per provider that fits; raises RuntimeError if their sets differ by more than rounding can explain."""
    rows, sizes = [], {}
    for provider in _PROVIDERS:
        if provider == "einsum" and case.einsum_mib > _LARGEST_MIB:
            continue
        result, sizes[provider] = in_fresh_process(_measure, case, provider, repeats)
        rows.append({"case": case.name, "provider": provider, **result})
    if "einsum" in sizes:
        ours, theirs = sizes["cirlib"], sizes["einsum"]
        if any(abs(ours[what] - theirs[what]) > 1e-3 * ours["members"] for what in ours):
            raise RuntimeError(f"sets differ on {case.name}: {sizes}")
    return share_floor(rows)


def _lines(case: Case, rows: list[dict[str, Any]]) -> list[str]:
    gflop = 2e-9 * case.queries * case.pool * _VECTORS * _DIM
    read = 4 * (case.queries + case.pool * _VECTORS) * _DIM / 2**20
    lines = [f"{case.name}: {case.queries} queries x {case.pool} pictures; floor: {gflop:.0f} GFLOP, {read:.0f} MiB to read"]
    for row in rows:
        times = f"{row['p50_ms']:>10.0f} ms (p20 {row['p20_ms']:.0f}, p80 {row['p80_ms']:.0f})"
        memory = f"{row['peak_mib']:>9.0f} MiB above the inputs, {row['process_mib']:.0f} in all"
        lines.append(f"  {row['provider']:<17}{times}{memory}{gflop / row['p50_ms'] * 1e3:>8.1f} GFLOP/s")
    if all(row["provider"] != "einsum" for row in rows):
        lines.append(f"  einsum would hold {case.einsum_mib:,.0f} MiB of scores: not run")
    return lines


def _measure(case: Case, provider: str, repeats: int) -> tuple[dict[str, float], dict[str, int]]:
    """Runs in the fresh process."""
    import cirlib.methods.dqe_cir.mining  # noqa: F401  # loaded here, so that no run pays for it

    floor = floor_ms(2.0 * case.queries * case.pool * _VECTORS * _DIM, 4.0 * (case.queries + case.pool * _VECTORS) * _DIM)
    inputs = _inputs(case)
    function = {"einsum": _einsum, "cirlib": _cirlib}.get(provider) or functools.partial(_product, double=provider == "product")
    found: dict[str, int] = {}
    result = measure(lambda: found.update(function(inputs)), repeats) | {"floor_ms": floor}
    unit = 2**20 if sys.platform == "darwin" else 2**10
    result["process_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
    return result, found


def _inputs(case: Case) -> dict[str, Any]:
    """Unit rows; made picture by picture of random numbers, so that making them takes no more memory than they do."""
    import torch

    generator = torch.Generator().manual_seed(0)
    themes = torch.randn(max(1, case.pool // _THEME), _DIM, generator=generator)
    theme = torch.randint(len(themes), (case.pool,), generator=generator)
    gallery = torch.empty(case.pool, _VECTORS, _DIM)
    for picture in range(case.pool):
        gallery[picture] = 0.5 * torch.randn(_VECTORS, _DIM, generator=generator) + torch.randn(_DIM, generator=generator)
        gallery[picture] += 2 * themes[theme[picture]]
        gallery[picture] /= gallery[picture].norm(dim=1, keepdim=True)
    target = torch.randint(case.pool, (case.queries,), generator=generator)
    noise = torch.randn(case.queries, _DIM, generator=generator) / _DIM**0.5
    query = torch.nn.functional.normalize(gallery[target, 0] + 0.5 * noise, dim=1)
    reference = (target + case.pool // 2) % case.pool
    return {"query": query, "gallery": gallery, "target": target, "reference": reference[:, None]}


def _rule() -> Any:
    from cirlib.methods.dqe_cir.negatives import MidZone

    return MidZone(0.10, 0.30)


def _cirlib(inputs: dict[str, Any]) -> dict[str, int]:
    from cirlib.methods.dqe_cir.mining import mine

    mined = mine(_rule(), inputs["query"], inputs["gallery"], inputs["target"], inputs["reference"])
    return {"members": len(mined.sets.rows), "widened": int(mined.widened.sum())}


def _einsum(inputs: dict[str, Any]) -> dict[str, int]:
    """The habit in our words: the scores of all vectors at once, then their maximum, then the rule on the whole matrix."""
    import torch

    scores = torch.einsum("qd,pmd->qpm", inputs["query"], inputs["gallery"]).amax(dim=-1)
    forbidden = torch.zeros_like(scores, dtype=torch.bool)
    forbidden.scatter_(1, torch.cat([inputs["target"][:, None], inputs["reference"]], dim=1), True)
    zones = _rule().zone(scores, inputs["target"], forbidden)
    return {"members": int(zones.members.sum()), "widened": int(zones.widened.sum())}


def _product(inputs: dict[str, Any], double: bool) -> dict[str, int]:
    """The matrix product of mining, in the tiles that cirlib takes, written over each other."""
    import torch

    dtype = torch.float64 if double else torch.float32
    query, vectors = inputs["query"].to(dtype), inputs["gallery"].flatten(0, 1)
    for block in query.split(512):
        tile = torch.empty(2048, len(block), dtype=dtype)
        for chunk in vectors.split(2048):
            torch.mm(chunk.to(dtype), block.T, out=tile[: len(chunk)])
    return {}
