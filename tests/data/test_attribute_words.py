"""The word lists and what they cover: official captions by golden counts, atelier's by what its edits change."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirlib.data.atelier import load_atelier
from cirlib.data.attribute_words import GROUPS, attribute_words, named_groups, word_spans
from cirlib.data.fashioniq import join_captions
from cirlib.types import InputError

PUNCTUATION = '.!"()*#:;~,?/&'


def test_lists():
    assert [len(attribute_words(group)) for group in GROUPS[:2]] == [69, 89]
    for group in GROUPS:
        for word in attribute_words(group):
            assert word_spans(word) == [(word, 0, len(word))], "a word that no text can match"
            assert named_groups(word) == (group,), "a word of two groups"
    assert {"graphic", "logo", "print", "pattern", "stripes", "floral", "plaid", "lace", "sheer", "text"} <= attribute_words("texture")
    with pytest.raises(InputError, match="'material'.*color, shape, texture"):
        attribute_words("material")


@given(st.text(alphabet="ab V-'" + PUNCTUATION))
def test_spans_point_at_their_words(text):
    spans = word_spans(text)
    assert all(text.lower()[first:after] == word for word, first, after in spans)
    plain = "".join(" " if character in PUNCTUATION else character for character in text.lower())
    assert [word for word, _, _ in spans] == plain.split()


def percent(texts):
    """Colour, shape, both, neither, as in the table: percent to one digit."""
    found = [{"color", "shape"} & set(named_groups(text)) for text in texts]
    counts = sum("color" in f for f in found), sum("shape" in f for f in found), sum(len(f) == 2 for f in found), sum(not f for f in found)
    return [round(100 * count / len(texts), 1) for count in counts]


@pytest.mark.parametrize(("split", "count", "wanted"), [("train", 18000, [85.4, 62.7, 51.6, 3.5]), ("val", 6016, [86.4, 64.5, 54.0, 3.0])])
def test_fashioniq_coverage(shared_dir, split, count, wanted):
    files = [shared_dir / f"annotations/fashioniq/captions/cap.{category}.{split}.json" for category in ("dress", "shirt", "toptee")]
    texts = [join_captions(entry["captions"]) for file in files for entry in json.loads(file.read_text())]
    assert len(texts) == count and percent(texts) == wanted


@pytest.mark.parametrize(
    ("file", "key", "wanted"),
    [
        ("cirr/captions/cap.rc2.val.json", "caption", [35.4, 13.9, 5.9, 56.5]),
        ("cirr/captions/cap.rc2.test1.json", "caption", [40.4, 15.0, 6.6, 51.3]),
        ("circo/annotations/val.json", "relative_caption", [29.1, 8.6, 2.3, 64.5]),
        ("circo/annotations/test.json", "relative_caption", [31.1, 5.0, 2.0, 65.9]),
    ],
)
def test_cirr_and_circo_coverage(shared_dir, file, key, wanted):
    assert percent([entry[key] for entry in json.loads((shared_dir / "annotations" / file).read_text())]) == wanted


def test_ateliers_texts_name_what_they_change():
    """Colour edits always name a colour word, shape edits mostly; so no supplement is needed."""
    meant = {"color": ("color", "second_color"), "shape": ("sleeve", "neckline", "length", "fit", "buttons", "pockets", "collar")}
    meant["texture"] = ("pattern", "sheen", "print", "trim")
    queries = load_atelier("train", 1280, 500).queries
    for group, least in (("color", 1.0), ("shape", 0.85), ("texture", 0.85)):
        named = [group in named_groups(query.text) for query in queries if set(query.edit.attributes) & set(meant[group])]
        assert len(named) > 100 and sum(named) >= least * len(named), (group, sum(named) / len(named))
