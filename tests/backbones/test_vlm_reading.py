"""Reading back what was written: the inverse of the lessons, and strict with everything else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirlib.backbones.vlm_lessons import dictionary_answer, full_caption
from cirlib.backbones.vlm_reading import read_caption, read_dictionary, read_updates
from cirlib.data.atelier import words
from cirlib.data.atelier.captions import caption
from cirlib.data.atelier.design import sample_design
from cirlib.data.atelier.schema import DETAILS, NO

seeds = st.integers(0, 2**32 - 1)


@given(seeds)
def test_a_full_caption_is_read_as_its_design(seed: int) -> None:
    design = sample_design(np.random.default_rng(seed))
    shown = {(name, value) for name, value in design.items() if not (name in DETAILS and value == NO)}
    assert read_caption(full_caption(design)) == shown


@given(seeds)
def test_a_dictionary_is_read_as_its_design(seed: int) -> None:
    design = sample_design(np.random.default_rng(seed))
    shown = {
        (words.key_name(name), words.value_name(name, value)) for name, value in design.items() if not (name in DETAILS and value == NO)
    }
    assert read_dictionary(dictionary_answer(design)) == shown


@given(seeds)
def test_a_caption_in_other_words_of_atelier_says_nothing_false(seed: int) -> None:
    rng = np.random.default_rng(seed)
    design = sample_design(rng)
    mention = {name for name in design if name not in DETAILS or design[name] != NO}
    text = caption(rng, design, mention)
    if text.startswith(("a ", "an ")) and ": " not in text:
        assert {pair for pair in read_caption(text) if pair[0] != "?"} <= set(design.items())


def test_what_is_not_there_is_false() -> None:
    assert ("?", "shiny") in read_caption("a shiny red dress") and ("?", "wings") in read_caption("a red dress with wings and a belt")
    assert read_caption("") == frozenset()


@pytest.mark.parametrize("text", ["", "a dress", "[]", "{}", '{"dress":"red"}', '{"dress":{},"coat":{}}', '{"dress":{"color":["red"]}}'])
def test_a_dictionary_of_another_form_is_none(text: str) -> None:
    assert read_dictionary(text) is None


def test_updates_need_all_three_parts() -> None:
    parts = read_updates('{"positive":{"color":"red"},"negative":{},"open":["fit"]}')
    assert parts == {"positive": {("color", "red")}, "negative": frozenset(), "open": {("fit", "")}}
    for text in (
        "{}",
        '{"positive":{},"negative":{}}',
        '{"positive":{},"negative":{},"open":{}}',
        '{"positive":[],"negative":{},"open":[]}',
    ):
        assert read_updates(text) is None
