"""The one evaluation path: a method yields embeddings, and this file alone ranks, excludes and scores."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from cirlib import __version__
from cirlib.evaluation import attributes, metrics
from cirlib.evaluation.lookup import Lookup, lookup
from cirlib.evaluation.ranking import ranks_from_scores
from cirlib.kernels.ranks import choose
from cirlib.kernels.ranks import ranks as count_ranks
from cirlib.kernels.reference import candidate_ranks, order_candidates
from cirlib.kernels.search import search
from cirlib.types import Benchmark, Embeddings, InputError, Method, Report

ATTRIBUTE_CUTOFFS = (10, 50)  # AC@K, AC_strict@K and ILD@K, where the list is that long
_POOL = 100  # candidates that a reranking method sees unless it says otherwise
_UNIT = 0.01  # rows may be off unit length by this much: half precision is, a forgotten normalisation is off by far more
_CHECK_ROWS = 8192


@dataclass(frozen=True)
class _Ranking:
    """Ranks of the scored queries: of positives (s, p), of the target within its subset (s,), and the best gallery rows (s, k).

    `kernels` names what counted the ranks and what searched; all of them give the same.
    """

    positives: Int[np.ndarray, "s p"]
    subset: Int[np.ndarray, " s"]
    top: Int[np.ndarray, "s k"]
    kernels: Mapping[str, str] = field(default_factory=lambda: {"ranks": "reference", "search": "reference"})


def evaluate(
    method: Method,
    benchmark: Benchmark,
    *,
    chunk_size: int = 2048,
    top_k: int = 50,
    seed: int | None = None,
    fingerprint: Mapping[str, Any] | None = None,
    allow_missing: bool = False,
) -> Report:
    """Encode, rank and score one method on one benchmark.

    Args:
        method: Two encoders, and optionally `rerank` (see `cirlib.types.Method`). Only queries whose pictures are there are composed.
        benchmark: Queries, gallery and protocol.
        chunk_size: Gallery rows scored at once. Changes time and memory, never the result.
        top_k: Length of the saved ranked lists; shorter where fewer candidates exist.
        seed: Seed of the run, for the fingerprint only.
        fingerprint: What else identifies the run: checkpoint hashes, preprocessing, commit.
        allow_missing: Score what can be scored; queries without reference or target picture count as misses.

    Returns:
        Per query: ranks, "recall@K", and where the benchmark has what they need "map@K" and "ndcg@K" (over all positives),
        "recall_subset@K", "ac@K", "ac_strict@K" and "ild@K". The fingerprint holds the protocol and, where pictures are missing, bounds:
        `recall_bounds` {metric: [low, high]} counts unscored queries as all misses or all hits; `recall_floor` further assumes that every
        missing picture would have outranked the target. "kernels" names the backends that ranked; all of them give the same ranks.

    Raises:
        InputError: If the benchmark cannot be scored (see `lookup`), or embeddings do not fit it.
    """
    table = lookup(benchmark, allow_missing=allow_missing)
    gallery = method.encode_gallery(benchmark.gallery)
    query = method.compose(table.queries, benchmark.references)
    reranker = method if hasattr(method, "rerank") else None
    return _evaluate(method.name, query, gallery, benchmark, table, reranker, chunk_size, top_k, {"seed": seed, **(fingerprint or {})})


def evaluate_embeddings(
    name: str,
    query: Embeddings,
    gallery: Embeddings,
    benchmark: Benchmark,
    *,
    chunk_size: int = 2048,
    top_k: int = 50,
    seed: int | None = None,
    fingerprint: Mapping[str, Any] | None = None,
    allow_missing: bool = False,
) -> Report:
    """Rank and score embeddings that exist already; the same path, arguments and result as `evaluate`.

    Args:
        name: Name of the method, for the report.
        query: One row per query, in order; with missing pictures, one per query whose reference and target are there.
        gallery: One row per gallery picture, in order.
        benchmark: As in `evaluate`, and so are the other arguments.
    """
    table = lookup(benchmark, allow_missing=allow_missing)
    return _evaluate(name, query, gallery, benchmark, table, None, chunk_size, top_k, {"seed": seed, **(fingerprint or {})})


def evaluate_scores(
    name: str,
    scores: Float[np.ndarray, "s g"],
    benchmark: Benchmark,
    *,
    top_k: int = 50,
    seed: int | None = None,
    fingerprint: Mapping[str, Any] | None = None,
    allow_missing: bool = False,
) -> Report:
    """Rank and score similarities that exist already, such as those of several systems together; the metrics and rules of `evaluate`.

    Args:
        name: Name of the method, for the report.
        scores: Higher is better; a row per query in order (with missing pictures, of those whose reference and target are there), a column
            per gallery picture. Equal scores are ordered by gallery row.
        benchmark: One that ranks its gallery, and so are the other arguments as in `evaluate`.

    Raises:
        InputError: If the shape does not fit, a score is not a number, or the benchmark ranks each query's own candidates.
    """
    table = lookup(benchmark, allow_missing=allow_missing)
    expected = (len(table.queries), len(benchmark.gallery))
    if scores.shape != expected or benchmark.protocol.candidates != "gallery":
        raise InputError(f"scores of shape {scores.shape} for {benchmark.name}; give {expected}, a row per query and a column per picture")
    positives, exclude, subset = table.positives.numpy(), table.exclude[:, 0].numpy(), table.subset.numpy()
    ranks = np.stack([ranks_from_scores(scores, column, exclude) for column in positives.T], axis=1)
    candidates = np.where(exclude[:, None] == np.arange(len(benchmark.gallery)), -np.inf, scores)
    top = np.argsort(-candidates, axis=1, kind="stable")[:, : min(top_k, table.n_candidates)]
    ranking = _Ranking(ranks, _subset_ranks(scores, positives[:, 0], subset), top)
    ranks = _spread(ranks, benchmark, table, fill=0)
    known = _fingerprint(benchmark, table, ranks[:, 0], torch.device("cpu"))
    per_query, ids = _metrics(ranking, ranks, benchmark, table), tuple(q.id for q in benchmark.queries)
    return Report(
        name, ids, ranks[:, 0], per_query, _spread(top, benchmark, table, fill=-1), {"seed": seed, **(fingerprint or {}), **known}
    )


def _subset_ranks(scores: np.ndarray, target: Int[np.ndarray, " s"], subset: Int[np.ndarray, "s c"]) -> Int[np.ndarray, " s"]:
    """Rank of each target among its look-alikes; those that are listed twice count once, -1 pads."""
    lines = np.arange(len(scores))
    members = np.sort(subset, axis=1)
    members[:, 1:][members[:, 1:] == members[:, :-1]] = -1
    own, others = scores[lines, target][:, None], scores[lines[:, None], members]
    better = (others > own) | ((others == own) & (members < target[:, None]))
    return 1 + (better & (members >= 0)).sum(axis=1)


def _evaluate(
    name: str,
    query: Embeddings,
    gallery: Embeddings,
    benchmark: Benchmark,
    table: Lookup,
    reranker: Any,
    chunk_size: int,
    top_k: int,
    fingerprint: dict[str, Any],
) -> Report:
    if top_k < 1:
        raise InputError(f"top_k {top_k} given; at least 1 candidate must be kept")
    _check_embeddings("query", query, [q.id for q in table.queries])
    _check_embeddings("gallery", gallery, benchmark.gallery.ids)
    ranking = _rank(query, gallery, benchmark, table, chunk_size, top_k)
    if reranker is not None:
        ranking = _rerank(reranker, ranking, query, gallery, benchmark, table, chunk_size, top_k)
    ranks = _spread(ranking.positives, benchmark, table, fill=0)
    per_query = _metrics(ranking, ranks, benchmark, table)
    top = _spread(ranking.top, benchmark, table, fill=-1)
    ids = tuple(q.id for q in benchmark.queries)
    known = _fingerprint(benchmark, table, ranks[:, 0], query.rows.device)
    return Report(name, ids, ranks[:, 0], per_query, top, {**fingerprint, **known, "kernels": dict(ranking.kernels)})


def _check_embeddings(what: str, embeddings: Embeddings, ids: Sequence[str]) -> None:
    if tuple(embeddings.ids) != tuple(ids):
        wrong = next((i for i, (a, b) in enumerate(zip(embeddings.ids, ids, strict=False)) if a != b), min(len(embeddings.ids), len(ids)))
        wanted, got = (repr(names[wrong]) if wrong < len(names) else "nothing" for names in (ids, embeddings.ids))
        counts = f"{len(embeddings.ids)} rows for {len(ids)}"
        raise InputError(f"{what} embeddings do not follow the benchmark: {counts}, row {wrong} is {got} instead of {wanted}")
    for start in range(0, len(ids), _CHECK_ROWS):
        lengths = torch.linalg.vector_norm(embeddings.rows[start : start + _CHECK_ROWS].float(), dim=-1).reshape(-1, _vectors(embeddings))
        wrong_rows = ~((lengths - 1).abs() <= _UNIT).all(dim=1)  # not a number is wrong too
        if wrong_rows.any():
            row = int(wrong_rows.nonzero()[0])
            length = float(lengths[row][(lengths[row] - 1).abs().nan_to_num(torch.inf).argmax()])
            problem = "has a score that is not a number" if not np.isfinite(length) else f"has length {length:.4g}"
            raise InputError(f"{what} {ids[start + row]!r} {problem}; embeddings must be finite and of unit length")


def _vectors(embeddings: Embeddings) -> int:
    return embeddings.rows.shape[1] if embeddings.rows.ndim == 3 else 1


def _rank(query: Embeddings, gallery: Embeddings, benchmark: Benchmark, table: Lookup, chunk_size: int, top_k: int) -> _Ranking:
    q, g = query.rows, gallery.rows
    if benchmark.protocol.candidates == "subset":
        ranks = np.stack([candidate_ranks(q, g, column, table.subset).cpu().numpy() for column in table.positives.T], axis=1)
        top = order_candidates(q, g, table.subset)[0][:, :top_k]
        return _Ranking(ranks, ranks[:, 0], top.cpu().numpy())
    backend = choose(q, g)
    ranks = count_ranks(q, g, table.positives, table.exclude, backend=backend, chunk_size=chunk_size)
    subset = candidate_ranks(q, g, table.positives[:, 0], table.subset)
    found = search(q, g, min(top_k, table.n_candidates), table.exclude, chunk_size=chunk_size)
    kernels = {"ranks": backend, "search": found.backend}
    return _Ranking(ranks.cpu().numpy(), subset.cpu().numpy(), found.rows.cpu().numpy(), kernels)


def _rerank(
    method: Any, ranking: _Ranking, query: Embeddings, gallery: Embeddings, benchmark: Benchmark, table: Lookup, chunk_size: int, top_k: int
) -> _Ranking:
    """Let the method reorder the head of each list; ranks beyond the head stay as they are."""
    q, g, whole = query.rows, gallery.rows, benchmark.protocol.candidates == "gallery"
    size = min(int(getattr(method, "pool_size", _POOL)), table.n_candidates)
    if size < 1:
        raise InputError(f"{method.name!r} wants a pool of {size} candidates; a pool holds at least 1")
    if whole:
        found = search(q, g, size, table.exclude, chunk_size=chunk_size)
        pool, scores = found.rows, found.scores
    else:
        pool, scores = (part[:, :size] for part in order_candidates(q, g, table.subset))
    if (pool < 0).any():
        raise InputError(f"{method.name!r} reranks, and some query has fewer than {size} candidates; a shorter pool_size avoids it")
    order = torch.as_tensor(method.rerank(table.queries, pool, scores, gallery)).to(pool.device, torch.int64)
    if order.shape != pool.shape or not torch.equal(order.sort(dim=1).values, torch.arange(size, device=pool.device).expand_as(order)):
        raise InputError(f"{method.name!r}: rerank gave {tuple(order.shape)}; each line must be a permutation of the {size} positions")
    pool = pool.gather(1, order).cpu().numpy()
    positives = _replace_ranks(ranking.positives, table.positives.numpy(), pool)
    subset = positives[:, 0]
    if whole:
        members = np.concatenate([table.positives[:, :1].numpy(), table.subset.numpy()], axis=1)
        before = count_ranks(q, g, torch.from_numpy(members), table.exclude, chunk_size=chunk_size).cpu().numpy()
        after = _replace_ranks(before, members, pool)
        subset = 1 + ((after > 0) & (after < after[:, :1])).sum(axis=1)
    top = np.concatenate([pool, ranking.top[:, size:]], axis=1)[:, :top_k]
    return _Ranking(positives, subset, top, ranking.kernels)


def _replace_ranks(ranks: np.ndarray, rows: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Ranks of `rows`, with those inside the reordered pool replaced by their new place."""
    ranks = ranks.copy()
    for column in range(rows.shape[1]):
        found = pool == rows[:, column, None]
        ranks[:, column] = np.where(found.any(axis=1), found.argmax(axis=1) + 1, ranks[:, column])
    return ranks


