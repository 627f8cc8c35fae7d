"""The curves of stage 2 hold what they were given."""

import numpy as np
import pytest

from cirlib.evaluation.intervals import Interval
from cirlib.types import InputError
from cirlib.viz.composing import plot_triplet_counts, plot_triplet_quality

LOW, HIGH = Interval(0.4, 0.35, 0.45), Interval(0.6, 0.55, 0.65)


def test_counts_are_points_on_a_logarithmic_axis_with_their_intervals():
    made = plot_triplet_counts({"exact": {100: LOW, 1000: HIGH}, "template": {1000: LOW}}, "R@10", levels={"stage 1": LOW})
    made.draw_without_rendering()
    (axes,) = made.axes
    assert axes.get_xscale() == "log" and [tick.get_text() for tick in axes.get_xticklabels()] == ["100", "1,000"]
    lines = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    assert set(lines) == {"stage 1", "exact", "template"}
    np.testing.assert_allclose(lines["exact"].get_ydata(), [0.4, 0.6])
    bars = [line.get_ydata() for line in axes.lines if line.get_label().startswith("_")]
    np.testing.assert_allclose(bars, [[0.35, 0.45], [0.55, 0.65], [0.35, 0.45]])
    with pytest.raises(InputError, match="one point"):
        plot_triplet_counts({"exact": {}}, "R@10")


def test_dials_are_lines_in_order_of_quality_and_makers_are_marks():
    made = plot_triplet_quality({"wrong targets": [(1.0, HIGH), (0.0, LOW)]}, {"template": (0.1, LOW)}, "R@10", levels={"stage 1": LOW})
    made.draw_without_rendering()
    (axes,) = made.axes
    lines = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    np.testing.assert_allclose(lines["wrong targets"].get_xdata(), [0, 1])
    np.testing.assert_allclose(lines["wrong targets"].get_ydata(), [0.4, 0.6])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["stage 1", "wrong targets", "template"]
    np.testing.assert_allclose(axes.collections[-1].get_offsets(), [[0.1, 0.4]])
    with pytest.raises(InputError, match="at least one"):
        plot_triplet_quality({}, {}, "R@10")
