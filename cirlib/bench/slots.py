"""Constraints against slots, and the best of a picture's tokens: a running maximum in tiles beside einsum, which holds every product.

Timed      Unit rows to a score per query and picture, each provider in a fresh process. "tokens" is one constraint and 32 vectors of 256
           dimensions a picture, as a Q-Former gives them. "signed" is 8 constraints with signs and weights against 16 slots of 512
           dimensions, "keyed" the same with four keys, of which constraint and slot must have the same.
Providers  "cirlib, fp32" and "cirlib, bf16" are `cirlib.kernels.slots`. "einsum" multiplies all pairs, takes the maximum over slots and the
           signed sum; "compile" is the same through torch.compile, where a compiler is there. With keys both multiply everything and mask.
Floor      2 q c g s d operations at the fp32 rate that this machine reaches, for every precision; with keys those of matching pairs only.
Error      Largest distance to float64 on a few queries, in units of the sum of a query's weights.
"""

import argparse
import shutil
from dataclasses import dataclass
from typing import Any

from cirlib.bench.measure import floor_ms, in_fresh_process, measure, share_floor
from cirlib.bench.record import add_common_arguments, check_common, finish

_PROVIDERS = ("einsum", "compile", "cirlib, fp32", "cirlib, bf16")
_KEYS = 4
_CHECKED = 3  # queries whose scores are compared with float64


@dataclass(frozen=True)
class Case:
    """Sizes of one scoring.

    Attributes:
        name: What it stands for.
        queries: Number of queries.
        constraints: Of each query.
        pictures: Of the gallery.
        slots: Vectors of each picture.
        dim: Of every vector.
        keyed: Whether constraints and slots have keys.
    """

    name: str
    queries: int
    constraints: int
    pictures: int
    slots: int
    dim: int
    keyed: bool = False

    @property
    def pairs(self) -> int:
        """Products of a constraint with a slot."""
        return self.queries * self.constraints * self.pictures * self.slots


CASES = (
    Case("tokens", 1000, 1, 4000, 32, 256),
    Case("signed", 64, 8, 5000, 16, 512),
    Case("keyed", 64, 8, 5000, 16, 512, keyed=True),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `cirlib bench slots`."""
    add_common_arguments(parser, repeats=5)
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help="only this case (may be repeated)")


def run(args: argparse.Namespace) -> None:
    """Measure the chosen cases and print them."""
    check_common(args)
    rows = []
    for case in CASES:
        if not args.case or case.name in args.case:
            rows += measure_case(case, args.repeats, args.device)
            if not args.json:
                print("\n".join(_lines(case, [row for row in rows if row["case"] == case.name])), flush=True)
    finish("slots", rows, args)


def measure_case(case: Case, repeats: int, device: str) -> list[dict[str, Any]]:
    """One row per provider that runs here; raises RuntimeError if a score is further off than its precision explains."""
    rows = []
    for provider in _PROVIDERS:
        if provider == "compile" and device == "cpu" and shutil.which("g++") is None and shutil.which("clang++") is None:
            continue
        row = {"case": case.name, "provider": provider, **in_fresh_process(_measure, case, provider, repeats, device)}
        if row["error"] > (2.0**-7 if "bf16" in provider else 1e-5):
            raise RuntimeError(f"{provider} is off by {row['error']} on {case.name}")
        rows.append(row)
    return share_floor(rows)


def _lines(case: Case, rows: list[dict[str, Any]]) -> list[str]:
    shape = f"{case.queries} queries x {case.constraints} constraints, {case.pictures} pictures x {case.slots} slots, {case.dim} dimensions"
    lines = [f"{case.name}: {shape}; einsum holds {4 * case.pairs / 2**20:.0f} MiB of products"]
    for row in rows:
        told = (
            f"{row['p50_ms'] / row['floor_ms']:>6.2f} x floor{rows[0]['p50_ms'] / row['p50_ms']:>6.1f} x einsum  error {row['error']:.0e}"
        )
        lines.append(f"  {row['provider']:<13}{row['p50_ms']:>8.0f} ms{row['peak_mib']:>8.0f} MiB{told}")
    return lines


def _measure(case: Case, provider: str, repeats: int, device: str) -> dict[str, Any]:
    """Runs in the fresh process."""
    import torch

    from cirlib.kernels import reference, slots

    pairs = case.pairs / _KEYS if case.keyed else case.pairs
    floor = floor_ms(2.0 * pairs * case.dim, 4.0 * case.pictures * case.slots * case.dim, device)
    inputs = _inputs(case, device)
    if provider.startswith("cirlib"):
        precision = provider.removeprefix("cirlib, ")

        def function() -> Any:
            return slots.slot_scores(*inputs, precision=precision)
    else:
        einsum = torch.compile(_einsum, dynamic=False) if provider == "compile" else _einsum

        def function() -> Any:
            return einsum(*inputs)

    found: list[Any] = []

    def once() -> None:
        found[:] = [function()]

    result = measure(once, repeats, device)
    query, rows, weight, *keys = inputs
    some = [given[:_CHECKED] for given in (query, weight)]
    exact = reference.slot_scores(some[0], rows, some[1], *(() if keys[0] is None else (keys[0][:_CHECKED], keys[1])))
    error = (found[0][:_CHECKED] - exact).abs().amax(dim=1) / some[1].abs().sum(dim=1)
    return {**result, "floor_ms": floor, "error": float(error.max())}


def _inputs(case: Case, device: str) -> tuple[Any, ...]:
    """Constraints, slots, signed weights and, if the case is keyed, keys."""
    import torch

    generator = torch.Generator().manual_seed(0)
    query = torch.randn(case.queries, case.constraints, case.dim, generator=generator)
    rows = torch.randn(case.pictures, case.slots, case.dim, generator=generator)
    weight = torch.rand(case.queries, case.constraints, generator=generator) + 0.5
    if case.constraints > 1:
        weight[:, 1::2] *= -1
    keys = (None, None)
    if case.keyed:
        keys = tuple(torch.randint(_KEYS, shape, generator=generator) for shape in (weight.shape, rows.shape[:2]))
    query, rows = (torch.nn.functional.normalize(given, dim=-1) for given in (query, rows))
    return tuple(given if given is None else given.to(device) for given in (query, rows, weight, *keys))


def _einsum(query: Any, rows: Any, weight: Any, query_key: Any, slot_key: Any) -> Any:
    """The habit in our words."""
    import torch

    products = torch.einsum("qcd,gsd->qcgs", query, rows)
    if query_key is not None:
        products = products.masked_fill(query_key[:, :, None, None] != slot_key, -torch.inf)
    best = products.amax(dim=-1)
    return torch.einsum("qc,qcg->qg", weight, best.masked_fill(best == -torch.inf, 0.0))
