import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cirlib.data.atelier import load_atelier
from cirlib.data.fashioniq import load_fashioniq
from cirlib.data.lexicon import load_lexicon
from cirlib.methods.pix2key.diagnostics import design_dictionary, polarity_scores
from cirlib.methods.pix2key.dictionary import parse_dictionary
from cirlib.methods.pix2key.rule_parser import RuleParser
from cirlib.types import InputError

REFERENCE = parse_dictionary(
    '{"dress": {"color": "blue", "pattern": "dotted", "second color": "white", "sleeve": "short", "neckline": "round", "length": "medium",'
    ' "fit": "loose", "sheen": "matte", "belt": "yes"}}'
).entries


def read(text, reference=REFERENCE, **options):
    updates = RuleParser(**options).parse([text], [reference])[0]
    return {e.text for e in updates.wants}, {e.text for e in updates.avoids}, set(updates.open)


@pytest.mark.parametrize(
    ("text", "wants", "avoids", "opens"),
    [
        ("is red", {"color: red"}, set(), set()),
        ("is red instead of blue and in red", {"color: red"}, {"color: blue"}, set()),
        ("changes from blue to red", {"color: red"}, {"color: blue"}, set()),
        ("is any colour but blue", set(), {"color: blue"}, {"color"}),
        ("has a different color", set(), {"color: blue"}, {"color"}),
        ("not a round neck, any other neckline", set(), {"neckline: round"}, {"neckline"}),
        ("without the belt", set(), {"belt: yes"}, set()),
        ("doesn’t have a belt", set(), {"belt: yes"}, set()),
        ("loses the belt and with the belt removed", set(), {"belt: yes"}, set()),
        ("adds pockets", {"pockets: yes"}, set(), set()),
        ("has red dots", {"second color: red"}, set(), set()),
        ("with red dots instead of white", {"second color: red"}, {"second color: white"}, set()),
        ("the dots are not white", set(), {"second color: white"}, {"second color"}),
        ("has dots in another color", set(), {"second color: white"}, {"second color"}),
        ("has red stripes", {"pattern: striped", "second color: red"}, set(), set()),
        ("has no polka dots", {"pattern: solid"}, {"pattern: dotted"}, set()),
        ("has no stripes", set(), {"pattern: striped"}, set()),
        ("is plain instead of dotted", {"pattern: solid"}, {"pattern: dotted"}, set()),
        ("is longer", {"length: long"}, {"length: medium"}, set()),
        ("has longer sleeves", {"sleeve: elbow"}, {"sleeve: short"}, set()),
        ("is a bit tighter and make it shinier", {"fit: regular", "sheen: satin"}, {"fit: loose", "sheen: matte"}, set()),
        ("is darker and is black", {"color: black"}, {"color: blue"}, set()),
        ("is longer and is shorter", set(), set(), set()),
        ("same dress, keep the rest but has long sleeves", {"sleeve: long"}, set(), set()),
        ("is black with a white logo", {"color: black", "logo: yes", "logo color: white"}, set(), set()),
        ("black and white striped, light blue", {"color: black and white and light blue", "pattern: striped"}, set(), set()),
        ("has short sleeves and is sleeveless", {"sleeve: short"}, set(), set()),
        ("is less revealing", set(), {"coverage: revealing"}, {"coverage"}),
        ("is a coat", {"category: coat"}, set(), set()),
        ("the shirt is red", {"color: red"}, set(), set()),
        ("is exactly the same", set(), set(), set()),
        ("", set(), set(), set()),
    ],
)
def test_wording(text, wants, avoids, opens):
    assert read(text) == (wants, avoids, opens)


def test_relative_words_without_a_reference_value_want_the_extreme():
    assert read("is longer and darker", ()) == ({"length: long", "color: dark"}, set(), set())
    assert read("is darker", REFERENCE) == ({"color: dark"}, {"color: blue"}, set())
    assert read("is darker", REFERENCE, relative_colors="step") == ({"color: black"}, {"color: blue"}, set())
    with pytest.raises(InputError, match="relative_colors"):
        RuleParser(relative_colors="none")


def test_people_call_many_tops_a_shirt():
    top = parse_dictionary("category: top").entries
    assert read("is a red shirt", top) == ({"color: red"}, set(), set())
    assert "category: hoodie" in read("is a red hoodie", top)[0]


WORDS = re.findall(
    r"\S+",
    """no not without is has with and but any other different same darker longer sleeves sleeveless red blue stripes dots pattern color belt
    logo removed from to instead of less more neck round shirt solid light , .""",
)
PARSER = RuleParser()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join) | st.text(max_size=30), st.booleans())
def test_any_text_is_parsed_and_no_entry_has_two_signs(text, known):
    updates = PARSER.parse([text], [REFERENCE if known else ()])[0]
    wanted = {(e.key, part) for e in updates.wants for part in e.parts}
    assert not wanted & {(e.key, e.value) for e in updates.avoids}
    assert not {key for key, _ in wanted} & set(updates.open)
    assert all(load_lexicon().key(e.key) == e.key for e in (*updates.wants, *updates.avoids))


def test_edits_of_atelier_are_understood():
    benchmark = load_atelier("val", 640, 300)
    designs = [benchmark.labels[query.reference] for query in benchmark.queries]
    updates = RuleParser().parse([query.text for query in benchmark.queries], [design_dictionary(d) for d in designs])
    scores = polarity_scores(updates, [query.edit for query in benchmark.queries], designs)
    assert np.mean(scores["exact"]) >= 0.98
    assert np.nanmean(scores["kind/relative"]) >= 0.98


def test_captions_of_fashioniq_are_understood(shared_dir):
    root = shared_dir / "annotations" / "fashioniq"
    queries = load_fashioniq(root, "dress", "val", images=False, allow_missing=True).queries
    updates = RuleParser().parse([query.text for query in queries], [REFERENCE] * len(queries))
    assert np.mean([bool(found) for found in updates]) >= 0.95
