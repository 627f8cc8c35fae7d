import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cirlib.data.atelier.design import sample_design, sample_sibling
from cirlib.data.atelier.edits import build_edit, caption_pair, differing, satisfies
from cirlib.data.atelier.schema import ATTRIBUTES
from cirlib.data.atelier.truth import find_positives, value_codes

seeds = st.integers(0, 2**32 - 1)


@given(seeds)
def test_the_target_satisfies_its_edit_and_the_reference_does_not(seed):
    rng = np.random.default_rng(seed)
    before = sample_design(rng)
    after = sample_sibling(rng, before)
    edit = build_edit(rng, before, after)
    assert edit is not None
    assert satisfies(edit, before, after)
    assert not satisfies(edit, before, before)
    for change in edit.changes:
        assert change.after in change.allowed and change.before not in change.allowed
        assert change.before == before.get(change.attribute, "") and change.after == after[change.attribute]
    assert all(text for text in caption_pair(rng, edit, before))


@given(seeds)
def test_vectorised_truth_equals_the_definition(seed):
    rng = np.random.default_rng(seed)
    before = sample_design(rng)
    gallery = [before]
    while len(gallery) < 25:
        gallery.append(sample_sibling(rng, gallery[int(rng.integers(len(gallery)))]))
    edit = build_edit(rng, before, sample_sibling(rng, before))
    expected = [satisfies(edit, before, candidate) for candidate in gallery]
    codes = value_codes(gallery)
    assert find_positives(edit, codes[0], codes).tolist() == expected


def test_relative_edits_allow_every_further_value():
    before = {
        "category": "dress",
        "color": "red",
        "pattern": "solid",
        "sleeve": "short",
        "neckline": "round",
        "length": "short",
        "fit": "fitted",
        "sheen": "matte",
    }
    before |= dict.fromkeys(("belt", "pockets", "buttons", "collar", "print", "trim"), "no")
    after = {**before, "sleeve": "elbow"}
    kinds = {}
    for seed in range(40):
        change = build_edit(np.random.default_rng(seed), before, after).changes[0]
        kinds[change.kind] = change.allowed
    assert kinds == {"set": ("elbow",), "relative": ("elbow", "long")}


def test_darker_means_a_strictly_higher_level():
    color = ATTRIBUTES["color"]
    assert color.level("black") > color.level("blue") > color.level("red") > color.level("yellow") > color.level("white")


def test_a_pattern_that_goes_takes_its_second_colour_along():
    rng = np.random.default_rng(0)
    before = sample_design(rng)
    while before["pattern"] == "solid":
        before = sample_design(rng)
    after = {name: value for name, value in before.items() if name != "second_color"} | {"pattern": "solid"}
    assert differing(before, after) == ("pattern",)
    edit = build_edit(rng, before, after)
    assert edit.attributes == ("pattern",) and satisfies(edit, before, after)


def test_a_pattern_that_comes_says_its_second_colour():
    rng = np.random.default_rng(0)
    after = sample_design(rng)
    while after["pattern"] == "solid":
        after = sample_design(rng)
    before = {name: value for name, value in after.items() if name != "second_color"} | {"pattern": "solid"}
    edit = build_edit(rng, before, after)
    assert edit.attributes == ("pattern", "second_color")
    assert all(after["second_color"] in text for text in caption_pair(rng, edit, before))


def test_designs_too_far_apart_have_no_edit():
    rng = np.random.default_rng(0)
    before, after = sample_design(rng), sample_design(rng)
    assert len(differing(before, after)) > 2
    assert build_edit(rng, before, after) is None
    assert build_edit(rng, before, before) is None
