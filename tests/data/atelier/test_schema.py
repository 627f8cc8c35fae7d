import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirlib.data.atelier.design import change_attribute, sample_design, sample_family, sample_sibling
from cirlib.data.atelier.edits import differing
from cirlib.data.atelier.schema import ATTRIBUTES, HELD_OUT, allowed_values, check_design, held_out_pair

seeds = st.integers(0, 2**32 - 1)


@given(seeds)
def test_sampled_designs_are_legal_and_show_no_held_out_pair(seed):
    design = sample_design(np.random.default_rng(seed))
    check_design(design)
    assert held_out_pair(design) is None


@given(seeds, st.sampled_from(sorted(ATTRIBUTES)))
def test_a_changed_attribute_leaves_a_legal_design(seed, name):
    rng = np.random.default_rng(seed)
    design = sample_design(rng)
    changed = change_attribute(rng, design, name)
    if changed is not None:
        check_design(changed)
        assert differing(design, changed) == (name,)


@given(seeds)
def test_siblings_differ_in_one_or_two_attributes(seed):
    rng = np.random.default_rng(seed)
    design = sample_design(rng)
    assert 1 <= len(differing(design, sample_sibling(rng, design))) <= 2


def test_every_value_occurs():
    rng = np.random.default_rng(0)
    seen = {name: set() for name in ATTRIBUTES}
    for _ in range(1500):
        for name, value in sample_design(rng).items():
            seen[name].add(value)
    assert {name: set(attribute.values) for name, attribute in ATTRIBUTES.items()} == seen


def test_a_held_out_family_shows_held_out_pairs_and_a_plain_one_none():
    rng = np.random.default_rng(3)
    assert held_out_pair(sample_family(rng, 8, 2, 2, held_out=True)[0]) in HELD_OUT
    assert all(held_out_pair(design) is None for design in sample_family(rng, 24, 8, 4))


def test_twins_repeat_designs_and_designs_are_distinct():
    family = sample_family(np.random.default_rng(0), 12, 4, 3)
    assert len(family) == 16
    assert all(family.count(design) == 1 or design in family[12:] for design in family[:12])
    assert all(design in family[:12] for design in family[12:])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"color": "mauve"}, "not allowed"),
        ({"hat": "yes"}, "unknown attributes"),
        ({"belt": "yes"}, "does not apply"),
        ({"collar": "yes"}, "not allowed"),
    ],
)
def test_illegal_designs_are_named(change, message):
    rng = np.random.default_rng(1)
    while (design := sample_design(rng))["category"] != "shirt" or design["neckline"] != "round":
        pass
    design = {**design, "neckline": "round", **change}
    if "collar" in change:
        design |= {"neckline": "square"}
    with pytest.raises(ValueError, match=message):
        check_design(design)


def test_print_and_buttons_exclude_each_other():
    rng = np.random.default_rng(0)
    designs = [sample_design(rng) for _ in range(500)]
    assert not any(d.get("print") == "yes" and d.get("buttons") == "yes" for d in designs)
    buttoned = next(d for d in designs if d.get("buttons") == "yes" and "print" in d)
    assert allowed_values(buttoned, "print") == ("no",)
