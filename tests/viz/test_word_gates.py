"""Gates by word: ordered by their mean, the middle left out where words are many."""

import numpy as np
import pytest

from cirlib.types import InputError
from cirlib.viz.word_gates import plot_word_gates


def test_words_are_ordered_and_the_extremes_stay():
    words = {f"w{number}": np.array([number / 10, number / 10 + 0.02]) for number in range(5)}
    made = plot_word_gates({"color": words, "shape": {"long": np.array([0.3])}}, start=0.1, most=3)
    made.draw_without_rendering()
    color, shape = made.axes
    assert [tick.get_text() for tick in color.get_yticklabels()] == ["w4  (2)", "w1  (2)", "w0  (2)"]
    means = [c.get_offsets()[0].tolist() for c in color.collections[1::2]]
    np.testing.assert_allclose(means, [[0.41, 0], [0.11, 1], [0.01, 2]])
    assert len(shape.get_yticklabels()) == 1
    for gates in ({}, {"color": {}}):
        with pytest.raises(InputError, match="one word or more"):
            plot_word_gates(gates)
