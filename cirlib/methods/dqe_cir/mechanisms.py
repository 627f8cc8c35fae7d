"""What the paper says goes wrong, measured where every answer is known: wrong negatives, relevance suppression, confusion; and gates.

All of it is our choice; no source has such measurements, because no public data set has complete truth. Everything comes per query, (q,)
with NaN where a query cannot tell, so that `cirlib.evaluation.intervals` can make means and paired differences of it.

A training knows the designated target alone. On *training* queries it can therefore treat the target and the unlabelled positives
differently, and the difference is suppression; on val and test nobody told it which positive is the target, so there the two are alike but
for chance, and their ranks say what suppression has cost.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cirlib.kernels.reference import target_ranks, top_k
from cirlib.types import Benchmark, Embeddings, InputError, Method, Query

# What an edit of atelier changes, by the words that name it: details whose names are in the shape list count as shape.
CHANGED = {
    "color": frozenset({"color", "second_color"}),
    "shape": frozenset({"sleeve", "neckline", "length", "fit", "collar", "pockets", "buttons"}),
}
KINDS = ("color", "shape", "both", "neither")


class Sets(Protocol):
    """Negative sets of many queries; `cirlib.methods.dqe_cir.sets.NegativeSets` is one."""

    def of(self, query: int) -> Int[Tensor, " n"]:
        """Gallery rows of one query's set."""
        ...


@dataclass(frozen=True)
class Mechanisms:
    """What a model does with the queries of a benchmark, each (q,).

    Attributes:
        target_above: Share of the wrong pictures that are ranked above the designated target, in [0, 1].
        unlabelled_above: The same for the unlabelled positives, their mean. NaN for queries without any, and so are the next three.
        unlabelled_rank: Mean rank of the unlabelled positives, from 1, among all pictures.
        unlabelled_reciprocal: Mean of 1 / rank of them.
        suppression: unlabelled_above - target_above: how much worse than the target equally correct pictures are placed.
        confused: Share of a query's siblings (other edits of its reference) whose target is ranked above the query's own, although it does
            not answer the query. NaN for queries without a sibling to tell apart, and so are the next two.
        misled: 1 if the best ranked picture answers a sibling and not the query, else 0.
        closeness: Mean cosine between the composed queries of query and siblings.
    """

    target_above: Float[np.ndarray, " q"]
    unlabelled_above: Float[np.ndarray, " q"]
    unlabelled_rank: Float[np.ndarray, " q"]
    unlabelled_reciprocal: Float[np.ndarray, " q"]
    suppression: Float[np.ndarray, " q"]
    confused: Float[np.ndarray, " q"]
    misled: Float[np.ndarray, " q"]
    closeness: Float[np.ndarray, " q"]


def measure_mechanisms(query: Embeddings, gallery: Embeddings, benchmark: Benchmark) -> Mechanisms:
    """Suppression and confusion of a model, from its embeddings of a benchmark with complete positives.

    Ranks are those of the evaluation: exact scores, ties by gallery row, the reference left out where the protocol says so.

    Args:
        query: One row per query of the benchmark, in order.
        gallery: One row per gallery picture, in order; (g, d) or (g, m, d).
        benchmark: Its positives must be complete, as atelier's are; elsewhere the numbers understate suppression.

    Raises:
        InputError: If the embeddings do not follow the benchmark, or a picture is missing.
    """
    _check(query, gallery, benchmark)
    queries, rows = benchmark.queries, benchmark.gallery.rows
    excluded = torch.tensor([[rows.get(q.reference, -1) if benchmark.protocol.exclude_reference else -1] for q in queries])
    positives = _ranks(query, gallery, [[rows[name] for name in q.positives] for q in queries], excluded)
    pairs = siblings(queries)
    others = _ranks(query, gallery, [[rows[queries[j].target] for j in row] for row in pairs], excluded)
    best = [benchmark.gallery.ids[row] for row in top_k(query.rows, gallery.rows, 1, excluded)[0][:, 0].tolist()]
    suppressed = [_suppression(ranks, len(rows) - int(left_out >= 0)) for ranks, left_out in zip(positives, excluded[:, 0], strict=True)]
    return Mechanisms(
        *np.array(suppressed).T,
        confused=_mean_of([[rank < own[0] for rank in ranks] for ranks, own in zip(others, positives, strict=True)]),
        misled=np.array([_misled(name, q, [queries[j] for j in near]) for name, q, near in zip(best, queries, pairs, strict=True)]),
        closeness=_mean_of([(query.rows[near] @ query.rows[i]).tolist() for i, near in enumerate(pairs)]),
    )


