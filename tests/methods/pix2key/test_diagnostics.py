import numpy as np
import pytest

from cirlib.data.atelier import load_atelier
from cirlib.methods.pix2key.diagnostics import avoid_violations, design_dictionary, dictionary_scores, polarity_scores, true_updates
from cirlib.methods.pix2key.dictionary import Entry
from cirlib.methods.pix2key.signed import Updates
from cirlib.types import Change, Edit, InputError

DESIGN = {
    "category": "toptee",
    "color": "blue",
    "pattern": "striped",
    "second_color": "white",
    "length": "short",
    "belt": "yes",
    "print": "no",
}
SHORT = Change("length", "relative", "short", "long", ("medium", "long"))
BELT = Change("belt", "remove", "yes", "no", ("no",))
RED = Change("color", "set", "blue", "red", ("red",))
OPEN = Change("color", "open", "blue", "red", ("red", "green"))
PLAIN = Change("pattern", "set", "striped", "solid", ("solid",))


def entries(*pairs):
    return tuple(Entry(*pair) for pair in pairs)


def score(updates, *changes):
    return {name: values[0] for name, values in polarity_scores([updates], [Edit(changes)], [DESIGN]).items()}


def test_true_updates_of_every_kind():
    updates = true_updates(Edit((SHORT, BELT, OPEN)), DESIGN)
    assert updates.wants == entries(("length", "medium"))
    assert set(updates.avoids) == set(entries(("length", "short"), ("belt", "yes"), ("color", "blue")))
    assert updates.open == ("color",)
    assert true_updates(Edit((RED, PLAIN)), DESIGN) == Updates(entries(("color", "red"), ("pattern", "solid")))


def test_the_truth_scores_one_and_nothing_scores_nothing():
    edit = (SHORT, BELT, OPEN, PLAIN)
    perfect = score(true_updates(Edit(edit), DESIGN), *edit)
    assert {value for value in perfect.values() if value == value} == {1.0}
    nothing = score(Updates(), *edit)
    assert nothing["exact"] == nothing["recall/want"] == nothing["kind/remove"] == nothing["kind/open"] == 0
    assert np.isnan(nothing["precision/want"]) and np.isnan(nothing["kind/add"])
    assert nothing["signs"] == 1 / 5  # of category, color, pattern, length and belt only the first stays; the second color is moot


def test_implied_avoids_are_right_and_wrong_signs_are_not():
    assert score(Updates(entries(("color", "red")), entries(("color", "blue"))), RED)["exact"] == 1
    assert score(Updates(entries(("pattern", "solid")), entries(("second color", "white"))), PLAIN)["exact"] == 1
    wrong = score(Updates(entries(("color", "blue")), entries(("color", "red"))), RED)
    assert wrong["precision/want"] == wrong["precision/avoid"] == wrong["recall/want"] == wrong["exact"] == 0
    longer = score(Updates(entries(("length", "long")), entries(("length", "short"))), SHORT)
    assert longer["kind/relative"] == longer["exact"] == 1  # any allowed value is right
    darker = Change("color", "relative", "blue", "black", ("black",))
    assert score(Updates(entries(("color", "dark")), entries(("color", "blue"))), darker)["exact"] == 1
    assert score(Updates(entries(("color", "light")), entries(("color", "blue"))), darker)["exact"] == 0
    half = score(Updates(entries(("length", "long"))), SHORT)
    assert half["kind/relative"] == half["exact"] == 0 and half["recall/want"] == 1


def test_dictionary_scores_by_key():
    found = entries(
        ("category", "top"), ("color", "red"), ("pattern", "striped"), ("second color", "white"), ("belt", "yes"), ("mood", "dull")
    )
    scores = {name: values[0] for name, values in dictionary_scores([found], [DESIGN]).items()}
    assert scores["precision"] == scores["recall"] == 4 / 6
    assert scores["precision/color"] == scores["recall/color"] == 0
    assert scores["recall/length"] == 0 and np.isnan(scores["precision/length"])
    assert np.isnan(scores["recall/star print"]) and scores["exact"] == 0
    assert dictionary_scores([design_dictionary(DESIGN)], [DESIGN])["exact"] == [1.0]
    assert dictionary_scores([], []) == polarity_scores([], [], []) == {}


def test_avoid_violations_equal_a_count_by_hand():
    shown = [entries(("color", "red and blue")), entries(("color", "blue")), entries(("belt", "yes"))]
    top = np.array([[0, 1, 2], [2, 1, -1], [0, 1, 2]])
    avoids = [entries(("color", "blue")), entries(("belt", "yes"), ("color", "red")), ()]
    np.testing.assert_array_equal(avoid_violations(top, avoids, shown, 3), [2 / 3, 1 / 2, np.nan])
    np.testing.assert_array_equal(avoid_violations(top, avoids, shown, 1), [1, 1, np.nan])
    with pytest.raises(InputError, match="cut-off 4"):
        avoid_violations(top, avoids, shown, 4)


def test_a_correct_answer_never_violates():
    benchmark = load_atelier("val", 256, 60)
    shown = [design_dictionary(benchmark.labels[image_id]) for image_id in benchmark.gallery.ids]
    top = np.array([[benchmark.gallery.rows[query.target]] for query in benchmark.queries])
    avoids = [true_updates(query.edit, benchmark.labels[query.reference]).avoids for query in benchmark.queries]
    values = avoid_violations(top, avoids, shown, 1)
    assert np.nansum(values) == 0 and np.isfinite(values).sum() > 10
    references = np.array([[benchmark.gallery.rows[query.reference]] for query in benchmark.queries])
    assert np.nanmean(avoid_violations(references, avoids, shown, 1)) == 1
