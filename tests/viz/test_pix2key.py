"""The figures of Pix2Key hold what they were given."""

import numpy as np
import pytest
from PIL import Image

from cirlib.evaluation.intervals import Interval
from cirlib.types import InputError
from cirlib.viz import pix2key

PICTURE = Image.new("RGB", (8, 8), "red")


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_a_card_shows_its_title_and_marks_what_is_wrong():
    lines = [("color: red", "right"), ("belt: yes", "wrong"), ("fit: loose", "missing")]
    made = pix2key.dictionary_cards([("one", PICTURE, lines), ("two", PICTURE, lines[:1])])
    made.draw_without_rendering()
    shown = texts(made.axes[0])
    assert shown.count("color: red") == 2 and {"one", "two", "\N{MULTIPLICATION SIGN} belt: yes", "? fit: loose"} <= set(shown)
    assert len(made.axes[0].images) == 2


def test_cards_refuse_nothing_and_unknown_verdicts():
    with pytest.raises(InputError, match="at least one"):
        pix2key.dictionary_cards([])
    with pytest.raises(InputError, match=r"'maybe'.*right, wrong, missing"):
        pix2key.dictionary_cards([("one", PICTURE, [("color: red", "maybe")])])


def test_quality_has_precision_left_and_recall_right():
    table = {"color": (Interval(0.9, 0.8, 0.95), Interval(0.7, 0.6, 0.8)), "fit": (Interval(0.5, 0.4, 0.6), Interval(0.2, 0.1, 0.3))}
    made = pix2key.plot_dictionary_quality({"stock": table, "slots": {"fit": table["fit"]}})
    made.draw_without_rendering()
    left, right = made.axes
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["color", "fit"]
    np.testing.assert_allclose(left.containers[0][0].get_xydata()[:, 0], [0.9, 0.5])
    np.testing.assert_allclose(right.containers[0][0].get_xydata()[:, 0], [0.7, 0.2])
    assert len(left.containers[1][0].get_xydata()) == 1, "a key that a writer lacks is not drawn for it"


def test_the_best_pair_of_weights_is_framed():
    scores = np.array([[0.1, 0.2, 0.3], [0.4, 0.9, 0.5]])
    made = pix2key.plot_weight_grid([0.5, 0.8], [0, 0.2, 0.4], scores, "R@10")
    made.draw_without_rendering()
    (axes,) = made.axes
    assert texts(axes) == ["10.0", "20.0", "30.0", "40.0", "90.0", "50.0"]
    frame = axes.get_lines()[0]
    assert (frame.get_xdata().mean().round(), frame.get_ydata()[0]) == (1, 0.5)


def test_a_diversity_curve_has_a_panel_per_metric():
    steps = [0.0, 0.5]
    curves = {"R@10": [Interval(0.7, 0.6, 0.8), Interval(0.6, 0.5, 0.7)], "ILD@10": [Interval(0.1, 0.05, 0.2), Interval(0.3, 0.2, 0.4)]}
    made = pix2key.plot_diversity_curve(steps, curves, chosen=0.5)
    made.draw_without_rendering()
    assert [axes.get_title(loc="left") for axes in made.axes] == list(curves)
    np.testing.assert_allclose(made.axes[1].get_lines()[0].get_ydata(), [0.1, 0.3])
    assert made.axes[0].get_lines()[1].get_xdata() == [0.5, 0.5]