def mechanisms_look(benchmark: Benchmark) -> Callable[[Method], dict[str, Tensor]]:
    """A look for a training (its `measure`): every field of `Mechanisms` on a fixed small benchmark, as tensors that states can keep.

    Args:
        benchmark: Small, because its whole gallery is embedded at every look; the first families of atelier's train split, for example.
    """

    def look(method: Method) -> dict[str, Tensor]:
        query, gallery = method.compose(benchmark.queries, benchmark.references), method.encode_gallery(benchmark.gallery)
        found = measure_mechanisms(query, gallery, benchmark)
        return {field.name: torch.from_numpy(getattr(found, field.name)) for field in fields(found)}

    return look


def siblings(queries: Sequence[Query]) -> list[list[int]]:
    """Of each query, the places of the others that edit the same reference to something else.

    Two edits that share an answer are no siblings: a picture that answers both cannot tell them apart.

    Example:
        >>> red, blue, any_red = (Query(n, "r", n, p) for n, p in (("red", ("a", "b")), ("blue", ("c",)), ("any", ("b", "d"))))
        >>> siblings([red, blue, any_red])
        [[1], [0, 2], [1]]
    """
    places: dict[str, list[int]] = {}
    for place, query in enumerate(queries):
        places.setdefault(query.reference, []).append(place)
    answers = [frozenset(query.positives) for query in queries]
    return [[j for j in places[query.reference] if j != i and not answers[i] & answers[j]] for i, query in enumerate(queries)]


def wrong_negative_share(sets: Sets, positives: Sequence[Collection[int]]) -> Float[np.ndarray, " q"]:
    """Share of each query's negative set that is in truth a positive; NaN where the set is empty.

    Draws from a set are uniform, so the mean over the queries is the exact expectation of the share of wrong negatives in an epoch.

    Args:
        sets: Mined sets.
        positives: Gallery rows of every positive of each query, in the numbering of the sets; see `positive_rows`.

    Example:
        >>> class Two:
        ...     def of(self, query): return torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]][query])
        >>> wrong_negative_share(Two(), [{2, 9}, {0}]).tolist()
        [0.25, 0.0]
    """
    return _mean_of([np.isin(sets.of(query).cpu().numpy(), list(known)) for query, known in enumerate(positives)])


def wrong_in_batch_share(queries: Sequence[Query], *, copies: bool = True) -> Float[np.ndarray, " q"]:
    """Expected share of the other targets of a random batch that are in truth positives of a query. It does not depend on the batch's size.

    Args:
        queries: All queries that batches are drawn from.
        copies: Whether the query's own target, where another query has it too, stands against it: it does in SPRC's and CLIP4Cir's loss. If
            not, such queries are no negatives at all.

    Raises:
        InputError: If there are fewer than two queries.

    Example:
        >>> asked = [Query("0", "r", "", ("a", "b")), Query("1", "r", "", ("b",)), Query("2", "r", "", ("a",))]
        >>> wrong_in_batch_share(asked).tolist(), wrong_in_batch_share(asked, copies=False).tolist()
        ([1.0, 0.0, 0.5], [1.0, 0.0, 0.0])
    """
    if len(queries) < 2:
        raise InputError(f"{len(queries)} queries given; a batch needs two or more")
    counts: dict[str, int] = {}
    for query in queries:
        counts[query.target] = counts.get(query.target, 0) + 1
    wrong = np.array([sum(counts.get(name, 0) for name in query.positives[1:]) for query in queries], dtype=np.float64)
    same = np.array([counts[query.target] - 1 for query in queries], dtype=np.float64)
    standing = len(queries) - 1 - (0 if copies else same)
    return np.divide(wrong + (same if copies else 0), standing, out=np.full(len(queries), np.nan), where=standing > 0)


def positive_rows(benchmark: Benchmark) -> list[frozenset[int]]:
    """Gallery rows of every positive of each query, the designated target among them."""
    rows = benchmark.gallery.rows
    return [frozenset(rows[name] for name in query.positives if name in rows) for query in benchmark.queries]


