"""Lessons say what the designs and edits say, and nothing of what is held out."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirlib.backbones import vlm_lessons
from cirlib.backbones.vlm_lessons import dictionary_answer, edit_updates, full_caption, picture_lesson, text_lesson, wanted_design
from cirlib.data.atelier import words
from cirlib.data.atelier.design import sample_design, sample_sibling
from cirlib.data.atelier.edits import build_edit, caption_pair
from cirlib.data.atelier.schema import DETAILS, NO, YES, held_out_pair
from cirlib.types import Change, Edit

seeds = st.integers(0, 2**32 - 1)
STRIPED = {
    "category": "dress",
    "color": "blue",
    "pattern": "striped",
    "second_color": "white",
    "sleeve": "short",
    "neckline": "round",
    "length": "short",
    "fit": "fitted",
    "sheen": "matte",
    "belt": YES,
    "pockets": NO,
}


def sample_edit(seed: int):
    """A reference, an edit that departs from it, and its joined captions."""
    rng = np.random.default_rng(seed)
    while True:
        reference = sample_design(rng)
        edit = build_edit(rng, reference, sample_sibling(rng, reference))
        if edit is not None:
            return reference, edit, " and ".join(caption_pair(rng, edit, reference))


@given(seeds)
def test_a_dictionary_is_the_design(seed: int) -> None:
    design = sample_design(np.random.default_rng(seed))
    (noun, pairs), *others = json.loads(dictionary_answer(design)).items()
    assert not others and noun in words.NOUNS[design["category"]]
    told = {name: pairs.get(words.key_name(name), NO if name in DETAILS else None) for name in design if name != "category"}
    assert told == {name: value for name, value in design.items() if name != "category"}
    assert set(pairs) <= {words.key_name(name) for name in design}


@given(seeds, seeds)
def test_two_designs_never_share_a_full_caption(first: int, second: int) -> None:
    a, b = (sample_design(np.random.default_rng(seed)) for seed in (first, second))
    assert (full_caption(a) == full_caption(b)) == (a == b)


@given(seeds)
def test_updates_agree_with_the_edit(seed: int) -> None:
    reference, edit, text = sample_edit(seed)
    updates = edit_updates(edit, reference, text)
    for change in edit.changes:
        key = words.key_name(change.attribute)
        if change.kind == "open":
            assert key in updates["open"] and key not in updates["positive"] and updates["negative"][key] == change.before
        elif change.kind == "remove":
            assert updates["negative"][key] == YES and key not in updates["positive"]
        else:
            assert updates["positive"][key] in change.allowed
            assert updates["negative"].get(key, change.before) == change.before
    touched = {words.key_name(name) for name in (*edit.attributes, "second_color")}
    assert {*updates["positive"], *updates["negative"], *updates["open"]} <= touched


@given(seeds)
def test_the_wanted_design_satisfies_the_edit_and_keeps_the_rest(seed: int) -> None:
    reference, edit, _ = sample_edit(seed)
    wanted = wanted_design(edit, reference)
    for change in edit.changes:
        assert (change.attribute not in wanted) if change.kind == "open" else (wanted[change.attribute] in change.allowed)
    gone = {*edit.attributes, *(("second_color",) if wanted.get("pattern") == "solid" else ())}
    assert {k: v for k, v in wanted.items() if k not in gone} == {k: v for k, v in reference.items() if k not in gone}


@pytest.mark.parametrize(
    ("change", "text", "expected"),
    [
        (Change("color", "set", "blue", "red", ("red",)), "is red", ({"color": "red"}, {}, [])),
        (Change("color", "set", "blue", "red", ("red",)), "is red instead of blue", ({"color": "red"}, {"color": "blue"}, [])),
        (Change("belt", "remove", YES, NO, (NO,)), "without the belt", ({}, {"belt": "yes"}, [])),
        (Change("pockets", "add", NO, YES, (YES,)), "adds pockets", ({"pockets": "yes"}, {}, [])),
        (
            Change("sleeve", "relative", "short", "long", ("elbow", "long")),
            "has longer sleeves",
            ({"sleeve": "elbow"}, {"sleeve": "short"}, []),
        ),
        (
            Change("color", "relative", "red", "black", ("black", "blue", "purple", "brown")),
            "is darker",
            ({"color": "blue"}, {"color": "red"}, []),
        ),
        (
            Change("second_color", "open", "white", "red", ("black", "red")),
            "the stripes are not white",
            ({}, {"second color": "white"}, ["second color"]),
        ),
        (
            Change("pattern", "set", "striped", "solid", ("solid",)),
            "has no stripes",
            ({"pattern": "solid"}, {"pattern": "striped", "second color": "white"}, []),
        ),
        (Change("pattern", "set", "striped", "solid", ("solid",)), "is plain", ({"pattern": "solid"}, {"second color": "white"}, [])),
    ],
)
def test_updates_by_example(change: Change, text: str, expected: tuple) -> None:
    reference = {**STRIPED, change.attribute: change.before}
    updates = edit_updates(Edit((change,)), reference, text)
    assert (updates["positive"], updates["negative"], updates["open"]) == expected


def test_no_lesson_shows_a_held_out_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for name in ("full_caption", "dictionary_answer"):
        real = getattr(vlm_lessons, name)
        monkeypatch.setattr(vlm_lessons, name, lambda design, real=real: seen.append(design) or real(design))
    rng = np.random.default_rng(0)
    for _ in range(2000):
        text_lesson(rng)
    assert len(seen) > 2000 and not any(held_out_pair(design) for design in seen)


def test_lessons_are_short_enough_and_of_every_kind() -> None:
    rng = np.random.default_rng(0)
    lessons = [picture_lesson(rng, sample_design(rng)) for _ in range(100)] + [text_lesson(rng) for _ in range(100)]
    assert {lesson.kind for lesson in lessons} == set(vlm_lessons.KINDS)
    assert all(lesson.picture == (lesson.kind in ("dictionary", "caption")) for lesson in lessons)
    assert all(json.loads(lesson.answer) for lesson in lessons if lesson.kind in ("dictionary", "edit"))
