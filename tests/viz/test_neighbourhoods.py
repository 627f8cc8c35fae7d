"""Figures of neighbourhoods hold the numbers they were given."""

import numpy as np
import pytest

from cirlib.evaluation.intervals import Interval
from cirlib.types import InputError
from cirlib.viz.neighbourhoods import plot_movement, plot_purity, plot_similarities


def interval(mean):
    return Interval(mean, mean - 0.1, mean + 0.1)


def test_purity_has_a_row_per_attribute_and_two_levels_of_chance():
    made = plot_purity(
        {"CLIP": {"color": interval(0.6)}, "texts": {"color": interval(0.7), "fit": interval(0.5)}},
        {"color": (0.1, 0.3), "fit": (0.4, 0.45)},
        10,
    )
    made.draw_without_rendering()
    axes = made.axes[0]
    assert [line.get_xdata()[0] for line in axes.lines[:4]] == [0.1, 0.4, 0.3, 0.45]
    np.testing.assert_allclose(axes.collections[0].get_offsets(), [[0.6, -0.24]])
    np.testing.assert_allclose(axes.collections[1].get_offsets(), [[0.7, 0.24], [0.5, 1.24]])
    assert "10 nearest" in axes.get_xlabel()
    with pytest.raises(InputError, match="0 spaces"):
        plot_purity({}, {"color": (0, 0)}, 10)


def test_movement_has_degrees_on_the_left_and_shares_on_the_right():
    turns = {"sum": {"set": interval(30.0), "add": interval(20.0)}, "DQE-CIR": {"set": interval(50.0)}}
    made = plot_movement(turns, {"sum": {"set": interval(0.7), "add": interval(0.6)}, "DQE-CIR": {"set": interval(0.8)}})
    made.draw_without_rendering()
    left, right = made.axes
    np.testing.assert_allclose(left.collections[0].get_offsets(), [[30, -0.3], [20, 0.7]])
    np.testing.assert_allclose(right.collections[1].get_offsets(), [[0.8, 0.3]])
    assert "degrees" in left.get_xlabel() and "%" in right.get_xlabel()
    with pytest.raises(InputError, match="the same ones"):
        plot_movement(turns, {"sum": {}})


def test_the_zone_counts_what_lies_in_it():
    table = {
        "target": np.full((4, 1), 0.9),
        "random": np.array([[0.85], [0.5], [0.4], [np.nan]]),
        "look-alikes": np.array([[0.8], [0.88], [0.86], [0.7]]),
    }
    made = plot_similarities({"sum": table}, (0.03, 0.1))
    made.draw_without_rendering()
    said = made.axes[1].texts[0].get_text()
    assert "33.3% of random" in said and "50.0% of look-alikes" in said
    for groups, zone in (({}, (0, 1)), ({"sum": {}}, (0, 1)), ({"sum": table}, (0.2, 0.1))):
        with pytest.raises(InputError, match="needs its target"):
            plot_similarities(groups, zone)
