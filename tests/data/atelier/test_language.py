"""Text never contradicts the attributes: every word that stands for a value is looked up in the design that it describes."""

import re

import numpy as np
import pytest

from cirlib.data.atelier import words
from cirlib.data.atelier.captions import caption, dictionary_text
from cirlib.data.atelier.edits import build_edit, caption_pair
from cirlib.data.atelier.prompts import value_phrases
from cirlib.data.atelier.schema import ATTRIBUTES, COLORS, DETAILS, NO, YES
from cirlib.data.atelier.splits import FAMILY, picture


def claims(text):
    """(attribute, value) pairs that a caption states, read with plain patterns that know nothing of how captions are made."""
    text = f" {text} "
    found = set()
    for color in COLORS:
        for match in re.finditer(rf" {color} (\w+(?: dots)?)", text):
            is_pattern = any(match[1].startswith(noun.split()[0]) for nouns in words.PATTERN_NOUNS.values() for noun in nouns)
            follows = match[1] in {"polka"} and not re.match(rf" {color} polka dots", text[match.start() :])
            found.add(("second_color" if is_pattern and not follows else "color", color))
    for value, nouns in words.PATTERN_NOUNS.items():
        found |= {("pattern", value) for noun in nouns if re.search(rf" {noun}\b", text)}
    for name, table in (("pattern", words.PATTERN_ADJECTIVES), ("fit", words.FIT), ("sheen", words.SHEEN), ("category", words.NOUNS)):
        for value, options in table.items():
            found |= {
                (name, value)
                for option in options
                if re.search(rf" {re.escape(option)}(?= |,)", text) and not re.search(rf" no {option}", text)
            }
    for value, options in words.LENGTH.items():
        found |= {("length", value) for option in options if re.search(rf" {option}(?! sleeves)(?= )", text)}
    for name, table in (("sleeve", words.SLEEVE), ("neckline", words.NECKLINE)):
        for value, options in table.items():
            found |= {(name, value) for option in options if re.search(rf" {option}(?= |,)", text)}
    for detail in DETAILS:
        rest = text
        for bare in sorted(words.BARE[detail], key=len, reverse=True):  # "contrast collar" before "collar"
            for value, pattern in ((NO, rf" no {bare}(?= |,)"), (YES, rf" {bare}(?= |,)")):
                if re.search(pattern, rest):
                    found.add((detail, value))
                    rest = re.sub(pattern, " ", rest)
    return found


def test_captions_state_only_what_is_true():
    rng = np.random.default_rng(0)
    stated = set()
    for index in range(1500):
        design = picture("pretrain", index).design
        text = caption(rng, design)
        if ":" in text:
            continue
        for name, value in claims(text):
            assert design.get(name) == value, (text, name, value)
            stated.add(name)
    assert stated == set(ATTRIBUTES)  # the patterns above do find every attribute somewhere


def test_a_wrong_caption_would_be_caught():
    assert (
        ("color", "red") in claims("a red dress")
        and ("belt", NO) in claims("a dress with no belt")
        and ("sleeve", "long") in claims("a dress with long sleeves")
    )


def test_dictionary_names_every_attribute_once():
    design = picture("test", 0).design
    text = dictionary_text(design)
    assert [pair.split(": ")[0] for pair in text.split(", ")] == [words.key_name(name) for name in design]
    assert dictionary_text(design, {"color"}) == f"color: {design['color']}"


@pytest.mark.parametrize("name", sorted(ATTRIBUTES))
def test_prompts_tell_values_apart(name):
    phrases = [value_phrases(name, value) for value in ATTRIBUTES[name].values]
    flat = [text for options in phrases for text in options]
    assert len(set(flat)) == len(flat)


def test_edit_texts_name_the_new_value_and_never_an_unchanged_attribute():
    rng = np.random.default_rng(1)
    checked = 0
    for family in range(6):
        members = [picture("train", family * FAMILY + i).design for i in range(12)]
        for before in members:
            for after in members:
                edit = build_edit(rng, before, after)
                if edit is None:
                    continue
                texts = caption_pair(rng, edit, before)
                joined = f"{texts[0]} and {texts[1]}"
                touched = set(edit.attributes) | {"category", "pattern"}  # "white stripes" names a pattern that need not change
                for name, value in claims(re.sub(r"instead of \w+|any color but \w+|the (polka )?\w+ are (not )?\w+", "", joined)):
                    assert name in touched or value in (before.get(name), after.get(name)), (joined, name, value)
                for change in edit.changes:
                    if change.kind == "set" and change.attribute in ("color", "second_color"):
                        assert change.after in joined, (joined, change)
                    if change.kind in ("add", "remove"):
                        assert any(bare in joined for bare in words.BARE[change.attribute]), (joined, change)
                checked += 1
    assert checked > 200
