import copy
import json
from importlib import resources

import pytest

from cirlib.data.atelier import words
from cirlib.data.atelier.schema import ATTRIBUTES, DETAILS, SINGLE_VALUED
from cirlib.data.lexicon import GROUPS, clean, load_lexicon, loose, read_lexicon
from cirlib.types import InputError

LEXICON = load_lexicon()
DATA = json.loads((resources.files("cirlib.data") / "lexicons" / "fashion.json").read_text(encoding="utf-8"))


def test_every_key_and_value_of_atelier_is_canonical():
    for name in SINGLE_VALUED:
        key = words.key_name(name)
        assert LEXICON.key(key) == key == LEXICON.key(name)
        for value in ATTRIBUTES[name].values:
            assert LEXICON.value(key, words.value_name(name, value)) == words.value_name(name, value)
    order = [LEXICON.place(words.key_name(name)) for name in ATTRIBUTES]
    assert order == sorted(order)


def test_every_word_of_atelier_means_its_value():
    tables = {"sleeve": words.SLEEVE, "neckline": words.NECKLINE, "pattern": words.PATTERN_ADJECTIVES, **words.ADJECTIVES}
    for key, table in [*tables.items(), ("pattern", words.PATTERN_NOUNS)]:
        for value, phrases in table.items():
            for phrase in phrases:
                assert LEXICON.value(key, phrase) == value, phrase
    for category, nouns in words.NOUNS.items():
        for noun in nouns:
            assert LEXICON.value("category", noun) == words.value_name("category", category)
    for detail in DETAILS:
        for phrase in (*words.DETAIL[detail], *words.BARE[detail]):
            assert LEXICON.detail(phrase) == words.key_name(detail)


def test_scales_agree_with_the_schema_of_atelier():
    for name, attribute in ATTRIBUTES.items():
        if attribute.ordered and name not in DETAILS:
            scale = LEXICON.keys[name].scale
            assert attribute.more in scale.more and attribute.less in scale.less
            assert set(attribute.values) <= set(scale.levels)
            for value in attribute.values:
                for up in (True, False):
                    ahead = [v for v in attribute.values if (attribute.level(v) - attribute.level(value)) * (1 if up else -1) > 0]
                    first = min(ahead, key=lambda v, start=value: abs(attribute.level(v) - attribute.level(start)), default=None)
                    assert next(iter(scale.step(value, up)), None) == first


def test_groups_are_declared_and_colors_and_shapes_are_there():
    assert {known.group for known in LEXICON.keys.values()} == set(GROUPS)
    assert LEXICON.group("color") == LEXICON.group("second color") == "color"
    assert LEXICON.group("sleeve") == "shape"
    assert LEXICON.group("mood") == "general"


def test_clean_and_loose():
    assert clean("The  “V–Neck” (Ａ)") == "v-neck"
    assert clean("a the an") == clean(" - ") == ""
    assert loose("off-the-shoulder") == "off shoulder"
    assert LEXICON.value("color", "Gray") == "grey"
    assert LEXICON.value("mood", "Gray") == "gray"


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("color", {"colour": []}, "unknown fields"),
        ("color", {"group": "hue"}, "group"),
        ("fit", {"aliases": ["color"]}, "two meanings"),
        ("fit", {"values": {"red": ["red"]}, "scale": None}, "two meanings"),
        ("pattern", {"absent": "bare"}, "none of its values"),
        ("second color", {"values_from": "hue"}, "not a key"),
        ("second color", {"needs": {"key": "pattern", "unless": "bare"}}, "needs"),
        ("hem", {"values": {"Black and White": ["x"]}}, "not clean"),
    ],
)
def test_a_lexicon_that_contradicts_itself_is_refused(key, change, message):
    data = copy.deepcopy(DATA)
    data["keys"][key] = {name: value for name, value in {**data["keys"][key], **change}.items() if value is not None}
    if key == "fit":
        data["keys"][key].pop("bare", None)
        data["keys"][key].pop("scale", None)
    with pytest.raises(InputError, match=message):
        read_lexicon(data)


def test_an_unknown_lexicon_is_named():
    with pytest.raises(InputError, match="'food'"):
        load_lexicon("food")
