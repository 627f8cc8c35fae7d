import pytest

from cirlib.data.atelier.edits import differing, satisfies
from cirlib.data.atelier.splits import picture
from cirlib.data.atelier.turns import PLAIN, load_dialogues
from cirlib.evaluation.lookup import lookup
from cirlib.types import InputError

PICTURES = 128


@pytest.fixture(scope="module")
def dialogues():
    return load_dialogues("val", PICTURES, 20)


@pytest.fixture(scope="module")
def designs():
    return {p.id: p.design for p in (picture("val", index) for index in range(PICTURES))}


def test_truth_of_both_turns_is_found_by_looking_at_every_picture(dialogues, designs):
    for first, second in zip(dialogues.first.queries, dialogues.second.queries, strict=True):
        for query in (first, second):
            correct = {name for name, design in designs.items() if satisfies(query.edit, designs[query.reference], design)}
            assert set(query.positives) == correct and len(query.positives) == len(correct)
        assert second.reference == first.target


def test_the_goal_is_both_edits_together_whatever_the_user_went_on_from(dialogues, designs):
    for first, second, both in zip(dialogues.first.queries, dialogues.second.queries, dialogues.at_once.queries, strict=True):
        start = designs[first.reference]
        assert both.positives == second.positives and both.reference == first.reference
        assert {name for name, design in designs.items() if satisfies(both.edit, start, design)} == set(both.positives)
        assert first.reference not in both.positives and not set(first.positives) & set(second.positives)
        for other in first.positives:  # any right answer of the first turn leads to the same goal
            assert {name for name, design in designs.items() if satisfies(second.edit, designs[other], design)} == set(second.positives)


def test_edits_are_plain_and_touch_different_attributes(dialogues, designs):
    for first, second in zip(dialogues.first.queries, dialogues.second.queries, strict=True):
        assert all(change.kind in PLAIN for change in (*first.edit.changes, *second.edit.changes))
        assert not set(first.edit.attributes) & set(second.edit.attributes)
        assert len(differing(designs[first.reference], designs[second.target])) == 2
        assert first.text != second.text


def test_conversations_are_spread_over_families_and_benchmarks_can_be_scored(dialogues):
    assert len(dialogues.first.queries) == len({query.id for query in dialogues.first.queries}) == 20
    assert [sum(query.id.startswith(f"val-{family:04d}") for query in dialogues.first.queries) for family in (0, 1)] == [10, 10]
    starts_and_goals = {(query.reference, query.target) for query in dialogues.at_once.queries}
    assert len(starts_and_goals) == 20
    for benchmark in (dialogues.first, dialogues.second, dialogues.at_once):
        assert len(lookup(benchmark).queries) == 20
    assert load_dialogues("val", PICTURES, 20).at_once.queries == dialogues.at_once.queries


@pytest.mark.parametrize(("split", "pictures", "count"), [("pretrain", 64, 1), ("val", 63, 1), ("val", 0, 1), ("val", 64, 0)])
def test_sizes_that_do_not_fit_are_refused(split, pictures, count):
    with pytest.raises(InputError, match="asked for"):
        load_dialogues(split, pictures, count)


def test_too_many_conversations_are_refused():
    with pytest.raises(InputError, match="give only"):
        load_dialogues("val", 64, 5000)
