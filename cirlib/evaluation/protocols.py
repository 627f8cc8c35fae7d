"""Any system's ranking under a benchmark's official protocol: lists of names, or one similarity matrix for each query's own candidates.

Lists are checked before they are scored, and the first query that breaks a rule is named. A list that is too short for a cut-off would
score lower without anybody noticing; a list with repeats would score nothing that can be compared.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from cirlib.evaluation.metrics import average_precision_at_k, ranks_in_lists, recall_at_k
from cirlib.types import Benchmark, InputError, Query


def score_lists(
    benchmark: Benchmark, rankings: Mapping[str, Sequence[str]], *, known: Collection[str] | None = None
) -> dict[str, Float[np.ndarray, " q"]]:
    """Score ranked lists over the gallery: every metric of the benchmark, per query.

    Args:
        benchmark: Queries with public positives, and the protocol.
        rankings: Query id to image ids, best first, at least as many as the largest cut-off (or the whole gallery, if that is smaller).
        known: Ids that may occur; default is the gallery. Give an empty collection where the gallery is unknown: then every id may.

    Returns:
        "recall@K" on the designated target and, where the protocol has it, "map@K" over all positives: fractions in [0, 1], (q,).

    Raises:
        InputError: If a target is hidden, a query is absent or unknown, or a list is too short, repeats an id, holds an id that is not in
            the gallery, or holds the reference where the protocol excludes it.
    """
    protocol = benchmark.protocol
    known = benchmark.gallery.rows if known is None else known
    depth = max(protocol.recall_at + protocol.map_at)
    if known:
        depth = min(depth, len(known) - protocol.exclude_reference)
    lists = _checked_lists(benchmark, rankings, depth, {query.id: known for query in benchmark.queries})
    targets = ranks_in_lists(lists, [(query.target,) for query in benchmark.queries])[:, 0]
    scores = {f"recall@{k}": recall_at_k(targets, k) for k in protocol.recall_at}
    if protocol.map_at:
        positives = ranks_in_lists(lists, [query.positives for query in benchmark.queries])
        n_positives = np.array([len(query.positives) for query in benchmark.queries])
        scores |= {f"map@{k}": average_precision_at_k(positives, n_positives, k) for k in protocol.map_at}
    return scores


def score_subset_lists(benchmark: Benchmark, rankings: Mapping[str, Sequence[str]]) -> dict[str, Float[np.ndarray, " q"]]:
    """Score ranked lists over each query's subset (CIRR's R_subset): "recall_subset@K" per query.

    Arguments and errors as in `score_lists`, with the subset in place of the gallery.
    """
    cutoffs = benchmark.protocol.subset_at
    if not cutoffs:
        raise InputError(f"{benchmark.name} has no subset metric; give a ranking of the whole gallery")
    lists = _checked_lists(benchmark, rankings, max(cutoffs), {query.id: frozenset(query.subset) for query in benchmark.queries})
    targets = ranks_in_lists(lists, [(query.target,) for query in benchmark.queries])[:, 0]
    return {f"recall_subset@{k}": recall_at_k(targets, k) for k in cutoffs}


def score_similarities(benchmark: Benchmark, similarities: Float[np.ndarray, "q c"]) -> dict[str, Float[np.ndarray, " q"]]:
    """Score similarities between each query and its own candidates (GeneCIS): "recall@K" per query.

    Candidates stand in the order of the annotation file with the target in column 0, so ties cannot go by column: a model that gives every
    candidate the same score would be always right. A query whose target ties with t others counts as the expectation over all orders of the
    tied: (K - better) / (t + 1), kept within [0, 1]. A collapsed model then scores exactly K / candidates. Our choice; the official code
    sorts without a rule for ties. Without ties the two agree.

    Args:
        benchmark: Queries with `subset`.
        similarities: One row per query in file order, higher is better, target in column 0.

    Raises:
        InputError: If the shape is not (queries, candidates) or a value is not a finite number; the first offending query is named.

    Example:
        >>> from types import SimpleNamespace as Space
        >>> task = Space(name="toy", queries=[Query("0", "r", "t", ("a",), ("a", "b"))], protocol=Space(recall_at=(1,)))
        >>> score_similarities(task, np.zeros((1, 2)))
        {'recall@1': array([0.5])}
    """
    queries = benchmark.queries
    expected = (len(queries), max((len(query.subset) for query in queries), default=0))
    similarities = np.asarray(similarities)
    if similarities.shape != expected:
        raise InputError(f"similarities of shape {similarities.shape} given; it must be {expected}: queries, 1 + gallery")
    if not np.issubdtype(similarities.dtype, np.floating) and not np.issubdtype(similarities.dtype, np.integer):
        raise InputError(f"similarities of type {similarities.dtype} given; they must be numbers")
    broken = ~np.isfinite(similarities).all(axis=1)
    if broken.any():
        raise InputError(f"query {queries[int(broken.argmax())].id!r} has a similarity that is not a finite number; compute it again")
    target, others = similarities[:, :1], similarities[:, 1:]
    better = (others > target).sum(axis=1)
    tied = (others == target).sum(axis=1)
    return {f"recall@{k}": ((k - better) / (tied + 1)).clip(0.0, 1.0) for k in benchmark.protocol.recall_at}


def mean_by_aspect(queries: Sequence[Query], values: Float[np.ndarray, " q"]) -> dict[str, float]:
    """Mean of a metric over the queries of each semantic aspect (CIRCO's semantic mAP@10); a query may have several.

    Returns:
        Aspect to mean, sorted by aspect; only aspects that some query has.
    """
    aspects = sorted({aspect for query in queries for aspect in query.aspects})
    pairs = list(zip(queries, values, strict=True))
    return {aspect: float(np.mean([value for query, value in pairs if aspect in query.aspects])) for aspect in aspects}


def _checked_lists(
    benchmark: Benchmark, rankings: Mapping[str, Sequence[str]], depth: int, allowed: Mapping[str, Collection[str]]
) -> list[Sequence[str]]:
    """The lists in query order, once every rule holds."""
    lists = []
    for query in benchmark.queries:
        if query.id not in rankings:
            raise InputError(f"query {query.id!r} has no ranking; give one list for each of the {len(benchmark.queries):,} queries")
        if not query.positives:
            raise InputError(f"query {query.id!r} of {benchmark.name} {benchmark.split} has no public target; send a file to the server")
        reference = query.reference if benchmark.protocol.exclude_reference else None
        problem = find_list_problem(rankings[query.id], depth, allowed[query.id], reference)
        if problem:
            raise InputError(f"query {query.id!r}: {problem}")
        lists.append(rankings[query.id])
    if len(rankings) > len(lists):
        asked = {query.id for query in benchmark.queries}
        stranger = next(query_id for query_id in rankings if query_id not in asked)
        raise InputError(f"query {stranger!r} is not in {benchmark.name} {benchmark.split}; give rankings of this split only")
    return lists


def find_list_problem(names: Sequence[str], depth: int, allowed: Collection[str], reference: str | None) -> str:
    """The first rule that one ranked list breaks, in words; empty if it breaks none.

    Args:
        names: Image ids, best first.
        depth: How many there must be at least.
        allowed: Ids that may occur; empty means any.
        reference: Id that may not occur, or None.
    """
    if len(names) < depth:
        return f"{len(names)} images listed, at least {depth} are needed for the largest cut-off"
    seen: set[str] = set()
    for place, name in enumerate(names, start=1):
        if name == reference:
            return f"place {place} is the reference {name!r}; this benchmark takes the reference out of the ranking"
        if name in seen:
            return f"image {name!r} at place {place} is listed twice; every image may occur once"
        if allowed and name not in allowed:
            return f"image {name!r} at place {place} is not among the {len(allowed):,} candidates"
        seen.add(name)
    return ""
