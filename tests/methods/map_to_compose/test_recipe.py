import pytest

from cirlib.methods.map_to_compose.recipe import Stage1Recipe, Stage2Recipe
from cirlib.types import InputError


def test_the_released_side_of_every_choice():
    first, second = Stage1Recipe.released(), Stage2Recipe.released(seed=3)
    assert (first.last_block, first.answer, first.augment, first.decay, first.warmup) == (True, "released", "weak", "released", 10_000)
    assert (second.init, second.mixing, second.teacher, second.stage1_trains) == ("released", "released", "target", True)
    assert (second.decay, second.warmup, second.seed) == ("released", 100, 3)
    assert Stage2Recipe().mixing == "scaled" and Stage2Recipe().teacher == "reference" and not Stage2Recipe().stage1_trains


def test_a_warm_up_longer_than_the_run_never_reaches_the_peak():
    """Step s of the released run has rate * (s + 1) / 10,000, though the run ends long before."""
    recipe = Stage1Recipe(steps=400, warmup=10_000, rate=1e-4)
    for step in (0, 57, 399):
        assert recipe.peak * recipe.schedule.share(step) == pytest.approx(1e-4 * (step + 1) / 10_000)


def test_the_usual_warm_up_is_a_twentieth():
    recipe = Stage1Recipe(steps=200, rate=2e-3)
    assert recipe.schedule.warmup == 10 and recipe.peak == 2e-3
    assert Stage2Recipe(steps=200, warmup=100).peak == Stage2Recipe().rate
    assert Stage2Recipe(steps=5).schedule.warmup == 1


def test_recipes_are_read_back_strictly():
    recipe = Stage2Recipe(mixing="off", steps=7)
    assert Stage2Recipe.read(recipe.as_dict()) == recipe
    with pytest.raises(InputError, match="has no mixer"):
        Stage2Recipe.read({"mixer": 1})


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Stage1Recipe, {"steps": 0}),
        (Stage1Recipe, {"batch": 1}),
        (Stage1Recipe, {"temperature": 0.0}),
        (Stage1Recipe, {"soft_weight": -1.0}),
        (Stage1Recipe, {"augment": "wild"}),
        (Stage1Recipe, {"augment": "weak", "views": 0}),
        (Stage1Recipe, {"answer": "one"}),
        (Stage2Recipe, {"mixing": "some"}),
        (Stage2Recipe, {"rank": 0}),
        (Stage2Recipe, {"teacher": "nobody"}),
        (Stage2Recipe, {"precision": "fp8"}),
    ],
)
def test_settings_that_cannot_be_used_are_refused(kind, wrong):
    with pytest.raises(InputError, match=next(iter(wrong)) if "views" not in wrong else "view"):
        kind(**wrong)
