"""The look: readable colours, and no trace left in the reader's own settings."""

import itertools

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from cirlib.viz import style


def luminance(color: str) -> float:
    """Relative luminance as the web content accessibility guidelines define it."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return float(np.dot([0.2126, 0.7152, 0.0722], channels))


def without_red_cones(color: str) -> np.ndarray:
    """A colour as a reader without red cones sees it (Machado, Oliveira and Fernandes, 2009, severity 1)."""
    matrix = np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]])
    return matrix @ np.array(to_rgb(color))


def test_text_colours_contrast_with_white():
    for color in (style.INK, style.MUTED):
        assert 1.05 / (luminance(color) + 0.05) >= 4.5, color


@pytest.mark.parametrize("seen", [to_rgb, without_red_cones], ids=["as it is", "without red cones"])
def test_palette_colours_stay_apart(seen):
    for first, second in itertools.combinations(style.PALETTE, 2):
        assert np.linalg.norm(np.subtract(seen(first), seen(second))) > 0.12, (first, second)


def test_figures_leave_the_readers_settings_alone():
    before = dict(mpl.rcParams)
    made, axes = style.figure(2, 3, width=6, height=4, sharey=True)
    assert dict(mpl.rcParams) == before
    assert len(axes) == 6 and made.get_size_inches().tolist() == [6, 4]
    assert not axes[0].spines["top"].get_visible()


def test_use_style_changes_them_and_house_style_restores_them():
    before = dict(mpl.rcParams)
    with mpl.rc_context():
        style.use_style()
        assert mpl.rcParams["axes.spines.top"] is False
        with style.house_style():
            mpl.rcParams["font.size"] = 31
        assert mpl.rcParams["font.size"] == style.STYLE["font.size"]
    assert dict(mpl.rcParams) == before


def test_roles_keep_their_colour_and_others_cycle():
    assert style.color_of("chance", 3) == style.ROLES["chance"]
    assert style.color_of("my method", len(style.PALETTE) + 1) == style.PALETTE[1]


def test_labels_percent_and_chance():
    made, (axes,) = style.figure()
    axes.plot([1, 10], [0.0, 0.5])
    style.label(axes, "Title", "pictures", "recall (%)")
    style.percent_axis(axes.yaxis)
    style.chance_line(axes, 0.1, "chance 10 %")
    made.draw_without_rendering()
    assert "50%" in [tick.get_text() for tick in axes.get_yticklabels()]
    assert axes.texts[0].get_text() == "chance 10 %" and axes.get_xlabel() == "pictures"


def test_nice_ticks():
    assert style.nice_ticks([2, 300]) == [1.0, 10.0, 100.0, 1000.0]
    with pytest.raises(ValueError, match="positive"):
        style.nice_ticks([0.0, 1.0])


@pytest.mark.parametrize(
    ("ticks", "decimals", "texts"), [([0.1, 0.2], None, ["10%", "20%"]), ([0.0, 0.025], None, ["0%", "2.5%"]), ([0.1], 1, ["10.0%"])]
)
def test_percent_ticks_have_as_many_digits_as_they_need(ticks, decimals, texts):
    made, (axes,) = style.figure()
    style.percent_axis(axes.yaxis, decimals)
    axes.set_yticks(ticks)
    made.draw_without_rendering()
    assert [tick.get_text() for tick in axes.get_yticklabels()] == texts
