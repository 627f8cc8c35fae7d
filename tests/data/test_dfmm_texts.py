"""Every edit that can be said, said in every way, and read back."""

import itertools

import pytest

from cirlib.data import dfmm_texts
from cirlib.data.dfmm_labels import DIMENSIONS
from cirlib.data.dfmm_texts import FAMILIES, PHRASES, is_editable, open_families, read_slots, write_edit

STEPS = [
    (name, before, after)
    for name, values in DIMENSIONS.items()
    for before, after in itertools.permutations(values, 2)
    if is_editable(name, before) and is_editable(name, after)
]


def test_which_dimensions_an_edit_may_touch() -> None:
    assert set(DIMENSIONS) - {name for name, _, _ in STEPS} == {"socks", "wrist", "ring", "navel_covered"}
    assert not {"other", "hidden", "not long"} & {value for _, *values in STEPS for value in values}
    phrases = [phrase for values in PHRASES.values() for phrase in values.values()]
    assert len(set(phrases)) == len(phrases)


def expected_slots(step: tuple[str, str, str], family: str) -> set[tuple[str, str, str]]:
    name, before, after = step
    want, avoid = ("want", name, after), ("avoid", name, before)
    if family == "both":
        return {slot for slot in (want, avoid) if slot[2] != "no"}
    return {want if family == "want-new" else avoid}


@pytest.mark.parametrize("family", FAMILIES)
def test_single_changes_round_trip_in_every_wording(family: str) -> None:
    steps = [step for step in STEPS if family in open_families([step])]
    assert steps
    for step, draw in itertools.product(steps, range(3)):
        text, edit = write_edit([step], family, draw)
        assert read_slots(text) == expected_slots(step, family), text
        [change] = edit.changes
        assert (change.attribute, change.before, change.after) == step
        assert change.after in change.allowed and change.before not in change.allowed
        assert change.kind == ("remove" if family == "avoid-old" else "add" if change.before == "no" else "set")


def test_pairs_of_changes_round_trip() -> None:
    for one, two in itertools.combinations(STEPS[::7], 2):
        if one[0] == two[0]:
            continue
        for family in open_families([one, two]):
            text, edit = write_edit([one, two], family, len(one[1]) + len(two[2]))
            assert read_slots(text) == expected_slots(one, family) | expected_slots(two, family), text
            assert edit.attributes == (one[0], two[0])


@pytest.mark.parametrize(
    ("steps", "families"),
    [
        ([("sleeve", "long", "short")], FAMILIES),
        ([("hat", "no", "yes")], ("want-new",)),
        ([("hat", "yes", "no")], ("avoid-old",)),
        ([("hat", "yes", "no"), ("sleeve", "long", "short")], ("avoid-old", "both")),
        ([("hat", "yes", "no"), ("waist", "no", "belt")], ("both",)),
    ],
)
def test_families_that_fit(steps: list, families: tuple[str, ...]) -> None:
    assert open_families(steps) == families


@pytest.mark.parametrize(
    ("step", "allowed"),
    [
        (("sleeve", "long", "short"), {"sleeveless", "short", "medium", "not long"}),
        (("sleeve", "short", "long"), {"sleeveless", "medium", "long"}),  # "not long" may be short
        (("waist", "belt", "no"), {"no", "clothing"}),  # a hidden waist may wear a belt
        (("upper_pattern", "striped", "floral"), set(DIMENSIONS["upper_pattern"]) - {"striped"}),
    ],
)
def test_what_avoiding_allows(step: tuple[str, str, str], allowed: set[str]) -> None:
    _, edit = write_edit([step], "avoid-old", 0)
    assert set(edit.changes[0].allowed) == allowed


def test_other_wordings_are_read_too() -> None:
    assert read_slots("The same dress, but with A Round Neckline and no belt.") == {
        ("want", "neckline", "round"),
        ("avoid", "waist", "belt"),
    }
    assert read_slots("a plainer upper part, hatless") == frozenset()


def test_a_text_that_says_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dfmm_texts._VOICES, "want", ("without {new}",))
    with pytest.raises(ValueError, match="'without a hat' reads as"):
        write_edit([("hat", "no", "yes")], "want-new", 0)
