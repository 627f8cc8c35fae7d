"""Exact ranks beside sorting, beside counting in one matrix, and beside the matrix product that nobody can avoid.

Timed      Unit rows of 512 dimensions to the rank of one target a query, each provider in a fresh process.
Providers  "cirlib" is `cirlib.kernels.ranks`: exact, ties by gallery row. "argsort" sorts all scores of 32 queries at a time and looks the
           target up; "matrix" makes all scores and counts those above the target's; both in fp32, so that a few ranks differ where scores
           nearly tie (`different`, a share of the queries). "product" is `query @ gallery.T` and nothing else, "product in tiles" the same
           in the tiles that cirlib takes, written over each other: the fastest product that we found, without any rank.
Queries    Drawn towards their targets: half of the ranks lie in the best 0.2 %. In cases named "far" they are not, and the median rank is
           the middle of the gallery.
Floor      2 q g d operations at the fp32 rate that this machine reaches, or reading the gallery once.
"""

import argparse
from dataclasses import dataclass
from typing import Any

from cirlib.bench.measure import floor_ms, in_fresh_process, measure, share_floor
from cirlib.bench.record import add_common_arguments, check_common, finish

_DIM, _SORTED = 512, 32
_PROVIDERS = ("argsort", "matrix", "product", "product in tiles", "cirlib")
_LARGEST_MIB = 2048  # of the matrix of scores and its comparison


@dataclass(frozen=True)
class Case:
    """Sizes of one ranking.

    Attributes:
        name: What it stands for.
        queries: Number of queries.
        gallery: Number of pictures.
        far: Whether queries have nothing to do with their targets.
    """

    name: str
    queries: int
    gallery: int
    far: bool = False


CASES = (
    Case("256x200000", 256, 200_000),
    Case("256x200000-far", 256, 200_000, far=True),
    Case("1024x200000", 1024, 200_000),
    Case("256x1000000", 256, 1_000_000),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `cirlib bench ranks`."""
    add_common_arguments(parser, repeats=5)
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help="only this case (may be repeated)")
    parser.add_argument("--provider", action="append", choices=_PROVIDERS, help="only this provider (may be repeated)")


def run(args: argparse.Namespace) -> None:
    """Measure the chosen cases and print them."""
    check_common(args)
    rows = []
    for case in CASES:
        if not args.case or case.name in args.case:
            rows += measure_case(case, args.provider or _PROVIDERS, args.repeats, args.device)
            if not args.json:
                print("\n".join(_lines(case, [row for row in rows if row["case"] == case.name])), flush=True)
    finish("ranks", rows, args)


def measure_case(case: Case, providers: tuple[str, ...] | list[str], repeats: int, device: str) -> list[dict[str, Any]]:
    """One row per provider that fits into memory."""
    rows = []
    for provider in providers:
        if provider in ("matrix", "product") and 5 * case.queries * case.gallery / 2**20 > _LARGEST_MIB:
            continue
        rows.append({"case": case.name, "provider": provider, **in_fresh_process(_measure, case, provider, repeats, device)})
    return share_floor(rows)


def _lines(case: Case, rows: list[dict[str, Any]]) -> list[str]:
    gflop = 2e-9 * case.queries * case.gallery * _DIM
    lines = [f"{case.name}: {case.queries} queries x {case.gallery} pictures; {gflop:.0f} GFLOP"]
    for row in rows:
        different = f"  {100 * row['different']:.1f} % of the ranks differ from the exact ones" if row["different"] is not None else ""
        speed = f"{gflop / row['p50_ms'] * 1e3:>7.0f} GFLOP/s{row['p50_ms'] / row['floor_ms']:>7.2f} x floor"
        lines.append(f"  {row['provider']:<17}{row['p50_ms']:>8.0f} ms{row['peak_mib']:>9.0f} MiB{speed}{different}")
    return lines


def _measure(case: Case, provider: str, repeats: int, device: str) -> dict[str, Any]:
    """Runs in the fresh process."""
    from cirlib.kernels.ranks import ranks

    floor = floor_ms(2.0 * case.queries * case.gallery * _DIM, 4.0 * case.gallery * _DIM, device)
    inputs = _inputs(case, device)
    exact = ranks(*inputs)
    function = {"argsort": _argsort, "matrix": _matrix, "product": _product, "product in tiles": _product_in_tiles, "cirlib": ranks}[
        provider
    ]
    found: list[Any] = []

    def once() -> None:
        found[:] = [function(*inputs)]

    result = measure(once, repeats, device)
    different = None if found[0] is None else float((found[0] != exact).float().mean())
    return {**result, "floor_ms": floor, "different": different, "median_rank": int(exact.median())}


def _inputs(case: Case, device: str) -> tuple[Any, Any, Any]:
    """Queries, gallery and targets. The gallery is made in place: 1,000,000 rows are 2 GB."""
    import torch

    generator = torch.Generator().manual_seed(0)
    gallery = torch.randn(case.gallery, _DIM, generator=generator)
    for part in gallery.split(1 << 16):
        part /= part.norm(dim=1, keepdim=True)
    target = torch.randint(case.gallery, (case.queries,), generator=generator)
    query = torch.randn(case.queries, _DIM, generator=generator)
    query = torch.nn.functional.normalize(query if case.far else query + 3 * gallery[target], dim=1)
    return tuple(rows.to(device) for rows in (query, gallery, target))


def _argsort(query: Any, gallery: Any, target: Any) -> Any:
    import torch

    ranks = []
    for part, wanted in zip(query.split(_SORTED), target.split(_SORTED), strict=True):
        order = (part @ gallery.T).argsort(dim=1, descending=True)
        ranks.append((order == wanted[:, None]).int().argmax(dim=1) + 1)
    return torch.cat(ranks)


def _matrix(query: Any, gallery: Any, target: Any) -> Any:
    scores = query @ gallery.T
    return (scores > scores.gather(1, target[:, None])).sum(dim=1) + 1


def _product(query: Any, gallery: Any, target: Any) -> None:
    query @ gallery.T


def _product_in_tiles(query: Any, gallery: Any, target: Any) -> None:
    import torch

    for block in query.split(512):
        tile = torch.empty(2048, len(block), device=query.device)
        for chunk in gallery.split(2048):
            torch.mm(chunk, block.T, out=tile[: len(chunk)])
