"""Matching by slots against plain loops."""

import numpy as np
import torch
from dictionary_world import WordEncoder
from hypothesis import given, settings
from hypothesis import strategies as st

from cirlib.methods.pix2key.slots import best_matches, slot_scores, slot_weights

TEXTS = ["color: red", "color: blue", "second color: red", "belt: yes", "length: long", "fit: loose"]
EMBED = WordEncoder().texts
dictionaries = st.lists(st.lists(st.sampled_from(TEXTS), max_size=4, unique=True), min_size=1, max_size=6)
parts = st.tuples(*[st.lists(st.sampled_from(TEXTS), max_size=3, unique=True)] * 3)


def slow_score(query, candidate, alpha, beta):
    total = 0.0
    for texts, weight in zip(query, (alpha, beta, -(1 - alpha)), strict=True):
        best = [max((float(EMBED([t])[0].double() @ EMBED([e])[0].double()) for e in candidate), default=0.0) for t in texts]
        total += weight * (sum(best) / len(best) if best else 0.0)
    return total


@given(st.lists(parts, min_size=1, max_size=4), dictionaries, st.floats(0, 1), st.floats(0, 2), st.data())
@settings(max_examples=30, deadline=None)
def test_equals_plain_loops(queries, candidates, alpha, beta, data):
    rows = st.lists(st.integers(0, len(candidates) - 1), min_size=3, max_size=3)
    pool = torch.tensor([data.draw(rows) for _ in queries])
    scores = slot_scores([slot_weights(*query, alpha, beta) for query in queries], candidates, pool, EMBED)
    expected = [
        [slow_score(query, candidates[row], alpha, beta) for row in line.tolist()] for query, line in zip(queries, pool, strict=True)
    ]
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-6)


def test_candidates_with_equal_entries_tie_exactly():
    candidates = [["color: red", "belt: yes"], ["fit: loose"], ["belt: yes", "color: red"]] * 40
    query = slot_weights(["color: blue"], ["length: long", "fit: loose"], ["second color: red"], 0.7, 0.9)
    scores = slot_scores([query], candidates, torch.arange(len(candidates))[None], EMBED)[0]
    assert len(set(scores[0::3].tolist()) | set(scores[2::3].tolist())) == 1 and len(set(scores[1::3].tolist())) == 1


def test_what_is_stated_counts_as_one_and_a_silent_candidate_as_nothing():
    table = best_matches(["color: red", "belt: yes"], [["color: red"], [], ["color: red", "belt: yes"]], EMBED)
    torch.testing.assert_close(table[:, [0, 2]].diagonal(), torch.ones(2))
    assert not table[:, 1].any() and table[1, 0] < 1
    assert not best_matches(["color: red"], [[], []], EMBED).any()


def test_a_query_without_constraints_scores_nothing():
    pool = torch.tensor([[0, 1], [1, 0]])
    scores = slot_scores([[], slot_weights(["fit: loose"], [], [], 1.0, 0.0)], [["fit: loose"], ["belt: yes"]], pool, EMBED)
    assert not scores[0].any() and scores[1, 1] > scores[1, 0]
    assert not slot_scores([[], []], [["fit: loose"], []], pool, EMBED).any()