def edit_kinds(queries: Sequence[Query]) -> list[str]:
    """What each edit really changes: "color", "shape", "both" or "neither" (pattern, sheen, belt, print, trim), from its structure.

    Raises:
        InputError: If the benchmark does not say what an edit changes.
    """
    return [_kind(query) for query in queries]


def gate_values(
    queries: Sequence[Query], present: Bool[Tensor, "q a"], weights: Float[Tensor, "q a"], groups: Sequence[str], *, acting: bool = False
) -> dict[str, dict[str, Float[np.ndarray, " q"]]]:
    """Attribute weights by what the edit really changes: does the weight of colour rise where a colour changes?

    Args:
        queries: With structured edits.
        present: Whether an attribute acts on a query, because its text names it.
        weights: In [0, 1].
        groups: Names of the columns ("color", "shape").
        acting: Count a weight as 0 where its attribute is not present, instead of leaving the query out.

    Returns:
        Of each group and each kind of edit in `KINDS`, (q,) weights; NaN for other kinds and, unless `acting`, where the group is absent.

    Raises:
        InputError: If shapes do not fit, or an edit is not known.
    """
    if present.shape != weights.shape or present.shape != (len(queries), len(groups)):
        raise InputError(
            f"{tuple(present.shape)} marks and {tuple(weights.shape)} weights for {len(queries)} queries and {len(groups)} groups"
        )
    kinds, marks, values = np.array(edit_kinds(queries)), present.cpu().numpy(), weights.detach().cpu().double().numpy()
    shown = np.where(marks, values, 0.0 if acting else np.nan)
    return {group: {kind: np.where(kinds == kind, shown[:, a], np.nan) for kind in KINDS} for a, group in enumerate(groups)}


def _kind(query: Query) -> str:
    if query.edit is None:
        raise InputError(f"query {query.id!r} has no structured edit; only atelier and dfmm know what their texts change")
    changed = [group for group, names in CHANGED.items() if names & set(query.edit.attributes)]
    return "both" if len(changed) > 1 else changed[0] if changed else "neither"


def _ranks(query: Embeddings, gallery: Embeddings, rows: list[list[int]], excluded: Tensor) -> list[list[int]]:
    """Ranks of some pictures for each query."""
    widest = max(map(len, rows))
    if not widest:
        return [[] for _ in rows]
    table = torch.tensor([row + [-1] * (widest - len(row)) for row in rows])
    found = target_ranks(query.rows, gallery.rows, table, excluded).tolist()
    return [ranks[: len(row)] for ranks, row in zip(found, rows, strict=True)]


def _suppression(ranks: list[int], candidates: int) -> tuple[float, ...]:
    """The first five fields of `Mechanisms` for one query, from the ranks of its positives."""
    place = np.argsort(np.argsort(ranks))  # correct pictures ranked above each positive; they are no fault
    above = (np.array(ranks) - 1 - place) / max(1, candidates - len(ranks))
    if len(ranks) == 1:
        return (above[0], *[np.nan] * 4)
    others = np.array(ranks[1:], dtype=np.float64)
    return above[0], above[1:].mean(), others.mean(), (1 / others).mean(), above[1:].mean() - above[0]


def _misled(best: str, query: Query, near: Sequence[Query]) -> float:
    if not near:
        return np.nan
    return float(best not in query.positives and any(best in other.positives for other in near))


def _mean_of(values: Sequence[Sequence[float]]) -> Float[np.ndarray, " q"]:
    return np.array([np.mean(row) if len(row) else np.nan for row in values], dtype=np.float64)


def _check(query: Embeddings, gallery: Embeddings, benchmark: Benchmark) -> None:
    if query.ids != tuple(q.id for q in benchmark.queries) or gallery.ids != tuple(benchmark.gallery.ids):
        counts = f"{len(query)} queries and {len(gallery)} pictures embedded"
        raise InputError(f"{counts} for {len(benchmark.queries)} and {len(benchmark.gallery)} of {benchmark.name}; rows must follow it")
    absent = {name for q in benchmark.queries for name in q.positives if name not in benchmark.gallery}
    if absent:
        raise InputError(f"{len(absent)} positives (such as {min(absent)!r}) are not in the gallery; mechanisms need complete benchmarks")
