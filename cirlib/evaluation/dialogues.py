"""Conversations of two turns with a simulated user: which result becomes the next reference, and is the goal found in the end?

The user knows the goal, says the first edit, takes one of the pictures shown, and says the second edit about it. Success is a correct
picture among the first K of the last list. What the user takes is our choice of four:

    top           the first result, right or wrong
    best correct  the best placed result among the first K that satisfies the first edit; the first result where there is none
    given         the designated answer of the first turn, whatever was found: a first turn that went well
    at once       there is one turn only, and its text holds both edits
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from cirlib.evaluation.evaluate import evaluate
from cirlib.types import Benchmark, InputError, Method

USERS = ("top", "best correct", "given", "at once")


def play(method: Method, first: Benchmark, second: Benchmark, at_once: Benchmark, *, k: int = 10) -> dict[str, Float[np.ndarray, " q"]]:
    """Hold every conversation with every user.

    Args:
        method: Asked as in `evaluate`, its rerank included.
        first: First edits on their pictures; positives are what satisfies them.
        second: Second edits, positives are the goal. The references are those of the user "given"; other users bring their own.
        at_once: Both edits in one text on the first picture, positives are the goal.
        k: How many results the user looks at.

    Returns:
        Per user (q,) 1 where a correct picture is among the first k at the end, else 0; and "first turn", 1 where one was among the first k
        of the first turn. A user who takes a picture that is the goal already has it.

    Raises:
        InputError: If the three benchmarks do not hold the same conversations, or are too small for k.

    Example:
        >>> from cirlib.data.atelier.turns import load_dialogues
        >>> from cirlib.methods.baselines import Chance
        >>> talks = load_dialogues("val", 64, 5)
        >>> sorted(play(Chance(), talks.first, talks.second, talks.at_once))
        ['at once', 'best correct', 'first turn', 'given', 'top']
    """
    ids = [tuple(query.id for query in benchmark.queries) for benchmark in (first, second, at_once)]
    if ids[0] != ids[1] or ids[0] != ids[2]:
        raise InputError("the turns hold different conversations; give benchmarks with the same query ids in the same order")
    shown = _lists(method, first, k)
    right = [[name for name in names if name in query.positives] for query, names in zip(first.queries, shown, strict=True)]
    taken = {
        "top": [names[0] for names in shown],
        "best correct": [(found or names)[0] for found, names in zip(right, shown, strict=True)],
        "given": [query.reference for query in second.queries],
    }
    result = {user: _reached(method, second, references, k) for user, references in taken.items()}
    result["at once"] = _reached(method, at_once, [query.reference for query in at_once.queries], k)
    return {"first turn": np.array([float(bool(found)) for found in right]), **result}


def _reached(method: Method, benchmark: Benchmark, references: Sequence[str], k: int) -> Float[np.ndarray, " q"]:
    """1 where the goal is among the first k when each query starts from the given reference."""
    queries = [replace(query, reference=name) for query, name in zip(benchmark.queries, references, strict=True)]
    arrived = np.array([query.reference in query.positives for query in queries])
    reached = arrived.astype(np.float64)
    open_ones = tuple(query for query, there in zip(queries, arrived, strict=True) if not there)
    if open_ones:
        lists = _lists(method, replace(benchmark, queries=open_ones), k)
        found = [not set(names).isdisjoint(query.positives) for query, names in zip(open_ones, lists, strict=True)]
        reached[~arrived] = np.array(found, dtype=np.float64)
    return reached


def _lists(method: Method, benchmark: Benchmark, k: int) -> list[list[str]]:
    """The first k pictures of every query, best first."""
    report = evaluate(method, benchmark, top_k=k)
    if report.top.shape[1] < k:
        raise InputError(f"lists of {report.top.shape[1]} pictures, and the user looks at {k}; use a larger gallery or a smaller k")
    return [[benchmark.gallery.ids[row] for row in rows] for rows in report.top.tolist()]
