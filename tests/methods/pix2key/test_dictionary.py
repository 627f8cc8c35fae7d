import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cirlib.data.atelier.captions import dictionary_text
from cirlib.data.atelier.schema import DETAILS, NO
from cirlib.data.atelier.splits import picture
from cirlib.data.atelier.words import key_name, value_name
from cirlib.data.lexicon import load_lexicon
from cirlib.methods.pix2key.dictionary import CATEGORY, Entry, canonical, dictionary_json, parse_dictionary, serialise

KEYS = [*load_lexicon().keys, "mood", "Sleeves", "a", "Colour_"]
VALUES = ["red", "Polka dots", "yes", "no", "none", "n/a", "black and white", "3/4", "dress", "belt, pockets", "a_and_b", "Ünï¼", ""]
text = st.text(max_size=12)
raw = st.lists(
    st.tuples(
        st.sampled_from(["", "dress", "Gown", "shoes", "item", "belt"]) | text, st.sampled_from(KEYS) | text, st.sampled_from(VALUES) | text
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(raw)
def test_a_dictionary_survives_being_written_and_read(found):
    entries = canonical(found)
    assert parse_dictionary(dictionary_json(entries)).entries == entries


@settings(max_examples=60, deadline=None)
@given(raw)
def test_making_canonical_twice_changes_nothing(found):
    entries = canonical(found)
    assert canonical((e.object, e.key, e.value) for e in entries) == entries
    assert len({(e.object, e.key) for e in entries}) == len(entries)


@settings(max_examples=60, deadline=None)
@given(st.text() | st.text(alphabet="{}[]\":,'\\ abno\n`"))
def test_any_text_is_read_without_an_error(answer):
    parsed = parse_dictionary(answer)
    assert (parsed.how == "empty") == (not parsed.entries)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_answer_cut_off_anywhere_keeps_a_beginning_of_the_pairs(data):
    pairs = {"dress": {f"key{i}": f"value{i}" for i in range(4)}}
    whole = json.dumps(pairs)
    cut = whole[: data.draw(st.integers(11, len(whole)))]
    entries = parse_dictionary(cut).entries
    assert entries[0] == Entry(CATEGORY, "dress") and len(entries) <= 5
    for place, entry in enumerate(entries[1:]):
        assert entry.key == f"key{place}" and f"value{place}".startswith(entry.value)


def test_atelier_pictures_have_exact_dictionaries():
    for index in range(40):
        design = picture("val", index).design
        truth = {key_name(n): value_name(n, v) for n, v in design.items() if n not in DETAILS or v != NO}
        nested = json.dumps({truth["category"]: {key: value for key, value in truth.items() if key != "category"}})
        for form in (nested, dictionary_text(design)):
            assert {e.key: e.value for e in parse_dictionary(form).entries} == truth
        assert [e.key for e in parse_dictionary(nested).entries] == list(truth)


RED = (Entry(CATEGORY, "dress"), Entry("color", "red"), Entry("sleeve", "long"))


@pytest.mark.parametrize(
    ("answer", "how"),
    [
        ('{"dress": {"color": "red", "sleeve": "long"}}', "json"),
        ('{"category": "Dress", "Colour": "RED", "sleeves": "long sleeves"}', "json"),
        ('[{"object": "dress", "key": "color", "value": "red"}, {"object": "dress", "key": "sleeve length", "value": "long"}]', "json"),
        ('{"item": {"category": "dress", "color": ["red", "Red"], "sleeve": {"length": "long"}}}', "json"),
        ('Sure! ```json\n{"dress": {"color": "red", "sleeve": "long",},}\n``` Anything else?', "repaired"),
        ("{'dress': {'color': 'red', 'sleeve': 'long'}}", "repaired"),
        ('{"dress": {"color": "red", "sleeve": "lo', "repaired"),
        ('{"dress": {"color": "red", "sleeve": "long"', "repaired"),
        ('{"dress": {"color": "red", "sleeve": "long", "patt', "repaired"),
        ("The garment:\n- category: dress\n* color: red\n**sleeve**: long\nThat is all that I can say about it: good.", "lines"),
    ],
)
def test_forms_and_repairs(answer, how):
    parsed = parse_dictionary(answer)
    assert parsed.how == how
    assert parsed.entries == (RED[:2] + (Entry("sleeve", "lo"),) if answer.endswith('"lo') else RED)


def test_values_that_say_nothing_and_absent_details_are_dropped():
    answer = json.dumps(
        {"dress": {"color": "unknown", "pattern": "none", "belt": "no", "pockets": False, "buttons": True, "fabric": "N/A", "hem": None}}
    )
    assert {e.key: e.value for e in parse_dictionary(answer).entries} == {"category": "dress", "pattern": "solid", "buttons": "yes"}


def test_a_list_of_details_becomes_one_key_each():
    entries = parse_dictionary('{"dress": {"details": ["belt", "star badge", "golden chain"]}}').entries
    assert {e.key: e.value for e in entries[1:]} == {"belt": "yes", "star print": "yes", "detail": "golden chain"}


def test_several_objects_keep_their_names():
    entries = parse_dictionary('{"dog": {"color": "black"}, "sofa": {"color": "red", "count": 2}}').entries
    assert serialise(entries).text == "category: dog; dog color: black; category: sofa; sofa color: red; sofa count: 2"


def test_serialise_drops_whole_pairs_from_the_end(caplog):
    entries = canonical([("", f"key{i}", f"value{i}") for i in range(9)])
    with caplog.at_level("INFO"):
        short = serialise(entries, lambda text: len(text) <= 30)
    assert short.text == "key0: value0; key1: value1"
    assert short.dropped == entries[2:]
    assert "dropped 7 of 9" in caplog.text
    assert serialise(entries, lambda text: not text).text == ""
    assert serialise(()).text == ""
