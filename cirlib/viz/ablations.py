"""Parts of methods on one page: what each adds or costs, as paired differences sorted by notebook."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cirlib.types import InputError
from cirlib.viz.results import metric_name
from cirlib.viz.style import INK, MUTED, ROLES, figure, house_style, label

_MARKS = {"higher": (ROLES["composed"], "o"), "lower": (ROLES["wrong"], "X"), "inconclusive": (MUTED, "o")}
_STEP = 0.235  # inches a row
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}  # lines behind a title would strike it out


@house_style()
def plot_ablations(table: pd.DataFrame, *, titles: Sequence[str] = (), reach: float = 0.2) -> Figure:
    """Every part of every method, with minus without: a row each, grouped by notebook, with its interval and its numbers in points.

    Blue dots raise their metric, orange crosses lower it, hollow grey ones are undecided. What lies beyond the axis is drawn as an arrow at
    its end.

    Args:
        table: From `cirlib.ablations.ablation_table`.
        titles: Of the notebooks, in order; by default their names.
        reach: Half the width of the axis, as a fraction.

    Raises:
        InputError: If the table is empty, or titles do not fit.
    """
    notebooks = list(dict.fromkeys(table["notebook"]))
    if not notebooks or (titles and len(titles) != len(notebooks)):
        raise InputError(
            f"{len(table)} rows of {len(notebooks)} notebooks and {len(titles)} titles given; one row or more, a title a notebook"
        )
    lines = len(table) + 1.35 * len(notebooks)
    made, (axes,) = figure(width=8.2, height=0.75 + _STEP * lines)
    at, ticks, names = 0.0, [], []
    for notebook, title in zip(notebooks, titles or notebooks, strict=True):
        axes.text(-reach, at, title, fontsize=9.5, fontweight="bold", color=INK, va="center", bbox=PAPER)
        at += 1
        for row in table[table["notebook"] == notebook].itertuples():
            _row(axes, row, at, reach)
            ticks.append(at)
            names.append(f"{row.part}   ({metric_name(row.metric)})")
            at += 1
        at += 0.35
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_yticks(ticks, names)
    axes.set_ylim(at - 0.5, -0.8)
    axes.set_xlim(-reach, reach)
    axes.set_xticks(np.linspace(-reach, reach, 9), [f"{100 * x:+.0f}" for x in np.linspace(-reach, reach, 9)])
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    label(axes, x="with minus without (points, 95 % interval)")
    return made


def _row(axes: object, row: object, at: float, reach: float) -> None:
    color, mark = _MARKS[row.verdict]
    low, high = (float(np.clip(value, -reach, reach)) for value in (row.low, row.high))
    axes.plot([low, high], [at, at], color=color, linewidth=2.4, alpha=0.6, solid_capstyle="round")
    if abs(row.mean) <= reach:
        face = "white" if row.verdict == "inconclusive" else color
        axes.scatter(row.mean, at, s=32, marker=mark, color=face, edgecolor=color, linewidth=1.4, zorder=3)
    else:
        axes.scatter(np.sign(row.mean) * 0.985 * reach, at, s=46, marker=">" if row.mean > 0 else "<", color=color, zorder=3)
    text = f"{100 * row.mean:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"
    axes.annotate(text.replace("-", "\N{MINUS SIGN}"), (1.01, at), xycoords=("axes fraction", "data"), va="center", fontsize=8.5, color=INK)
