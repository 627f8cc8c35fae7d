"""The drawing of moving pictures: what is drawn where, and what is refused."""

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from cirlib.types import InputError
from cirlib.viz.moves import RIGHT, WRONG, plot_moves

NAMES, MARKS, BEFORE = ("target", "other"), (True, False), np.array([-10.0, 30.0])


def test_points_stand_on_the_circle_in_the_colour_of_their_mark():
    fig = plot_moves(NAMES, MARKS, BEFORE, {"a loss": np.array([-5.0, 60.0])})
    (axes,) = fig.axes
    places = np.concatenate([points.get_offsets() for points in axes.collections])
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1)
    np.testing.assert_allclose(np.degrees(np.arctan2(*places.T)), [-10, -5, 30, 60])
    assert [tuple(points.get_edgecolors()[0]) for points in axes.collections] == [to_rgba(c) for c in (RIGHT, RIGHT, WRONG, WRONG)]


def test_only_what_moved_has_an_arrow_and_there_is_a_panel_per_loss():
    fig = plot_moves(NAMES, MARKS, BEFORE, {"still": BEFORE, "moved": np.array([-10.0, 50.0])})
    arrows = [sum(text.arrow_patch is not None for text in axes.texts if hasattr(text, "arrow_patch")) for axes in fig.axes]
    assert arrows == [1, 2], "the query has one too"


def test_a_missing_angle_is_named():
    with pytest.raises(InputError, match="2 names given.*half"):
        plot_moves(NAMES, MARKS, BEFORE, {"half": np.array([1.0])})
