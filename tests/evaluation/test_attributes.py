"""AC, AC_strict and ILD against loops over labels."""

import itertools

import numpy as np
import pytest

from cirlib.evaluation.attributes import ac_at_k, ac_strict_at_k, ild_at_k, label_table, satisfied
from cirlib.types import Change, Edit, InputError

IDS = ("a", "b", "c", "d")
LABELS = {
    "a": {"colour": "red", "belt": "yes"},
    "b": {"colour": "blue", "belt": "yes", "sleeve": "long"},
    "c": {"colour": "red"},
}
EDIT = Edit((Change("colour", "open", "green", "red", ("red", "pink")), Change("belt", "add", "no", "yes", ("yes",))))
TOP = np.array([[0, 1, 2, 3], [3, 2, 1, 0]])


def test_by_hand():
    hits = satisfied(TOP, [EDIT, None], label_table(IDS, LABELS))
    np.testing.assert_allclose(ac_at_k(hits, 3), [(1 + 0.5 + 0.5) / 3, np.nan])
    np.testing.assert_allclose(ac_strict_at_k(hits, 3), [1 / 3, np.nan])
    np.testing.assert_allclose(ac_at_k(hits, 4), [2 / 4, np.nan])  # a picture without labels satisfies nothing


def test_unknown_attributes_and_values_satisfy_nothing():
    edit = Edit((Change("hat", "add", "no", "yes", ("yes",)), Change("colour", "set", "red", "gold", ("gold",))))
    assert ac_at_k(satisfied(TOP[:1], [edit], label_table(IDS, LABELS)), 4).tolist() == [0.0]


def test_padding_satisfies_nothing_and_has_no_diversity():
    table = label_table(IDS[:1], LABELS)  # the last picture, which -1 would index, satisfies everything
    top = np.array([[0, -1]])
    assert ac_at_k(satisfied(top, [EDIT], table), 2).tolist() == [0.5]
    assert np.isnan(ild_at_k(top, table, 2)).all()
    assert np.isnan(ild_at_k(TOP, label_table(IDS, LABELS), 1)).all()


def test_ild_equals_a_loop_over_pairs():
    generator = np.random.default_rng(0)
    ids = tuple(f"i{row}" for row in range(60))
    labels = {i: {a: str(generator.integers(3)) for a in ("x", "y", "z") if generator.random() < 0.7} for i in ids}
    top = np.stack([generator.permutation(60)[:12] for _ in range(150)])
    ild = ild_at_k(top, label_table(ids, labels), 10)
    for rows, value in zip(top, ild, strict=True):
        distances = []
        for i, j in itertools.combinations(rows[:10], 2):
            left, right = labels[ids[i]], labels[ids[j]]
            both = left.keys() & right.keys()
            distances.append(sum(left[a] != right[a] for a in both) / len(both) if both else 0.0)
        assert value == pytest.approx(np.mean(distances))


def test_cutoff_beyond_the_list_is_refused():
    table = label_table(IDS, LABELS)
    with pytest.raises(InputError, match="cut-off 5 given for rankings of 4"):
        ild_at_k(TOP, table, 5)
    with pytest.raises(InputError, match="cut-off 9"):
        ac_at_k(satisfied(TOP, [EDIT, EDIT], table), 9)
