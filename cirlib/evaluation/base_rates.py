"""What a random ranking scores on the metrics of `attributes`. AC, AC_strict and ILD mean something beside these rates only.

A popular value makes a random list satisfy many edits, and a random list is varied without any merit: diversity counts where AC and recall
stand above their rates. All are exact expectations over the orders of the candidates, not samples, and hold for every cut-off K.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from cirlib.evaluation.attributes import LabelTable, label_table, satisfied
from cirlib.types import Benchmark, InputError

_BLOCK = 256  # gallery rows compared with the whole gallery at once


def random_attribute_rates(benchmark: Benchmark) -> Mapping[str, float]:
    """Expected AC, AC_strict and ILD of a random ranking; our choice of what to report beside Pix2Key's metrics.

    Candidates are the whole gallery, without the reference where the protocol removes it. A random top K is a random subset, and all three
    metrics are means over its pictures or its pairs, so their expectations are the means over all pictures and over all pairs, whatever K.

    Args:
        benchmark: With labels and edits; it must rank the whole gallery.

    Returns:
        "ac", "ac_strict" and "ild" as fractions in [0, 1], averaged over the queries with a known edit (ILD: over all queries).

    Raises:
        InputError: If there are no labels or no edits, each query has its own candidates, or there are fewer than two candidates.
    """
    where = f"{benchmark.name} {benchmark.split}"
    edits = [query.edit for query in benchmark.queries]
    if benchmark.labels is None or not any(edit is not None and edit.changes for edit in edits):
        raise InputError(f"{where} has no labels or no edits; rates of a random ranking need both, as atelier and dfmm have them")
    if benchmark.protocol.candidates == "subset":
        raise InputError(f"{where} ranks each query's own candidates; rates of a random ranking are for benchmarks that rank the gallery")
    rows = benchmark.gallery.rows
    excluded = [rows.get(query.reference, -1) if benchmark.protocol.exclude_reference else -1 for query in benchmark.queries]
    if len(rows) - (max(excluded) >= 0) < 2:
        raise InputError(f"{where} has {len(rows)} gallery pictures; a list of two candidates or more is needed")
    table = label_table(benchmark.gallery.ids, benchmark.labels)
    shares, strict = [], []
    for edit, out in zip(edits, excluded, strict=True):
        candidates = np.delete(np.arange(len(rows)), [out] if out >= 0 else [])
        [hits] = satisfied(candidates[None], [edit], table)
        if hits is not None:
            shares.append(hits.mean())
            strict.append(hits.all(axis=1).mean())
    return {"ac": float(np.mean(shares)), "ac_strict": float(np.mean(strict)), "ild": _mean_ild(table, np.array(excluded))}


def _mean_ild(table: LabelTable, excluded: Int[np.ndarray, " q"]) -> float:
    """Mean distance over all pairs without the excluded row, averaged over the queries."""
    sums = _distance_sums(table.codes)
    n = len(sums) - (excluded >= 0)
    without = sums.sum() - 2 * np.where(excluded >= 0, sums[excluded], 0.0)
    return float((without / (n * (n - 1))).mean())


def _distance_sums(codes: Int[np.ndarray, "g a"]) -> Float[np.ndarray, " g"]:
    """Sum of each row's distances to all rows. Equal rows are counted once and weighted: labels repeat a lot."""
    kinds, kind, counts = np.unique(codes, axis=0, return_inverse=True, return_counts=True)
    sums = np.empty(len(kinds))
    for start in range(0, len(kinds), _BLOCK):
        block = kinds[start : start + _BLOCK]
        differ = np.zeros((len(block), len(kinds)), np.float32)
        both = np.zeros_like(differ)
        for left, right in zip(block.T, kinds.T, strict=True):
            applies = (left >= 0)[:, None] & (right >= 0)[None, :]
            both += applies
            differ += applies & (left[:, None] != right[None, :])
        sums[start : start + _BLOCK] = np.divide(differ, both, out=np.zeros_like(differ), where=both > 0) @ counts.astype(np.float64)
    return sums[kind.reshape(-1)]