def _spread(values: np.ndarray, benchmark: Benchmark, table: Lookup, fill: int | float) -> np.ndarray:
    """Values of the scored queries at their places among all queries."""
    result = np.full((len(benchmark.queries), *values.shape[1:]), fill, dtype=values.dtype)
    result[table.scored] = values
    return result


def _metrics(ranking: _Ranking, ranks: np.ndarray, benchmark: Benchmark, table: Lookup) -> dict[str, Float[np.ndarray, " q"]]:
    protocol = benchmark.protocol
    n_positives = np.array([len(query.positives) for query in benchmark.queries])  # missing ones included: they cannot be found
    result = {f"recall@{k}": metrics.recall_at_k(ranks[:, 0], k) for k in protocol.recall_at}
    result |= {f"map@{k}": metrics.average_precision_at_k(ranks, n_positives, k) for k in protocol.map_at}
    result |= {f"ndcg@{k}": metrics.ndcg_at_k(ranks, n_positives, k) for k in protocol.map_at}
    subset = _spread(ranking.subset, benchmark, table, fill=0)
    result |= {f"recall_subset@{k}": metrics.recall_at_k(subset, k) for k in protocol.subset_at}
    if benchmark.labels is not None and any(query.edit is not None for query in table.queries):
        labels = attributes.label_table(benchmark.gallery.ids, benchmark.labels)
        hits = attributes.satisfied(ranking.top, [query.edit for query in table.queries], labels)
        for k in (k for k in ATTRIBUTE_CUTOFFS if k <= ranking.top.shape[1]):
            values = {
                f"ac@{k}": attributes.ac_at_k(hits, k),
                f"ac_strict@{k}": attributes.ac_strict_at_k(hits, k),
                f"ild@{k}": attributes.ild_at_k(ranking.top, labels, k),
            }
            result |= {name: _spread(value, benchmark, table, fill=np.nan) for name, value in values.items()}
    return result


def _fingerprint(benchmark: Benchmark, table: Lookup, ranks: Int[np.ndarray, " q"], device: torch.device) -> dict[str, Any]:
    lost = len(benchmark.queries) - len(table.scored)
    known: dict[str, Any] = {
        "benchmark": benchmark.name,
        "split": benchmark.split,
        "part": benchmark.part,
        "version": benchmark.version,
        "gallery_size": len(benchmark.gallery),
        "protocol": asdict(benchmark.protocol),
        "missing": {"pictures": sorted(benchmark.missing), "unscored_queries": lost},
        "device": str(device),
        "versions": {"cirlib": __version__, "torch": torch.__version__, "numpy": np.__version__},
    }
    if benchmark.missing or lost:
        scored, absent = np.where(ranks > 0, ranks, np.iinfo(np.int64).max // 2), len(benchmark.missing)
        known["recall_bounds"] = {
            f"recall@{k}": [float((scored <= k).mean()), float(((scored <= k) | (ranks == 0)).mean())] for k in benchmark.protocol.recall_at
        }
        known["recall_floor"] = {f"recall@{k}": float((scored + absent <= k).mean()) for k in benchmark.protocol.recall_at}
    return known
