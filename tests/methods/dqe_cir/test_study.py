"""Studies with stand-ins for trainings: what is trained, what is kept, and the table of minings."""

from types import SimpleNamespace

import numpy as np
import pytest

from cirlib.methods.dqe_cir.recipe import Recipe
from cirlib.methods.dqe_cir.study import grid, mining_table, study
from cirlib.types import InputError

BASE = Recipe(epochs=6)


def log(epoch, **changes):
    found = {"epoch": epoch, "size": {"mean": 5.0, "p50": 4.0}, "widened": 0.0, "wrong_members": 0.0, "drawn": 10, "wrong_drawn": 1}
    return {**found, "gap": {"p50": 0.2}, **changes}


def run(settings, seeds=(0, 1), **options):
    trained, judged = [], []

    def train(name, recipe):
        trained.append((name, recipe.seed))
        minings = [] if name == "plain" else [log(0, gap={}), log(1, wrong_drawn=0, drawn=0)]
        return SimpleNamespace(method=(name, recipe.seed), outcome=f"{name} {recipe.seed}", minings=minings)

    def judge(method, seed):
        judged.append((method, seed))
        return {"val": f"report of {method}"}

    return study(settings, seeds, train, judge, progress=False, **options), trained, judged


def test_every_setting_is_trained_and_judged_with_every_seed_in_order():
    found, trained, judged = run({"a": BASE, "b": BASE})
    assert trained == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert judged == [(pair, pair[1]) for pair in trained]
    assert [(one.seed, one.outcome, one.reports["val"]) for one in found["b"]] == [
        (seed, f"b {seed}", f"report of ('b', {seed})") for seed in (0, 1)
    ]


def test_methods_are_kept_where_asked_for_only():
    found, _, _ = run({"a": BASE, "b": BASE}, keep=("b",))
    assert [one.method for one in found["a"]] == [None, None]
    assert [one.method for one in found["b"]] == [("b", 0), ("b", 1)]


@pytest.mark.parametrize(("seeds", "keep"), [((), ()), ((0,), ("c",))])
def test_nothing_to_do_and_unknown_names_are_refused(seeds, keep):
    with pytest.raises(InputError, match="seeds .* keep"):
        run({"a": BASE}, seeds, keep=keep)


def test_a_grid_has_every_pair_under_the_preference_alone():
    cells = grid(BASE, ("none", "gated"), {"random": {}, "midzone": {"high": 0.2}})
    assert {(cell.mode, cell.negatives) for cell in cells.values()} == {(m, n) for m in ("none", "gated") for n in ("random", "midzone")}
    assert all(cell.margin_weight == cell.attribute_weight == 0 and cell.epochs == 6 for cell in cells.values())
    assert cells["none, midzone"].rule == {"high": 0.2}


def test_minings_become_rows_with_shares_of_what_was_drawn():
    found, _, _ = run({"a": BASE, "plain": BASE}, seeds=(3,))
    table = mining_table(found)
    assert table[["setting", "seed", "definition", "epoch"]].to_numpy().tolist() == [["a", 3, 0, 0], ["a", 3, 1, 1]]
    np.testing.assert_array_equal(table["wrong_drawn"], [0.1, np.nan])
    np.testing.assert_array_equal(table["gap"], [np.nan, 0.2])
    assert (table["size"] == 5).all() and (table["median"] == 4).all()
