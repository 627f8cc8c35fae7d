"""Metrics from attribute labels: does the top K satisfy the edit (AC), and how varied is it (ILD)? Pix2Key's two measures beside recall.

Labels become one integer table, (g, a) with -1 for *not applicable*, so that a query costs a few array lookups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from cirlib.types import Edit, InputError

_CHUNK = 64  # queries per block of the pairwise comparison; (64, 50, 50) booleans stay in cache


@dataclass(frozen=True)
class LabelTable:
    """Attribute labels of a gallery as integers.

    Attributes:
        attributes: Names, one per column.
        values: Per column, the value behind each code.
        codes: (g, a) code of each picture's value; -1 where the attribute does not apply.
    """

    attributes: tuple[str, ...]
    values: tuple[Mapping[str, int], ...]
    codes: Int[np.ndarray, "g a"]


def label_table(gallery_ids: Sequence[str], labels: Mapping[str, Mapping[str, str]]) -> LabelTable:
    """Encode labels, rows in gallery order. A picture without labels is not applicable everywhere."""
    names = sorted({name for image_id in gallery_ids for name in labels.get(image_id, {})})
    columns = {name: column for column, name in enumerate(names)}
    values: tuple[dict[str, int], ...] = tuple({} for _ in names)
    codes = np.full((len(gallery_ids), len(names)), -1, dtype=np.int32)
    for row, image_id in enumerate(gallery_ids):
        for name, value in labels.get(image_id, {}).items():
            column = columns[name]
            codes[row, column] = values[column].setdefault(value, len(values[column]))
    return LabelTable(tuple(names), values, codes)


def satisfied(top: Int[np.ndarray, "q k"], edits: Sequence[Edit | None], table: LabelTable) -> list[np.ndarray | None]:
    """Which of the ranked pictures satisfy which change: per query a boolean (k, changes), None where the edit is unknown or empty.

    A change is satisfied when `label in change.allowed`. Not applicable counts as not satisfied, and so does padding (-1) in `top`.
    """
    columns = {name: column for column, name in enumerate(table.attributes)}
    result: list[np.ndarray | None] = []
    for rows, edit in zip(top, edits, strict=True):
        if edit is None or not edit.changes:
            result.append(None)
            continue
        hits = np.zeros((len(rows), len(edit.changes)), dtype=bool)
        for position, change in enumerate(edit.changes):
            if change.attribute in columns:
                column = columns[change.attribute]
                known = table.values[column]
                allowed = [known[value] for value in change.allowed if value in known]
                hits[:, position] = (rows >= 0) & np.isin(table.codes[rows, column], allowed)
        result.append(hits)
    return result


def ac_at_k(hits: Sequence[np.ndarray | None], k: int) -> Float[np.ndarray, " q"]:
    """Attribute consistency: the share of (picture, change) pairs of the top K that are satisfied. NaN where the edit is unknown.

    AC@K = 1/K sum over the top K of 1/|C| sum over changes of 1[label in allowed]   (Pix2Key, with sets of allowed values: our choice)

    Args:
        hits: From `satisfied`.
        k: Cut-off, at most the length of the rankings.
    """
    return np.array([np.nan if hit is None else hit[: _cutoff(k, len(hit))].mean() for hit in hits])


def ac_strict_at_k(hits: Sequence[np.ndarray | None], k: int) -> Float[np.ndarray, " q"]:
    """The share of the top K that satisfies every change of the edit. NaN where the edit is unknown. Arguments as in `ac_at_k`."""
    return np.array([np.nan if hit is None else hit[: _cutoff(k, len(hit))].all(axis=1).mean() for hit in hits])


def ild_at_k(top: Int[np.ndarray, "q k_max"], table: LabelTable, k: int) -> Float[np.ndarray, " q"]:
    """Intra-list diversity: the mean attribute distance over all pairs of the top K, in [0, 1].

    distance(i, j) = share of attributes on which they differ, over the attributes that apply to both; 0 if there is none   (Pix2Key)
    A random ranking maximises it, so it means something beside recall only. Padding (-1) leaves NaN; so does K = 1, which has no pairs.

    Args:
        top: Gallery rows of the best candidates, best first.
        table: From `label_table`.
        k: Cut-off, at most the width of `top`.
    """
    rows = top[:, : _cutoff(k, top.shape[1])]
    if k == 1:
        return np.full(len(rows), np.nan)
    blocks = [_mean_distance(table.codes[rows[start : start + _CHUNK]]) for start in range(0, len(rows), _CHUNK)]
    ild = np.concatenate(blocks) if blocks else np.empty(0)
    return np.where((rows < 0).any(axis=1), np.nan, ild)


def _mean_distance(codes: Int[np.ndarray, "q k a"]) -> Float[np.ndarray, " q"]:
    n_rows, k, n_attributes = codes.shape
    differ = np.zeros((n_rows, k, k), dtype=np.float32)
    both = np.zeros((n_rows, k, k), dtype=np.float32)
    for column in range(n_attributes):  # one attribute at a time: memory (q, k, k), not (q, k, k, a)
        value = codes[:, :, column]
        applies = (value >= 0)[:, :, None] & (value >= 0)[:, None, :]
        both += applies
        differ += applies & (value[:, :, None] != value[:, None, :])
    distance = np.divide(differ, both, out=np.zeros_like(differ), where=both > 0)
    return distance.sum(axis=(1, 2), dtype=np.float64) / (k * (k - 1))  # the diagonal is 0 and each pair counts twice


def _cutoff(k: int, available: int) -> int:
    if not 1 <= k <= available:
        raise InputError(f"cut-off {k} given for rankings of {available}; a cut-off lies between 1 and the length of the ranking")
    return k
