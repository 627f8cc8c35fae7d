"""Choosing a number on val. Test is never looked at: the score is a function that the caller ties to val."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Tuned:
    """Outcome of a search over one number.

    Attributes:
        best: The value with the highest score; the first of equals.
        values: What was tried, in order.
        scores: The score of each.
    """

    best: float
    values: tuple[float, ...]
    scores: tuple[float, ...]


def tune(values: Sequence[float], score: Callable[[float], float]) -> Tuned:
    """Score every value and keep the best.

    Example:
        >>> tune([0.0, 0.5, 1.0], lambda w: -(w - 0.4) ** 2).best
        0.5
    """
    scores = tuple(score(value) for value in values)
    return Tuned(values[scores.index(max(scores))], tuple(values), scores)
