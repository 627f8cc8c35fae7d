"""The figures that explain kernels hold what they were given."""

import numpy as np
import pytest

from cirlib.types import InputError
from cirlib.viz import kernel_lessons
from cirlib.viz.kernel_lessons import time_text


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_times_are_written_with_units_and_computed_ones_are_marked():
    made = kernel_lessons.plot_times({"encode": 8.2, "search": 0.037, "million": 59.0}, computed=["million"])
    made.draw_without_rendering()
    (axes,) = made.axes
    assert texts(axes) == ["8.2 ms", "37 µs", "59 ms (computed)"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["encode", "search", "million"]
    for times in ({}, {"a": 0.0}):
        with pytest.raises(InputError, match="above 0"):
            kernel_lessons.plot_times(times)


@pytest.mark.parametrize(("value", "text"), [(0.5, "500 µs"), (0.99999, "1,000 µs"), (1, "1 ms"), (250, "250 ms"), (7.2e6, "120 min")])
def test_a_time_has_a_fitting_unit(value, text):
    assert time_text(value) == text
    with pytest.raises(InputError, match="finite"):
        time_text(float("inf"))


def test_groups_frame_the_best_and_shade_what_was_opened():
    numbers = np.arange(12).reshape(3, 4)
    made = kernel_lessons.plot_groups(numbers, 2, [2, 3])
    made.draw_without_rendering()
    (axes,) = made.axes
    shaded = [patch for patch in axes.patches if patch.get_width() == 1]
    framed = [patch for patch in axes.patches if patch.get_width() < 1]
    assert [patch.get_x() + 0.5 for patch in shaded] == [2, 3]
    assert [(round(patch.get_x() + 0.4), round(patch.get_y() + 0.4)) for patch in framed] == [(2, 2), (3, 2)]
    assert texts(axes)[-4:] == ["8", "9", "10", "11"]
    for k, opened in ((0, []), (13, []), (1, [4])):
        with pytest.raises(InputError, match="opened groups"):
            kernel_lessons.plot_groups(numbers, k, opened)


def test_insertions_are_drawn_with_their_forecast():
    made = kernel_lessons.plot_insertions({"ascending": np.arange(1, 101), "descending": np.minimum(np.arange(1, 101), 5)}, 5)
    made.draw_without_rendering()
    (axes,) = made.axes
    assert texts(axes) == ["100", "5"]
    forecast = axes.lines[0].get_ydata()
    assert forecast[:5].tolist() == [1, 2, 3, 4, 5] and forecast[-1] == pytest.approx(5 * (1 + np.log(20)))
    for curves in ({}, {"short": np.arange(5)}):
        with pytest.raises(InputError, match="beyond k"):
            kernel_lessons.plot_insertions(curves, 5)


def test_bounds_show_the_largest_share_even_beyond_one():
    made = kernel_lessons.plot_bounds({"proven": np.array([0.1, 0.2, 0.3]), "broken": np.array([0.5, 1.4])})
    made.draw_without_rendering()
    assert any("largest 0.30" in text for text in texts(made.axes[0])) and any("largest 1.40" in text for text in texts(made.axes[1]))
    for axes in made.axes:
        assert sum(patch.get_height() for patch in axes.patches) == pytest.approx(1)
    with pytest.raises(InputError, match="with pairs"):
        kernel_lessons.plot_bounds({"none": np.array([])})


def test_crowding_has_a_panel_for_cost_and_one_for_loss():
    made = kernel_lessons.plot_crowding([1.0, 0.1], {"certified": [60, 400]}, {"bf16": [0.01, 0.8]}, crowd=400, k=50)
    made.draw_without_rendering()
    left, right = made.axes
    assert texts(left) == ["all 400 near-duplicates", "the 50 asked for"]
    assert left.get_xlim()[0] > left.get_xlim()[1] and list(right.lines[0].get_ydata()) == [0.01, 0.8]
    with pytest.raises(InputError, match="one value per distance"):
        kernel_lessons.plot_crowding([1.0], {"certified": [60, 400]}, {}, crowd=400, k=50)
