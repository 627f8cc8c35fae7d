"""The figures of DQE-CIR hold what they were given."""

import numpy as np
import pytest

from cirlib.evaluation.intervals import Interval
from cirlib.types import InputError
from cirlib.viz import dqe_cir, dqe_cir_settings
from cirlib.viz.dqe_cir import Candidate

CANDIDATES = [
    Candidate("t", 0.8, "target"),
    Candidate("A", 0.84, "right", "a twin"),
    Candidate("B", 0.74, "wrong", "another sleeve"),
    Candidate("C", 0.2, "wrong"),
]


def around(mean, half=0.1):
    return Interval(mean, mean - half, mean + half)


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_suppression_pushes_the_right_pictures_in_each_row():
    made = dqe_cir.plot_suppression(CANDIDATES, 0.03, 0.1)
    made.draw_without_rendering()
    (axes,) = made.axes
    arrows = [note for note in axes.texts if not note.get_text()]
    assert [(note.xyann[0], round(note.xyann[1])) for note in arrows] == [(0.84, 0), (0.74, 0), (0.2, 0), (0.84, 1), (0.74, 2)]
    assert all(note.xy[0] < note.xyann[0] for note in arrows)
    assert {"t", "A", "B", "C"} <= set(texts(axes)) and any("a twin" in text and "another sleeve" in text for text in texts(axes))


@pytest.mark.parametrize(
    ("candidates", "low"), [(CANDIDATES[1:], 0.03), (CANDIDATES, 0.2), ([*CANDIDATES, Candidate("x", 0, "easy")], 0.03)]
)
def test_suppression_wants_one_target_and_ordered_bounds(candidates, low):
    with pytest.raises(InputError, match="one target"):
        dqe_cir.plot_suppression(candidates, low, 0.1)


def test_gaps_above_zero_are_counted_and_zones_measured():
    made = dqe_cir.plot_gaps(np.array([-0.1, 0.0, 0.02, 0.05, 0.06, 0.3]), {"midzone": (0.03, 0.1)}, most=0.5)
    made.draw_without_rendering()
    curve, bars = made.axes
    assert sum(patch.get_height() for patch in curve.patches) == pytest.approx(1)
    assert curve.get_title(loc="left").startswith("33.3%")
    assert texts(bars) == ["0.030 to 0.100: 50.0%"] and bars.get_yticklabels()[0].get_text() == "mid-zone"
    for gaps, zones in (([0.0], {"a": (0, 1)}), ([0.1], {"a": (1, 0)})):
        with pytest.raises(InputError, match="above 0"):
            dqe_cir.plot_gaps(np.array(gaps), zones)


def test_mechanisms_have_a_panel_each_and_a_line_per_rule():
    curves = {"wrong": {"random": {0: around(0.2), 5: around(0.3)}, "midzone": {5: around(0.1)}}, "size": {"midzone": {0: around(30)}}}
    made = dqe_cir.plot_mechanisms(curves, {"wrong": "share (%)", "size": "pictures"}, columns=2)
    made.draw_without_rendering()
    wrong, size = made.axes
    np.testing.assert_allclose(wrong.lines[0].get_ydata(), [0.2, 0.3])
    assert wrong.get_ylabel() == "share (%)" and "%" in wrong.get_yticklabels()[0].get_text()
    assert "%" not in size.get_yticklabels()[0].get_text() and size.lines[1].get_xdata().tolist() == [0]
    assert [text.get_text() for text in made.legends[0].get_texts()] == ["random", "mid-zone"]
    with pytest.raises(InputError, match="each with its unit"):
        dqe_cir.plot_mechanisms(curves, {"wrong": "share (%)"})


def test_gates_show_every_query_and_the_mean():
    gates = {"color": {"color": np.array([0.2, np.nan, 0.4]), "neither": np.array([])}}
    made = dqe_cir.plot_gates(gates, {"color": {"color": around(0.3)}})
    made.draw_without_rendering()
    (axes,) = made.axes
    dots, mean = axes.collections[0], axes.collections[1]
    np.testing.assert_allclose(dots.get_offsets()[:, 1], [0.2, 0.4])
    np.testing.assert_allclose(mean.get_offsets(), [[0, 0.3]])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["color\nn = 2", "neither\nn = 0"]
    with pytest.raises(InputError, match="one attribute"):
        dqe_cir.plot_gates({}, {})


def test_grid_writes_value_and_interval_and_frames_the_best():
    values = {"none": {"random": around(0.3), "midzone": around(0.5)}, "gated": {"random": around(0.4)}}
    made = dqe_cir_settings.plot_grid(values, "R@10")
    made.draw_without_rendering()
    axes, bar = made.axes
    assert texts(axes) == ["30.0\n[20.0, 40.0]", "50.0\n[40.0, 60.0]", "40.0\n[30.0, 50.0]"]
    (frame,) = axes.patches
    assert frame.get_x() + frame.get_width() / 2 == pytest.approx(1) and frame.get_y() + frame.get_height() / 2 == pytest.approx(0)
    assert bar.get_ylabel() == "R@10 (%)"
    with pytest.raises(InputError, match="no cell"):
        dqe_cir_settings.plot_grid({"none": {}}, "R@10")


def test_sensitivity_fills_what_was_chosen_and_draws_levels():
    panels = {"bounds": {"a": around(0.3), "b": around(0.4)}, "rebuilds": {"6": around(0.4)}}
    made = dqe_cir_settings.plot_sensitivity(panels, "R@10", chosen={"bounds": "b"}, reference={"QuRe": around(0.35)})
    made.draw_without_rendering()
    bounds, rebuilds = made.axes
    points = [tuple(points.get_facecolor()[0][:3]) for points in bounds.collections]
    assert points[0] == (1, 1, 1) != points[1]
    np.testing.assert_allclose([points.get_offsets()[0][1] for points in bounds.collections], [0.3, 0.4])
    assert made.legends[0].get_texts()[0].get_text() == "QuRe" and len(rebuilds.collections) == 1
    with pytest.raises(InputError, match="two references at most"):
        dqe_cir_settings.plot_sensitivity(panels, "R@10", reference=dict.fromkeys("abc", around(0.1)))
