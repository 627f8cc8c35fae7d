"""Conversations with methods whose every answer is known beforehand."""

import dataclasses

import numpy as np
import pytest
import torch

from cirlib.data.atelier.turns import load_dialogues
from cirlib.evaluation.dialogues import USERS, play
from cirlib.types import Embeddings, InputError


@pytest.fixture(scope="module")
def talks():
    return load_dialogues("val", 128, 12)


class Scripted:
    """Places the pictures that a function names first, in that order; all others tie behind them."""

    name = "scripted"

    def __init__(self, answers):
        self.answers, self.heard = answers, []

    def encode_gallery(self, images):
        return Embeddings(images.ids, torch.eye(len(images)))

    def compose(self, queries, images):
        rows = torch.full((len(queries), len(images)), 1e-3)
        for line, query in enumerate(queries):
            self.heard.append(query)
            for place, name in enumerate(self.answers(query)):
                rows[line, images.rows[name]] = 1.0 - 0.05 * place
        return Embeddings(tuple(query.id for query in queries), torch.nn.functional.normalize(rows, dim=-1))


def held(talks, answers, k=10):
    method = Scripted(answers)
    return play(method, talks.first, talks.second, talks.at_once, k=k), method


def turn_of(talks, query):
    place = [other.id for other in talks.first.queries].index(query.id)
    return next(n for n, part in enumerate((talks.first, talks.second, talks.at_once)) if part.queries[place].text == query.text)


def test_who_always_knows_always_arrives(talks):
    found, _ = held(talks, lambda query: query.positives)
    assert set(found) == {"first turn", *USERS} and all((values == 1).all() for values in found.values())


def test_users_go_on_from_what_they_say(talks):
    """The first list holds a wrong picture and then a right one; the second turn succeeds from a right picture only."""
    wrong = {}
    for one, two in zip(talks.first.queries, talks.second.queries, strict=True):
        known = {one.reference, *one.positives, *two.positives}
        wrong[one.id] = next(name for name in talks.first.gallery.ids if name not in known)
    right = {query.id: query.positives for query in talks.first.queries}

    def answers(query):
        turn = turn_of(talks, query)
        if turn == 0:
            return wrong[query.id], right[query.id][-1]
        return query.positives if turn == 1 and query.reference in right[query.id] else ()

    found, method = held(talks, answers)
    assert (found["first turn"] == 1).all() and (found["best correct"] == 1).all() and (found["given"] == 1).all()
    goal_first = [bool(set(talks.first.gallery.ids[:11]) & set(query.positives)) for query in talks.second.queries]  # by ties alone
    assert (found["top"] <= goal_first).all() and (found["at once"] <= goal_first).all()
    second = [query.reference for query in method.heard if turn_of(talks, query) == 1]
    assert second == [*wrong.values(), *(names[-1] for names in right.values()), *(q.reference for q in talks.second.queries)]


def test_without_a_right_result_the_user_takes_the_first(talks):
    last = talks.first.gallery.ids[-1]
    found, method = held(talks, lambda query: (last,), k=1)
    assert (found["first turn"] == 0).all()
    np.testing.assert_array_equal(found["top"], found["best correct"])


def test_who_has_the_goal_in_hand_is_done(talks):
    """The goal stands first in the first turn; nothing is asked about it, as no picture is its own answer."""
    goals = {query.id: query.positives for query in talks.second.queries}
    found, method = held(talks, lambda query: goals[query.id] if turn_of(talks, query) == 0 else ())
    assert (found["top"] == 1).all()
    assert all(query.reference not in query.positives for query in method.heard)


def test_bad_input_is_refused(talks):
    other = dataclasses.replace(talks.second, queries=talks.second.queries[::-1])
    with pytest.raises(InputError, match="same query ids"):
        play(Scripted(lambda query: ()), talks.first, other, talks.at_once)
    with pytest.raises(InputError, match="looks at 500"):
        held(talks, lambda query: (), k=500)
