"""Ranks from a given matrix of scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cirlib.evaluation import ranking
from cirlib.evaluation.ranking import ranks_from_scores
from cirlib.types import InputError


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6), q=st.integers(1, 12), g=st.integers(2, 30), levels=st.sampled_from([2, 5, 10**6]), block=st.integers(1, 200)
)
def test_equals_a_stable_sort(seed, q, g, levels, block):
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, levels, (q, g)).astype(np.float32)
    rows = generator.permuted(np.tile(np.arange(g), (q, 1)), axis=1)
    target, exclude = rows[:, 0].copy(), rows[:, 1].copy()
    target[0], exclude[-1] = (-1, exclude[-1]) if q > 1 else (target[0], -1)
    before, ranking._BLOCK = ranking._BLOCK, block
    try:
        ranks = ranks_from_scores(scores, target, exclude)
    finally:
        ranking._BLOCK = before
    for i in range(q):
        order = [row for row in np.argsort(-scores[i], kind="stable") if row != exclude[i]]
        assert ranks[i] == (order.index(target[i]) + 1 if target[i] >= 0 else 0)


@pytest.mark.parametrize("column", [0, 2])
def test_not_a_number_names_the_query(column):
    scores = np.random.default_rng(0).random((4, 3))
    scores[2, column] = np.nan
    with pytest.raises(InputError, match="query row 2 has a score that is not a number"):
        ranks_from_scores(scores, np.zeros(4, dtype=int))


def test_rows_are_checked():
    scores = np.zeros((2, 3))
    with pytest.raises(InputError, match="target of query row 1 is gallery row 3"):
        ranks_from_scores(scores, np.array([0, 3]))
    with pytest.raises(InputError, match="query row 0 excludes its own target"):
        ranks_from_scores(scores, np.array([0, 1]), np.array([0, -1]))
    with pytest.raises(InputError, match="one whole number"):
        ranks_from_scores(scores, np.array([0.0, 1.0]))
