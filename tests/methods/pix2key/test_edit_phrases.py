import pytest

from cirlib.data.lexicon import load_lexicon
from cirlib.methods.pix2key.edit_phrases import PhraseFinder, clauses

FINDER = PhraseFinder(load_lexicon())


def test_clauses_break_at_joints_and_leave_out_what_is_kept():
    assert clauses("Keep the rest, but is RED and has no belt.") == [["is", "red"], ["has", "no", "belt"]]
    assert clauses("same colour; longer") == [["longer"]]
    assert clauses("") == clauses(", and") == []


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        ("has no belt", [("belt", "yes", True)]),
        ("has no sleeves", [("sleeve", "sleeveless", False)]),
        ("belt removed", [("belt", "yes", True)]),
        ("changes from brown to purple", [("color", "brown", True), ("color", "purple", False)]),
        ("stripes in place of dots", [("pattern", "striped", False), ("pattern", "dotted", True)]),
        ("less graphic buttons", [("graphic", "yes", True), ("buttons", "yes", False)]),
        ("long sleeves are dark blue", [("sleeve", "long", False), ("color", "dark blue", False)]),
        ("long", [("length", "long", False)]),
        ("round", []),
        ("round neck", [("neckline", "round", False)]),
    ],
)
def test_phrases_and_their_signs(clause, expected):
    assert [(hit.sense.key, hit.sense.value, hit.negative) for hit in FINDER.hits(clause.split())] == expected


def test_relative_words_follow_the_noun_beside_them():
    assert [(h.sense.kind, h.sense.key) for h in FINDER.hits(["sleeves", "are", "longer"])] == [("noun", "sleeve"), ("more", "sleeve")]
    assert [(h.sense.kind, h.sense.key) for h in FINDER.hits(["is", "longer"])] == [("more", "length")]


def test_different_opens_the_noun_within_reach_only():
    assert [hit.opened for hit in FINDER.hits(["different", "color"])] == [True]
    assert [hit.opened for hit in FINDER.hits(["another", "one", "that", "shows", "only", "one", "color"])] == [False]
