"""Looks along trainings: a line and a ring per seed, levels beside them."""

import pytest

from cirlib.types import InputError
from cirlib.viz.looks import plot_looks


def test_every_seed_has_a_line_and_a_ring_at_its_earliest_best():
    curves = {"a": [{0: 0.1, 10: 0.4, 20: 0.4}, {20: 0.2, 0: 0.3}], "b": [{0: 0.5}]}
    fig = plot_looks(curves, "R@10 on val", levels={"sum": 0.6})
    axes = fig.axes[0]
    rings = sorted((line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_markerfacecolor() == "none")
    assert rings == [(0, 0.3), (0, 0.5), (10, 0.4)]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["sum, 60 %", "a", "b"]
    assert axes.get_ylabel() == "R@10 on val"


@pytest.mark.parametrize(("curves", "levels"), [({}, {}), ({"a": [{}]}, {}), ({"a": [{0: 0.1}]}, dict.fromkeys("wxyz", 0.1))])
def test_nothing_to_draw_is_refused(curves, levels):
    with pytest.raises(InputError, match="at least one curve"):
        plot_looks(curves, "R@10", levels=levels)
