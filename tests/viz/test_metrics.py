"""Each figure holds what it was given, in the right place and with units on its axes."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from cirlib.evaluation.intervals import Interval, mean_interval
from cirlib.viz import metrics

PAIRS = {"image only": (0.0, 0.2), "composed": (0.50, 0.52)}


def drawn(made: Figure) -> Figure:
    """The figure, drawn once: warnings are errors here, so missing glyphs and empty legends show."""
    made.draw_without_rendering()
    return made


def words(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_tie_rules_show_every_rule_and_chance():
    made = drawn(metrics.plot_tie_rules({"optimistic": [1, 1, 1], "by gallery row": [0.1, 0.2, 0.3]}, [1, 2, 3], gallery=10))
    (axes,) = made.axes
    optimistic, fair, chance = axes.get_lines()
    np.testing.assert_allclose(chance.get_ydata(), [0.1, 0.2, 0.3])
    assert list(optimistic.get_ydata()) == [1, 1, 1] and list(fair.get_ydata()) == [0.1, 0.2, 0.3]
    assert len(axes.get_legend().get_texts()) == 3 and "(%)" in axes.get_ylabel() and "pictures" in axes.get_xlabel()


def test_changes_are_written_in_points():
    (axes,) = drawn(metrics.plot_changes(PAIRS, ("kept", "removed"), title="t", x="Recall@1 (%)")).axes
    assert words(axes) == ["+20.0", "+2.0"]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(PAIRS)
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the first row stands on top"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["kept", "removed"]


def test_diversity_names_its_points():
    (axes,) = drawn(metrics.plot_diversity({"chance": (0.1, 0.5), "composed": (0.6, 0.3)}, 10)).axes
    assert words(axes) == ["chance", "composed"]
    assert [tuple(np.ravel(points.get_offsets())) for points in axes.collections] == [(0.1, 0.5), (0.6, 0.3)]
    assert "@10" in axes.get_xlabel() and "(%)" in axes.get_ylabel()


@pytest.mark.parametrize("zero", [False, True])
def test_bootstrap_marks_estimate_and_ends(zero):
    means = np.random.default_rng(0).normal(0.3, 0.02, 500)
    interval = Interval(0.3, 0.26, 0.34)
    made = drawn(
        metrics.plot_bootstrap(
            {"one": means, "two": means}, {"one": interval, "two": interval}, x=["Recall@10 (%)", "gain (points)"], zero=zero
        )
    )
    assert [axes.get_xlabel() for axes in made.axes] == ["Recall@10 (%)", "gain (points)"]
    for axes in made.axes:
        marks = [line.get_xdata()[0] for line in axes.get_lines()]
        assert marks == [0.3, 0.26, 0.34, *([0] if zero else [])]
        assert sum(bar.get_height() for bar in axes.patches) == pytest.approx(1.0)


def test_intervals_are_drawn_and_written():
    rows = {"sum": mean_interval(np.repeat([0.0, 1.0], 50)), "composed": Interval(0.6, 0.5, 0.7)}
    (axes,) = drawn(metrics.plot_intervals(rows, title="t", x="Recall@10 (%)", chance=0.01, zero=True)).axes
    assert words(axes)[1:] == ["60.0  [50.0, 70.0]", "chance", "no difference"]
    assert max(axes.get_xticks()) <= 1.0
    bars = [tuple(line.get_xdata()) for line in axes.get_lines()]
    assert bars[1] == (0.5, 0.7) and bars[2][0] == 0.01 and bars[3][0] == 0.0


def test_needed_queries_follow_the_square_root():
    (axes,) = drawn(
        metrics.plot_needed_queries({"one method": 0.5, "paired": 0.1}, {"one method": {200: 0.07}, "paired": {200: 0.014}})
    ).axes
    curve = axes.get_lines()[0]
    assert curve.get_ydata()[0] == pytest.approx(1.96 * 0.5 / 10)  # 100 queries
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["one method: 9,604 queries", "paired: 384 queries"]
    assert words(axes) == ["1 point"]


def test_bins_hold_whole_steps_of_a_mean_of_zeros_and_ones():
    means = np.random.default_rng(0).binomial(1000, 0.6, 3000) / 1000
    edges = metrics._bins(means)
    assert edges[0] < means.min() and edges[-1] > means.max() and len(edges) <= 33
    counts = np.histogram(np.arange(1000) / 1000, edges)[0]
    assert len(set(counts)) == 1, "no bin may hold more of the possible values than another"
    assert len(metrics._bins(np.full(5, 0.3))) >= 2


def test_the_readers_settings_do_not_matter():
    before = dict(mpl.rcParams)
    with mpl.rc_context({"legend.frameon": True, "axes.titlelocation": "center"}):
        (axes,) = drawn(metrics.plot_changes(PAIRS, ("kept", "removed"), title="t")).axes
    assert not axes.get_legend().get_frame_on() and axes.get_title("left") == "t"
    assert dict(mpl.rcParams) == before
