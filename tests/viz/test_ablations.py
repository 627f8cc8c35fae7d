"""The page of ablations: a row per part, grouped by notebook, arrows for what lies beyond the axis."""

import numpy as np
import pandas as pd
import pytest

from cirlib.ablations import COLUMNS
from cirlib.types import InputError
from cirlib.viz.ablations import plot_ablations
from cirlib.viz.style import MUTED, ROLES


def test_rows_stand_below_their_notebook():
    rows = [
        ("04_pix2key", "anchors", "recall@50", 0.74, 0.71, 0.77, "higher"),
        ("04_pix2key", "MMR", "recall@10", -0.01, -0.03, 0.01, "inconclusive"),
        ("06_dqe_cir", "margin", "recall@10", -0.05, -0.08, -0.02, "lower"),
    ]
    made = plot_ablations(pd.DataFrame(rows, columns=list(COLUMNS)), titles=["04 Pix2Key", "06 DQE-CIR"], reach=0.2)
    made.draw_without_rendering()
    axes = made.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["anchors   (R@50)", "MMR   (R@10)", "margin   (R@10)"]
    arrow, undecided, lower = (c.get_offsets()[0].tolist() for c in axes.collections)
    assert arrow[0] == pytest.approx(0.197) and undecided[0] == -0.01 and lower[0] == -0.05
    assert arrow[1] < undecided[1] < lower[1]
    assert [line.get_color() for line in axes.lines[:3]] == [ROLES["composed"], MUTED, ROLES["wrong"]]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [0.2, 0.2])
    said = [text.get_text() for text in axes.texts]
    assert "04 Pix2Key" in said and "+74.0 [+71.0, +77.0]" in said


def test_nothing_to_show_is_refused():
    with pytest.raises(InputError, match="one row or more"):
        plot_ablations(pd.DataFrame([], columns=list(COLUMNS)))
