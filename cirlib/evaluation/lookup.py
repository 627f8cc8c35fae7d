"""A benchmark in gallery rows: who is correct, who is excluded, who competes. Bad input is refused here, before anything is encoded."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int

from cirlib.types import Benchmark, InputError, Query


@dataclass(frozen=True)
class Lookup:
    """Rows of the queries that can be scored; the others lack their reference or target picture and count as misses.

    Attributes:
        scored: Positions of the scored queries within `benchmark.queries`.
        queries: Those queries.
        positives: (s, p) gallery rows, the designated target first; -1 pads, and stands for a positive whose picture is missing.
        exclude: (s, 1) gallery row of the reference where the protocol excludes it; -1 for none.
        subset: (s, c) gallery rows of each query's subset; -1 pads.
        n_candidates: How many pictures the shortest ranking holds.
    """

    scored: Int[np.ndarray, " s"]
    queries: tuple[Query, ...]
    positives: Int[torch.Tensor, "s p"]
    exclude: Int[torch.Tensor, "s 1"]
    subset: Int[torch.Tensor, "s c"]
    n_candidates: int


def lookup(benchmark: Benchmark, *, allow_missing: bool = False) -> Lookup:
    """Translate ids to rows and check that the benchmark can be scored at all.

    Raises:
        InputError: If there are no queries, targets are hidden, pictures are missing and `allow_missing` is not given, a target is excluded
            from its own ranking, or a cut-off is larger than the shortest ranking.
    """
    queries, rows = benchmark.queries, benchmark.gallery.rows
    _check_targets(benchmark)
    scored = [i for i, query in enumerate(queries) if query.reference in benchmark.references and query.target in rows]
    if not allow_missing:
        _refuse_missing(benchmark, scored)
    if not scored:
        raise InputError(
            f"{benchmark.name} {benchmark.split}: no query has both its reference and its target picture; check the image folder"
        )
    kept = tuple(queries[i] for i in scored)
    exclude = _table([[rows.get(query.reference, -1)] if benchmark.protocol.exclude_reference else [] for query in kept], width=1)
    subset = _table([[rows.get(name, -1) for name in query.subset] for query in kept])
    positives = _table([[rows.get(name, -1) for name in query.positives] for query in kept])
    n_candidates = len(rows) - int((exclude >= 0).any())
    if benchmark.protocol.candidates == "subset":
        n_candidates = min(len(query.subset) for query in kept)
    _check_cutoffs(benchmark, n_candidates)
    return Lookup(np.array(scored), kept, positives, exclude, subset, n_candidates)


def _check_targets(benchmark: Benchmark) -> None:
    if not benchmark.queries:
        raise InputError(f"{benchmark.name} {benchmark.split} has no queries; nothing can be evaluated")
    protocol = benchmark.protocol
    for query in benchmark.queries:
        if not query.positives:
            where = f"{benchmark.name} {benchmark.split}"
            raise InputError(f"{where} hides its targets (query {query.id!r}); write a file for its server with `cirlib submit`")
        if protocol.exclude_reference and query.reference in query.positives:
            raise InputError(
                f"query {query.id!r}: its reference {query.reference!r} is a positive, and the protocol excludes the reference"
            )
        if (protocol.candidates == "subset" or protocol.subset_at) and query.target not in query.subset:
            raise InputError(
                f"query {query.id!r}: target {query.target!r} is not in its subset of {len(query.subset)}; check the annotations"
            )
        if protocol.candidates == "subset" and not set(query.positives) <= set(query.subset):
            raise InputError(f"query {query.id!r}: a positive is not in its subset, which is all that is ranked; check the annotations")


def _refuse_missing(benchmark: Benchmark, scored: list[int]) -> None:
    rows = benchmark.gallery.rows
    absent = set(benchmark.missing)
    for query in benchmark.queries:
        absent.update(name for name in (*query.positives, *query.subset) if name not in rows)
        absent.update({query.reference} if query.reference not in benchmark.references else ())
    if absent:
        lost = len(benchmark.queries) - len(scored)
        raise InputError(
            f"{benchmark.name} {benchmark.split}: {len(absent)} pictures are missing (such as {min(absent)!r}) and {lost} of "
            f"{len(benchmark.queries)} queries cannot be scored; add them, or allow missing pictures and read the bounds on recall"
        )


def _check_cutoffs(benchmark: Benchmark, n_candidates: int) -> None:
    protocol = benchmark.protocol
    largest = max((*protocol.recall_at, *protocol.map_at), default=1)
    if largest > n_candidates:
        raise InputError(
            f"{benchmark.name} {benchmark.split}: cut-off {largest} is larger than the {n_candidates} candidates of a query; "
            "lower the cut-offs of the protocol or enlarge the gallery"
        )


def _table(lists: list[list[int]], width: int = 0) -> Int[torch.Tensor, "s c"]:
    table = np.full((len(lists), max([width, *(len(line) for line in lists)])), -1, dtype=np.int64)
    for row, line in enumerate(lists):
        table[row, : len(line)] = line
    return torch.from_numpy(table)
