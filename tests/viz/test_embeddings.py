"""The figures of embeddings hold what they were given."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from cirlib.evaluation.intervals import Interval
from cirlib.viz import embeddings
from cirlib.viz.style import PALETTE, ROLES


def drawn(made: Figure):
    """The only axes of a figure that was drawn once: warnings are errors here, so missing glyphs and empty legends show."""
    made.draw_without_rendering()
    (axes,) = made.axes
    return axes


def legend(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def ticks(axis) -> list[str]:
    return [tick.get_text() for tick in axis.get_ticklabels()]


ACCURACY = {"category": Interval(0.99, 0.97, 1.0), "sleeve": Interval(0.86, 0.82, 0.9), "fit": Interval(0.6, 0.5, 0.65)}
MAJORITY = {"sleeve": 0.3, "fit": 0.4, "category": 0.2}


@pytest.mark.parametrize("target", [None, 0.85])
def test_accuracy_has_a_point_an_interval_and_a_floor_per_attribute(target: float | None):
    axes = drawn(embeddings.plot_accuracy(ACCURACY, MAJORITY, target))
    assert ticks(axes.yaxis) == list(ACCURACY) and axes.get_ylim()[0] > axes.get_ylim()[1], "the first attribute stands on top"
    points, _, (bars,) = axes.containers[0]
    np.testing.assert_allclose(points.get_xydata(), [(0.99, 0), (0.86, 1), (0.6, 2)])
    np.testing.assert_allclose([segment[:, 0] for segment in bars.get_segments()], [(0.97, 1.0), (0.82, 0.9), (0.5, 0.65)])
    floors = next(line for line in axes.get_lines() if line.get_label() == "most frequent value")
    np.testing.assert_allclose(floors.get_xydata(), [(0.2, 0), (0.3, 1), (0.4, 2)], err_msg="by name, not by position")
    assert axes.get_xlim() == (0, 1.02) and "100%" in ticks(axes.xaxis)
    assert len(legend(axes)) == 2 + (target is not None)
    if target is not None:
        level = next(line for line in axes.get_lines() if line.get_label() == "85 %")
        assert list(level.get_xdata()) == [0.85, 0.85]


def test_cosines_share_their_bins_and_each_area_is_one():
    rng = np.random.default_rng(0)
    groups = {"picture and its caption": rng.normal(0.6, 0.05, 500), "picture and another": rng.normal(0.1, 0.1, 900)}
    axes = drawn(embeddings.plot_cosines(groups))
    assert legend(axes) == [f"{name} (mean {values.mean():.2f})" for name, values in groups.items()]
    assert len(axes.patches) == 4, "an area and its outline per group"
    everything = np.concatenate(list(groups.values()))
    for patch, values in zip(axes.patches[::2], groups.values(), strict=True):
        outline = patch.get_xy()
        assert (outline[:, 0].min(), outline[:, 0].max()) == pytest.approx((everything.min(), everything.max()))
        assert outline[:, 1].max() == pytest.approx(
            np.histogram(values, np.linspace(everything.min(), everything.max(), 60), density=True)[0].max()
        )
    assert axes.get_xlabel() == "cosine" and not list(axes.get_yticks())


def test_weight_curves_mark_the_chosen_share():
    shares = [0.0, 0.5, 1.0]
    curves = {"sum": (shares, [0.1, 0.4, 0.2]), "slerp": (shares, [0.1, 0.3, 0.35])}
    axes = drawn(embeddings.plot_weight_curves(curves, {"slerp": 1.0, "sum": 0.5}, "R@10 on val", chance=0.01))
    first, first_best, second, second_best, chance = axes.get_lines()
    np.testing.assert_allclose(first.get_xydata(), [(0.0, 0.1), (0.5, 0.4), (1.0, 0.2)])
    np.testing.assert_allclose(second.get_ydata(), [0.1, 0.3, 0.35])
    assert first_best.get_xydata().tolist() == [[0.5, 0.4]] and second_best.get_xydata().tolist() == [[1.0, 0.35]]
    assert list(chance.get_ydata()) == [0.01, 0.01] and [text.get_text() for text in axes.texts] == ["chance"]
    assert first.get_color() == first_best.get_markeredgecolor() == ROLES["sum"] != second.get_color()
    assert legend(axes) == ["sum, best at 0.50", "slerp, best at 1.00"]
    assert axes.get_ylim()[0] == 0 and axes.get_ylabel() == "R@10 on val" and all(text.endswith("%") for text in ticks(axes.yaxis))


def test_a_chosen_share_that_was_not_tried_is_an_error():
    with pytest.raises(ValueError, match=r"0\.3"):
        embeddings.plot_weight_curves({"sum": ([0.0, 1.0], [0.1, 0.2])}, {"sum": 0.3}, "R@10", chance=0.01)


@pytest.mark.parametrize("methods", [["sum"], ["image only", "text only", "mine"]])
def test_recall_bars_stand_in_groups(methods: list[str]):
    table = {
        m: {"recall@1": Interval(0.1 * (i + 1), 0.05, 0.45), "recall@10": Interval(0.6, 0.5, 0.8), "map@10": Interval(0, 0, 0)}
        for i, m in enumerate(methods)
    }
    axes = drawn(embeddings.plot_recall_bars(table, ["recall@10", "recall@1"], ["R@10", "R@1"]))
    assert ticks(axes.xaxis) == ["R@10", "R@1"] and legend(axes) == methods and len(axes.patches) == 2 * len(methods)
    bars = np.array(
        [[(b.get_x() + b.get_width() / 2, b.get_height()) for b in axes.patches[2 * i : 2 * i + 2]] for i in range(len(methods))]
    )
    np.testing.assert_allclose(bars[:, 0, 1], 0.6)
    np.testing.assert_allclose(bars[:, 1, 1], [0.1 * (i + 1) for i in range(len(methods))])
    np.testing.assert_allclose(bars[:, :, 0].mean(0), [0, 1], atol=1e-12, err_msg="groups are centred on their ticks")
    edges = sorted((b.get_x(), b.get_x() + b.get_width()) for b in axes.patches)
    assert all(left[1] <= right[0] for left, right in zip(edges, edges[1:], strict=False)), "no bar hides another"
    ends = [segment[:, 1].tolist() for lines in axes.collections for segment in lines.get_segments()]
    assert np.allclose(ends, [[0.5, 0.8], [0.05, 0.45]] * len(methods))
    for position, method in enumerate(methods):
        red, green, blue, _ = axes.patches[2 * position].get_facecolor()
        color = "#" + "".join(f"{round(255 * part):02X}" for part in (red, green, blue))
        assert color == ROLES.get(method, PALETTE[(position + 3) % len(PALETTE)])
