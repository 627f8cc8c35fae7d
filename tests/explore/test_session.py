"""Searches without the page: against slow formulas, from every kind of bad input, by many at once."""

import threading

import numpy as np
import pytest
from dictionary_world import vector
from PIL import Image

from cirlib.commands import search as search_command
from cirlib.explore import asking
from cirlib.explore.asking import Wish
from cirlib.explore.reference import Reference
from cirlib.explore.session import Explorer, Request
from cirlib.explore.uploads import Upload
from cirlib.types import InputError


def ask(explorer, name, row=None, text="", without="", diversity=0.0, k=12, **weights):
    reference = None if row is None else Reference(row=row)
    (answer,) = explorer.search(Request((name,), reference, Wish(text, without, **weights), diversity, k))
    return answer


def rows(answer):
    return [hit.row for hit in answer.hits]


def test_the_sum_is_its_formula(explorer, collection):
    answer = ask(explorer, "sum", 0, "in blue", "belt", want=0.5, anchor=2.0, avoid=1.5)
    encoder = explorer.methods["sum"].encoder
    text, unwanted = (encoder.texts([words])[0].double().numpy() for words in ("in blue", "belt"))
    pictures = np.stack([vector(f"picture {name}").double().numpy() for name in collection.images.ids])
    query = 2.0 * 0.3 * pictures[0] + 0.5 * 0.7 * text
    query = query / np.linalg.norm(query) - 1.5 * 0.5 * unwanted
    scores = pictures @ query / np.linalg.norm(query)
    assert rows(answer) == [row for row in np.argsort(-scores) if row != 0]
    np.testing.assert_allclose([hit.cosine for hit in answer.hits], np.sort(np.delete(scores, 0))[::-1], atol=1e-6)
    named = dict(answer.hits[0].why.cosines)
    assert named["text"] == pytest.approx(pictures[rows(answer)[0]] @ text, abs=1e-6) and set(named) == {"picture", "text", "without"}
    assert asking.WITHOUT_WEIGHT == search_command.WITHOUT_WEIGHT


def test_the_sum_makes_do_with_one_of_the_two(explorer):
    assert rows(ask(explorer, "sum", 0)) == rows(ask(explorer, "image only", 0))
    assert rows(ask(explorer, "sum", None, "in blue")) == rows(ask(explorer, "text only", None, "in blue"))


def test_pix2key_ranks_by_the_score_that_it_shows(explorer):
    answer = ask(explorer, "Pix2Key", 0, "in blue", "belt")
    scores = [hit.why.score for hit in answer.hits]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) > 3
    assert {fact.tone: [value for value, _ in fact.values] for fact in answer.facts} == {
        "want": ["color: blue"],
        "keep": ["category: dress"],
        "avoid": ["belt: yes"],
    }
    verdicts = {hit.row: {c.entry.text: c.status for c in hit.why.constraints} for hit in answer.hits}
    assert verdicts[1] == {"color: blue": "met", "category: dress": "met", "belt: yes": "violated"}
    assert verdicts[4] == {"color: blue": "met", "category: dress": "violated", "belt: yes": "violated"}


def test_weights_are_factors_of_the_tuned_ones(explorer):
    tuned, method = ask(explorer, "Pix2Key", 0, "in blue", "belt"), explorer.methods["Pix2Key"]
    doubled = ask(explorer, "Pix2Key", 0, "in blue", "belt", want=2, anchor=2, avoid=2)
    assert [hit.why.score for hit in doubled.hits] == pytest.approx([hit.why.score for hit in tuned.hits])
    by_hand = Explorer(explorer.collection, {"Pix2Key": method.variant(alpha=1.0, beta=2 * 0.5 / 0.6)})
    changed = ask(explorer, "Pix2Key", 0, "in blue", "belt", anchor=2, avoid=0)
    assert [(h.row, h.why.score) for h in changed.hits] == [
        (h.row, h.why.score) for h in ask(by_hand, "Pix2Key", 0, "in blue", "belt").hits
    ]
    assert "no want, anchor or avoid" in ask(explorer, "image only", 0, want=2).notes[0]


def test_the_reference_and_its_copies_are_left_out(explorer):
    assert set(rows(ask(explorer, "image only", 2))) == {0, 1, 3, 4, 5, 7}, "c and g are one picture"
    answer = ask(explorer, "image only", 0, k=3)
    assert len(answer.hits) == 3 and answer.left_out == (0,)


