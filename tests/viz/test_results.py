"""Tables and figures of results hold what they were given, in the order given, with units on every axis."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from cirlib.evaluation.intervals import Interval
from cirlib.viz import results
from cirlib.viz.style import ROLES

ORDER = ["ours", "sum", "chance"]
MEANS = {"ours": 0.6, "sum": 0.4, "chance": 0.01}
INTERVALS = {name: Interval(mean, mean - 0.01, mean + 0.02) for name, mean in MEANS.items()}


@pytest.fixture
def summary() -> pd.DataFrame:
    rows = [(n, "recall@10", i.mean, i.low, i.high, 1 + (n == "ours")) for n, i in INTERVALS.items()]
    rows += [(n, "median_rank", 10.0, 8.0, np.inf, 1) for n in MEANS] + [(n, "ac@10", np.nan, np.nan, np.nan, 1) for n in MEANS]
    return pd.DataFrame(rows, columns=["method", "metric", "mean", "low", "high", "seeds"])


@pytest.fixture
def gains() -> pd.DataFrame:
    rows = [("ours", 0.2, 0.1, 0.3, "higher"), ("slerp", 0.0, -0.1, 0.1, "inconclusive"), ("worse", -0.2, -0.3, -0.1, "lower")]
    return pd.DataFrame(rows, columns=["method", "mean", "low", "high", "verdict"])


def drawn(made):
    """The figure, drawn once: warnings are errors here, so missing glyphs and empty legends show."""
    made.draw_without_rendering()
    return made


def words(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def row_names(axes) -> list[str]:
    return [tick.get_text() for tick in axes.get_yticklabels()]


def faces(axes) -> list[str]:
    return [to_hex(points.get_facecolor()[0]) for points in axes.collections]


def test_table_shows_percent_ranks_seeds_and_dashes(summary):
    table = results.results_table(summary, ["recall@10", "median_rank", "ac@10"], ORDER)
    assert list(table.columns) == ["method", "seeds", "R@10 (%)", "median rank", "AC@10 (%)"]
    assert table.iloc[0].tolist() == ["ours", 2, "60.0 [59.0, 62.0]", "10 [8, not ranked]", "-"]
    assert list(table["method"]) == ORDER


def test_methods_are_filled_controls_hollow(summary):
    (axes,) = drawn(results.plot_methods(summary, "recall@10", ORDER, title="t", chance=0.01)).axes
    assert row_names(axes) == ORDER and axes.get_ylim()[0] > axes.get_ylim()[1], "the first row stands on top"
    assert faces(axes) == [ROLES["composed"].lower(), "#ffffff", "#ffffff"]
    assert [tuple(points.get_offsets()[0]) for points in axes.collections] == [(0.6, 0), (0.4, 1), (0.01, 2)]
    assert words(axes)[0] == "60.0  [59.0, 62.0]" and axes.get_xlabel() == "R@10 (%)"
    assert axes.get_lines()[-1].get_xdata()[0] == 0.01
    assert max(axes.get_xticks()) <= 1, "no tick beyond 100 %"


def test_differences_carry_their_verdicts(gains):
    made = drawn(results.plot_differences({"minus sum": gains, "minus text only": gains.iloc[:1]}))
    upper, lower = made.axes
    assert faces(upper) == [ROLES["composed"].lower(), "#ffffff", ROLES["wrong"].lower()]
    assert words(upper) == ["+20.0  [+10.0, +30.0]  higher", "+0.0  [-10.0, +10.0]  inconclusive", "-20.0  [-30.0, -10.0]  lower"]
    assert row_names(upper) == ["ours", "slerp", "worse"] and row_names(lower) == ["ours"]
    assert "points" in lower.get_xlabel() and upper.get_title(loc="left") == "minus sum"


def test_head_to_head_bars_fill_the_row():
    share = {"win": Interval(0.6, 0.5, 0.7), "tie": Interval(0.1, 0.1, 0.1), "loss": Interval(0.3, 0.2, 0.4)}
    (axes,) = drawn(results.plot_head_to_head({"sum": share, "chance": share}, title="t")).axes
    widths = [bar.get_width() for bar in axes.patches]
    assert sum(widths[:3]) == pytest.approx(1) and words(axes)[:3] == ["60", "10", "30"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["win", "tie", "loss"]
    assert tuple(axes.get_lines()[0].get_xdata()) == (0.5, 0.7) and "(%)" in axes.get_xlabel()


def test_groups_hide_panels_that_are_left_over():
    made = drawn(results.plot_groups({"set": INTERVALS, "add": INTERVALS}, "recall@10", chance=0.01, title="t"))
    assert [axes.get_visible() for axes in made.axes] == [True, True, False]
    assert row_names(made.axes[0]) == ORDER and made.axes[1].get_title(loc="left") == "add"
    assert made.get_supxlabel() == "R@10 (%)"


def test_rank_curves_count_what_is_found():
    ranks = {name: np.array([[1, 2, 4, 0]]) for name in ("a", "sum", "b", "c", "d", "chance")}
    (axes,) = drawn(results.plot_rank_curves(ranks, 10, title="t")).axes
    curve = axes.get_lines()[0]
    found = dict(zip(curve.get_xdata(), curve.get_ydata(), strict=True))
    assert [found[k] for k in (1, 2, 3, 4, 10)] == [0.25, 0.5, 0.5, 0.75, 0.75], "what is not ranked is never found"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "sum", "b", "c", "other methods", "chance"]
    assert len(axes.get_lines()) == 6, "a method that is not highlighted is drawn all the same"
    chance = axes.get_lines()[-1]
    np.testing.assert_allclose(chance.get_ydata(), np.asarray(chance.get_xdata()) / 10)


def test_two_splits_show_methods_that_both_have():
    other = {name: INTERVALS[name] for name in ("sum", "ours")}
    (axes,) = drawn(results.plot_two_splits(INTERVALS, other, ("seen", "new"), "recall@10", title="t")).axes
    assert row_names(axes) == ["ours", "sum"] and len(axes.collections) == 4
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["seen", "new"]
