"""The figures of recorded benchmarks hold the recorded numbers."""

import numpy as np
import pytest

from cirlib.types import InputError
from cirlib.viz.kernels import entry_bytes, plot_beside_floor, plot_roofline, search_size


def row(case, provider, p50_ms, floor_ms=None, bench="search", device="cpu", **extra):
    told = {"bench": bench, "case": case, "provider": provider, "p50_ms": p50_ms, "p20_ms": p50_ms and 0.9 * p50_ms, "floor_ms": floor_ms}
    return told | {"p80_ms": p50_ms and 1.2 * p50_ms, "device": device, "extra": extra}


def search(queries, provider, p50_ms, floor_ms, gallery=1000):
    return row(f"even-q{queries}", provider, p50_ms, floor_ms, queries=queries, gallery=gallery, dim=100)


ROWS = [
    *(search(1, name, time, 0.04) for name, time in (("certified", 0.02), ("faiss", 0.08))),  # 400,000 bytes: 10 GB/s
    *(search(64, name, time, 0.128) for name, time in (("certified", 0.064), ("faiss", 0.256))),  # 12.8 million operations: 100 Gop/s
    row("pool-10", "cirlib", 3.0, bench="mmr"),
    row("pool-10", "loop", None, bench="mmr"),
]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_times_stand_beside_their_floor():
    made = plot_beside_floor(ROWS, ("search", "mmr", "absent"))
    made.draw_without_rendering()
    first, second = made.axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["even-q1", "even-q64"]
    drawn = {
        points.get_label(): points.get_offsets().data.tolist() for points in first.collections if not points.get_label().startswith("_")
    }
    assert drawn["certified"] == [[0.02, 0], [0.064, 1]] and drawn["faiss"] == [[0.08, 0], [0.256, 1]]
    floors = next(lines for lines in first.collections if lines.get_label() == "floor")
    assert [segment[0][0] for segment in floors.get_segments()] == [0.04, 0.128]
    assert second.get_title(loc="left") == "mmr" and second.get_legend_handles_labels()[1] == ["cirlib"]  # what did not run is left out


def test_the_roofline_has_the_roofs_of_the_floors():
    made = plot_roofline(ROWS)
    made.draw_without_rendering()
    (axes,) = made.axes
    assert {"fp32 arithmetic: 100 Gop/s", "memory:\n10 GB/s"} == set(texts(axes))
    ours, faiss, roof = axes.lines
    np.testing.assert_allclose(ours.get_xydata(), [[2, 10], [128, 200]])  # a byte an entry: above the fp32 roof
    np.testing.assert_allclose(faiss.get_xydata(), [[0.5, 2.5], [32, 50]])
    assert max(roof.get_ydata()) == pytest.approx(100)


def test_a_gpu_case_tells_its_size_by_name():
    half = row("search-64x1000x100-k10", "cirlib-half", 1.0, 0.5, bench="gpu", device="cuda")
    assert search_size(half) == (64, 1000, 100) and search_size(ROWS[-1]) is None
    assert [entry_bytes(one) for one in (half, half | {"provider": "cirlib-int8"}, ROWS[0], ROWS[1])] == [2, 1, 1, 4]
    made = plot_roofline([half, *ROWS], device="cuda")
    assert any(text.startswith("16-bit") for text in texts(made.axes[0]))


def test_nothing_to_draw_is_said():
    with pytest.raises(InputError, match="no row"):
        plot_beside_floor(ROWS, ("slots",))
    with pytest.raises(InputError, match="no search"):
        plot_roofline(ROWS, cases="none")
