"""Reranking for diversity: all queries at once beside the usual loops over queries, picks and candidates.

Timed      Pools and relevance to orders, from unit rows of 512 dimensions, each provider in a fresh process. All must give the same order.
Providers  "cirlib" is `cirlib.kernels.mmr` (the order of exact arithmetic). "loop" takes one query after another: the cosines of its pool
           in fp32, then the best candidate left, by numpy, pick by pick. "loop over candidates" is reranking code in common use: at each
           pick the cosines of the pool with all that is selected, then candidate after candidate in Python.
Floor      The pool's cosines with each pick, 2 q k p d operations at the fp32 rate that this machine reaches, and the pools read once.
"""

import argparse
from dataclasses import dataclass
from typing import Any

from cirlib.bench.measure import floor_ms, in_fresh_process, measure
from cirlib.bench.record import add_common_arguments, check_common, finish

_DIM, _GALLERY, _DIVERSITY = 512, 20_000, 0.3
_PROVIDERS = ("loop over candidates", "loop", "cirlib")


@dataclass(frozen=True)
class Case:
    """Sizes of one rerank.

    Attributes:
        name: What it stands for.
        queries: Queries at once.
        pool: Candidates of each.
        picks: How many are selected.
    """

    name: str
    queries: int
    pool: int
    picks: int


CASES = (
    Case("pool-100-picks-20", 1000, 100, 20),
    Case("pool-500-picks-50", 200, 500, 50),
    Case("pool-1000-picks-50", 100, 1000, 50),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `cirlib bench mmr`."""
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help="only this case (may be repeated)")
    add_common_arguments(parser, 5)


def run(args: argparse.Namespace) -> None:
    """Measure the chosen cases and print them."""
    check_common(args)
    rows = []
    for case in CASES:
        if args.case and case.name not in args.case:
            continue
        rows += measure_case(case, args.repeats, args.device)
        if not args.json:
            print("\n".join(_lines(case, rows[-len(_PROVIDERS) :])), flush=True)
    finish("mmr", rows, args)


def measure_case(case: Case, repeats: int, device: str = "cpu") -> list[dict[str, Any]]:
    """One row per provider; raises RuntimeError if their orders differ."""
    floor = floor_ms(2 * case.queries * case.picks * case.pool * _DIM, 4 * case.queries * case.pool * _DIM, device)
    rows, orders = [], {}
    for provider in _PROVIDERS:
        result, orders[provider] = in_fresh_process(_measure, case, provider, repeats, device)
        rows.append({"case": case.name, "provider": provider, **result, "floor_ms": floor})
    different = {name: sum(ours != own for ours, own in zip(orders["cirlib"], order, strict=True)) for name, order in orders.items()}
    if max(different.values()) > case.queries // 200:  # loops round, so candidates closer than fp32 tells apart may change places
        raise RuntimeError(f"orders differ on {case.name}: {different} of {case.queries} queries")
    return [{**row, "different_queries": different[row["provider"]]} for row in rows]


def _lines(case: Case, rows: list[dict[str, Any]]) -> list[str]:
    lines = [f"{case.name}: {case.queries} queries, pools of {case.pool}, {case.picks} picks; floor {rows[0]['floor_ms']:.1f} ms"]
    for row in rows:
        times = f"{row['p50_ms']:>10.1f} ms (p20 {row['p20_ms']:.1f}, p80 {row['p80_ms']:.1f})"
        rest = f"{row['p50_ms'] / case.queries:>9.3f} ms a query{row['peak_mib']:>9.1f} MiB, {row['different_queries']} other orders"
        lines.append(f"  {row['provider']:<21}{times}{rest}")
    *loops, ours = rows
    lines.append("  " + " and ".join(f"{row['p50_ms'] / ours['p50_ms']:.1f}" for row in loops) + " times as fast")
    return lines


def _measure(case: Case, provider: str, repeats: int, device: str) -> tuple[dict[str, float], list[list[int]]]:
    """Runs in the fresh process."""
    import torch

    import cirlib.kernels.mmr  # noqa: F401  # loaded here, so that no run pays for it

    generator = torch.Generator().manual_seed(0)
    gallery = torch.nn.functional.normalize(torch.randn(_GALLERY, _DIM, generator=generator), dim=1).to(device)
    pool = torch.rand(case.queries, _GALLERY, generator=generator).argsort(dim=1)[:, : case.pool].to(device)
    query = torch.nn.functional.normalize(torch.randn(case.queries, _DIM, generator=generator), dim=1).to(device)
    scores = (gallery[pool] @ query[:, :, None])[:, :, 0]
    rerank = {"loop over candidates": _loop_over_candidates, "loop": _loop, "cirlib": _cirlib}[provider]
    found: list[list[int]] = []

    def go() -> None:
        found[:] = rerank(scores, pool, gallery, case.picks)

    return measure(go, repeats, device), found


def _cirlib(scores: Any, pool: Any, gallery: Any, picks: int) -> list[list[int]]:
    from cirlib.kernels.mmr import mmr_order

    return mmr_order(scores, pool, gallery, _DIVERSITY, picks)[:, :picks].tolist()


def _loop(scores: Any, pool: Any, gallery: Any, picks: int) -> list[list[int]]:
    """One query at a time, one pick at a time."""
    import numpy as np

    orders = []
    for relevance, candidates in zip(scores.cpu().numpy(), pool.cpu(), strict=True):
        vectors = gallery[candidates.to(gallery.device)].cpu().numpy()
        distance = (1 - vectors @ vectors.T) / 2
        normalised = (relevance - relevance.min()) / (relevance.max() - relevance.min())
        chosen = [int(relevance.argmax())]
        while len(chosen) < picks:
            left = np.setdiff1d(np.arange(len(candidates)), chosen)
            value = (1 - _DIVERSITY) * normalised[left] + _DIVERSITY * distance[np.ix_(left, chosen)].min(axis=1)
            chosen.append(int(left[value.argmax()]))
        orders.append(chosen)
    return orders


def _loop_over_candidates(scores: Any, pool: Any, gallery: Any, picks: int) -> list[list[int]]:
    """The usual way in our words: one candidate at a time."""
    orders = []
    for relevance, candidates in zip(scores.cpu().numpy(), pool.cpu(), strict=True):
        vectors = gallery[candidates.to(gallery.device)].cpu().numpy()
        normalised = (relevance - relevance.min()) / (relevance.max() - relevance.min())
        chosen = [int(relevance.argmax())]
        while len(chosen) < picks:
            similar = vectors @ vectors[chosen].T
            best, pick = -1.0, -1
            for place, own in enumerate(normalised):
                if place in chosen:
                    continue
                value = (1 - _DIVERSITY) * own + _DIVERSITY * (1 - max(similar[place])) / 2
                if value > best:
                    best, pick = value, place
            chosen.append(pick)
        orders.append(chosen)
    return orders
