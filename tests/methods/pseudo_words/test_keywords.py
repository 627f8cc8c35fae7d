from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirlib.methods.pseudo_words.keywords import atelier_captions, lexicon_tagger, replace_keywords, spacy_tagger

GOLDEN = {
    "a photo of a fitted red dotted dress with no pockets, no collar and a square neck": "$ of $ with $ , $ and $",
    "this is a solid top with no sleeves": "this is $ with $",
    "a mid-length v-neck dress": "$",
    "category: coat, color: brown": "$ : $ , $ : $",
    "it costs $5 and that": "a photo of $",
    "red costs $ 5": "$ costs dollar 5",
    "": "a photo of $",
}


@pytest.mark.parametrize("text", GOLDEN)
def test_runs_of_keywords_become_one_placeholder(text):
    assert replace_keywords(text, lexicon_tagger) == GOLDEN[text]


@given(st.lists(st.tuples(st.text("ab$", min_size=1, max_size=3), st.booleans()), max_size=8))
def test_as_many_placeholders_as_runs(tagged):
    found = replace_keywords("", lambda text: tagged).split()
    runs = sum(keyword and (i == 0 or not tagged[i - 1][1]) for i, (_, keyword) in enumerate(tagged))
    assert found.count("$") == max(runs, 1)
    if runs:
        assert len(found) == runs + sum(not keyword for _, keyword in tagged)


def test_every_drawn_caption_loses_what_it_speaks_about():
    for text in atelier_captions(60):
        left = set(replace_keywords(text, lexicon_tagger).split()) - {"$", ",", ":", "with", "and", "of", "is", "this"}
        assert not left, text


def test_spacy_is_asked_for_parts_of_speech():
    tags = [("a", "DET"), ("cat", "NOUN"), ("sleeps", "VERB"), ("  ", "SPACE"), ("Tom", "PROPN"), ("red", "ADJ")]
    model = lambda text: [SimpleNamespace(text=word, pos_=tag) for word, tag in tags]  # noqa: E731
    assert replace_keywords("any", spacy_tagger(model)) == "$ sleeps $"


def test_captions_follow_the_designs():
    first = atelier_captions(5, "val", seed=2)
    assert first == atelier_captions(5, "val", seed=2) != atelier_captions(5, "val", seed=3) and len(first) == 5
