"""Maps hold what they were given, and refuse what does not fit."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from cirlib.types import InputError
from cirlib.viz.maps import ABSENT, RIGHT, WRONG, Seen, plot_clouds, plot_maps, plot_query, value_colors
from cirlib.viz.style import PALETTE

PLACES = np.random.default_rng(0).normal(size=(6, 2))
PICTURE = Image.new("RGB", (8, 8), "red")


def test_colours_go_by_frequency_and_run_out_at_six():
    found = value_colors(["b", "a", "a", None, *"cdefg"])
    assert list(found)[:2] == ["a", "b"] and found["a"] == PALETTE[0] and found["g"] == ABSENT
    assert value_colors(["x", "y"], {"y": (0, 0, 1), "x": (1, 0, 0), "z": (0, 1, 0)}) == {"y": (0, 0, 1), "x": (1, 0, 0)}
    assert value_colors(["x", "w"], {"x": (1, 0, 0)}) == {"w": PALETTE[0], "x": PALETTE[1]}


def test_a_grid_of_maps_has_a_panel_per_space_and_row():
    values = ["a", "b", None, "a", "a", "b"]
    made = plot_maps({"kind": [("one", PLACES, "kept 5 of 10"), ("two", 2 * PLACES, "")]}, {"kind": values})
    made.draw_without_rendering()
    first, second = made.axes
    np.testing.assert_allclose(first.collections[0].get_offsets(), PLACES)
    np.testing.assert_allclose(second.collections[0].get_offsets(), 2 * PLACES)
    shades = [to_hex(color) for color in first.collections[0].get_facecolors()]
    assert shades[0] == shades[3] == PALETTE[0].lower() and shades[1] == PALETTE[1].lower() and shades[2] == ABSENT.lower()
    assert [text.get_text() for text in second.get_legend().get_texts()] == ["a", "b", "none"]
    assert first.get_xlabel() == "kept 5 of 10" and first.get_ylabel() == "kind"


@pytest.mark.parametrize(("maps", "values"), [({}, {}), ({"a": [("s", PLACES, "")]}, {}), ({"a": []}, {"a": []})])
def test_maps_without_colouring_are_refused(maps, values):
    with pytest.raises(InputError, match="one colouring per row"):
        plot_maps(maps, values)


def test_a_query_is_drawn_with_its_results():
    view = Seen("sum", PLACES, 0, 3, np.array([0.5, 0.5]), [3, 1], [True, False], "target at rank 1")
    made = plot_query([view, view], dict.fromkeys(range(6), PICTURE), "is red")
    made.draw_without_rendering()
    panel = made.axes[0]
    marks = [(np.round(c.get_offsets()[0], 6).tolist(), to_hex(c.get_facecolor()[0])) for c in panel.collections[1:3]]
    assert marks == [(np.round(PLACES[1], 6).tolist(), WRONG.lower()), (np.round(PLACES[3], 6).tolist(), RIGHT.lower())]
    np.testing.assert_allclose(panel.lines[0].get_xydata(), [PLACES[0], [0.5, 0.5]])
    assert len(made.axes) == 6 and sum(len(axes.images) for axes in made.axes) == 8
    with pytest.raises(InputError, match="no query"):
        plot_query([], {}, "")


def test_clouds_have_their_means():
    made = plot_clouds({"pictures": PLACES, "sum": PLACES + 3}, np.array([0.3, 0.1]))
    made.draw_without_rendering()
    np.testing.assert_allclose(made.axes[0].collections[3].get_offsets(), [PLACES.mean(0) + 3])
    assert "30 %" in made.axes[0].get_xlabel()
    with pytest.raises(InputError, match="no cloud"):
        plot_clouds({}, np.zeros(2))