def test_diversity_keeps_the_best_and_changes_the_rest(explorer):
    plain, varied = (ask(explorer, "Pix2Key", 0, "in blue", diversity=amount) for amount in (0.0, 0.9))
    assert rows(plain)[0] == rows(varied)[0] and rows(plain) != rows(varied) and set(rows(plain)) == set(rows(varied))


def test_the_map_has_everything_in_its_place(explorer):
    answer, space = ask(explorer, "sum", 0, "in blue"), explorer.space("sum")
    np.testing.assert_allclose(answer.map.hits, space.places[rows(answer)])
    np.testing.assert_allclose(answer.map.reference, space.places[0])
    assert ask(explorer, "text only", None, "in blue").map.reference is None


def test_an_upload_is_searched_like_any_picture(explorer):
    upload = Upload(Image.new("RGB", (30, 30)), "mine.png", "content of category: dress; color: red; belt: yes")
    (found,) = explorer.search(Request(("Pix2Key",), Reference(upload=upload), Wish("in blue")))
    assert rows(found) == rows(ask(explorer, "Pix2Key", 0, "in blue")) and found.left_out == (0,), "the very picture is in the gallery"


@pytest.mark.parametrize(
    ("name", "wanted", "told"),
    [
        ("sum", {}, "nothing to search for"),
        ("sum", {"row": 0, "text": "in blue", "want": 0, "anchor": 0}, "want and anchor leave nothing"),
        ("text only", {"row": 0}, "needs to know what to change"),
        ("image only", {"text": "in blue"}, "needs a reference picture"),
        ("Pix2Key", {"text": "in blue"}, "needs a reference picture"),
        ("Pix2Key", {"row": 0}, "needs to know what to change"),
        ("Pix2Key", {"row": 0, "text": "in blue", "without": "frobnication"}, "names nothing that the parser"),
        ("Pix2Key", {"row": 0, "text": "in blue", "want": 0, "avoid": 0}, "both 0"),
        ("sum", {"row": 8}, "rows 0 to 7"),
        ("sum", {"row": -1}, "rows 0 to 7"),
        ("sum", {"row": 0, "text": "a" * 301}, "301 letters"),
        ("sum", {"row": 0, "diversity": 1.1}, "between 0"),
        ("sum", {"row": 0, "diversity": float("nan")}, "between 0"),
        ("sum", {"row": 0, "avoid": -0.1}, "between 0 and 3"),
        ("sum", {"row": 0, "want": float("inf")}, "between 0 and 3"),
        ("sum", {"row": 0, "k": 0}, "1 to 50"),
        ("QuRe", {"row": 0, "text": "in blue"}, "run notebook 06"),
        ("nothing", {"row": 0}, "choose among image only, text only, sum, Pix2Key"),
    ],
)
def test_bad_input_is_one_line(explorer, name, wanted, told):
    with pytest.raises(InputError, match=told) as refused:
        ask(explorer, name, **wanted)
    assert "\n" not in str(refused.value)


def test_one_method_or_two(explorer):
    assert [a.method for a in explorer.search(Request(("sum", "Pix2Key"), Reference(row=0), Wish("in blue")))] == ["sum", "Pix2Key"]
    for names in ((), ("sum", "Pix2Key", "text only")):
        with pytest.raises(InputError, match="choose one, or two"):
            Request(names)
    with pytest.raises(InputError, match="run notebook 06"):
        Explorer(explorer.collection, {}, explorer.unavailable)


def test_words_that_mean_nothing_are_told(explorer):
    assert "read no change" in ask(explorer, "Pix2Key", 0, "frobnicate it").notes[0]


def test_many_at_once_get_what_each_would_get_alone(explorer):
    wishes = [(row, text) for row in range(6) for text in ("in blue", "in red", "without the belt")]
    alone, together = [rows(ask(explorer, "Pix2Key", *wish)) for wish in wishes], [None] * len(wishes)

    def one(place):
        together[place] = rows(ask(explorer, "Pix2Key", *wishes[place]))

    threads = [threading.Thread(target=one, args=(place,)) for place in range(len(wishes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_preparing_tells_each_method(explorer, capsys):
    told = []
    explorer.prepare(told.append)
    assert [line.split("]")[0] for line in told] == ["[1/4", "[2/4", "[3/4", "[4/4"]
