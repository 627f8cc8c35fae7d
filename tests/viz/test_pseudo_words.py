"""The figures of pseudo-words hold what they were given."""

import numpy as np
import pytest
from PIL import Image

from cirlib.evaluation.intervals import Interval
from cirlib.types import InputError
from cirlib.viz import pseudo_words

PICTURE = Image.new("RGB", (8, 8), "red")


def test_lines_follow_the_moving_word():
    made = pseudo_words.plot_moving_word([0, 0.5, 1], {"red": [0.9, 0.8, 0.1], "blue": [0.1, 0.3, 0.9]}, start="red", end="blue")
    made.draw_without_rendering()
    np.testing.assert_allclose(made.axes[0].lines[1].get_ydata(), [0.1, 0.3, 0.9])
    assert "red" in made.axes[0].get_xlabel() and "blue" in made.axes[0].get_xlabel()
    with pytest.raises(InputError, match="one each"):
        pseudo_words.plot_moving_word([0, 1], {"red": [0.5]}, start="a", end="b")


def test_the_table_of_probes_says_its_numbers():
    word = {"color": Interval(0.5, 0.4, 0.6), "fit": Interval(0.7, 0.7, 0.7)}
    table = {"image embedding": {"color": Interval(0.9, 0.88, 0.92)}, "A, word": word}
    made = pseudo_words.plot_word_probes(table, {"color": 0.1, "fit": 0.4})
    made.draw_without_rendering()
    assert [text.get_text() for text in made.axes[0].texts] == ["10", "90 ±2", "50 ±10", "40", "70 ±0"]
    assert [tick.get_text() for tick in made.axes[0].get_yticklabels()] == ["color", "fit"]
    with pytest.raises(InputError, match="at least one"):
        pseudo_words.plot_word_probes({}, {"color": 0.1})


def test_gaps_have_a_panel_per_kind_and_a_row_per_method():
    gaps = {"A": {"near": np.arange(101) / 100, "far": np.full(3, 0.5)}, "B": {"near": np.full(3, 0.25)}}
    means = {name: {kind: Interval(values.mean(), 0.2, 0.9) for kind, values in table.items()} for name, table in gaps.items()}
    made = pseudo_words.plot_gaps(gaps, means)
    made.draw_without_rendering()
    near, far = made.axes
    assert [axes.get_title() for axes in (near, far)] == ["near", "far"]
    np.testing.assert_allclose([near.patches[0].get_x(), near.patches[0].get_width()], [0.25, 0.5])
    assert len(near.patches) == 2 and len(far.patches) == 1
    with pytest.raises(InputError, match="at least one"):
        pseudo_words.plot_gaps({}, {})


def test_neighbours_stand_beside_their_picture():
    words = {"A": [[("red", 0.5), ("dress", 0.25)], [("blue", 0.4)]], "B": [[], [("coat", 0.3)]]}
    made = pseudo_words.neighbour_cards([PICTURE, PICTURE], words)
    made.draw_without_rendering()
    told = [text.get_text() for text in made.axes[0].texts]
    assert told == ["A", "B", "red", "0.50", "dress", "0.25", "blue", "0.40", "coat", "0.30"]
    with pytest.raises(InputError, match="one list per picture"):
        pseudo_words.neighbour_cards([PICTURE], words)
