"""Figures of the evaluation hold what they were given."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from cirlib.data.atelier import load_atelier
from cirlib.evaluation.intervals import Interval
from cirlib.types import InputError
from cirlib.viz import evaluation


def found(mean):
    return Interval(mean, mean - 0.04, mean + 0.06)


CELLS = {"set\n(90)": {"ours": found(0.8), "sum": found(0.5)}, "open\n(9)": {"ours": found(0.3), "sum": found(0.7)}}


def drawn(made):
    made.draw_without_rendering()
    return made


def test_a_heat_map_has_a_number_per_cell_and_frames_the_best_of_each_column():
    made = drawn(evaluation.plot_heat(CELLS, "recall@10", title="t"))
    axes = made.axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), [[0.8, 0.3], [0.5, 0.7]])
    assert [text.get_text() for text in axes.texts] == ["80 ", "±5", "50 ", "±5", "30 ", "±5", "70 ", "±5"]
    frames = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [(round(p.get_x() + 0.47), round(p.get_y() + 0.45)) for p in frames] == [(0, 0), (1, 1)]
    assert made.axes[1].get_ylabel() == "R@10 (%)"
    for wrong in ({}, {"a": {}}, {"a": {"x": found(1)}, "b": {"y": found(1)}}):
        with pytest.raises(InputError, match="the same methods"):
            evaluation.plot_heat(wrong, "recall@10")


def test_conditions_have_a_marker_and_a_line_each():
    rows = {"ours": {"as asked": found(0.8), "swapped": found(0.3)}, "text only": {"as asked": found(0.1)}}
    (axes,) = drawn(evaluation.plot_intervals_by_condition(rows, title="t", x="R@10 (%)", chance=0.02)).axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["ours", "text only"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["as asked", "swapped"]
    assert [round(points.get_offsets()[0][0], 3) for points in axes.collections] == [0.8, 0.3, 0.1]


def test_shares_run_along_the_axis_with_their_intervals():
    (axes,) = drawn(evaluation.plot_over_share({"Combiner": {0.0: found(0.7), 0.5: found(0.4)}}, x="share (%)", y="R@10 (%)")).axes
    line = axes.lines[0]
    np.testing.assert_allclose(line.get_xydata(), [[0.0, 0.7], [0.5, 0.4]])
    assert axes.get_ylim()[0] == 0 and axes.get_xlabel() == "share (%)"


def test_duels_show_both_lists_and_outline_what_is_correct():
    benchmark = load_atelier("val", 64, 6, size=32)
    queries = benchmark.queries[:2]
    wrong = {q.id: next(i for i in benchmark.gallery.ids if i not in (*q.positives, q.reference)) for q in queries}
    results = {"A": [[q.target, wrong[q.id]] for q in queries], "B": [[wrong[q.id]] * 2 for q in queries]}
    made = drawn(evaluation.duel_panels(benchmark, queries, results, ["rank 1 and 9"] * 2))
    axes = made.axes[0]
    assert len(axes.images) == 2 + 4 + 4 and len([p for p in axes.patches if isinstance(p, Rectangle)]) == 2
    words = [text.get_text() for text in axes.texts]
    assert {"A", "B", "reference", "rank 1 and 9"} <= set(words) and words.count("target") == 2
    for bad in ({"A": results["A"]}, {"A": results["A"], "B": []}):
        with pytest.raises(InputError, match="give two methods"):
            evaluation.duel_panels(benchmark, queries, bad, ["", ""])


def test_nested_intervals_become_rows():
    table = evaluation.intervals_frame(CELLS, "kind", "method")
    assert list(table.columns) == ["kind", "method", "mean", "low", "high"] and len(table) == 4
    assert table.iloc[2].tolist() == ["open\n(9)", "ours", 0.3, 0.26, 0.36]
