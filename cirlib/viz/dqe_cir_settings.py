"""Figures of settings side by side: a grid of two choices as a heat map, and how one metric follows the values of a setting."""

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cirlib.evaluation.intervals import Interval
from cirlib.types import InputError
from cirlib.viz.dqe_cir import rule_title
from cirlib.viz.style import INK, PALETTE, ROLES, SEQUENTIAL, figure, house_style, label, percent_axis

POINT, LEVELS = ROLES["composed"], ((PALETTE[2], "--"), (PALETTE[4], ":"))


@house_style()
def plot_grid(values: Mapping[str, Mapping[str, Interval]], metric: str, *, row_title: str = "attribute weights") -> Figure:
    """A heat map of settings with the value and its interval in every cell; the best cell is framed.

    Args:
        values: Row to column to the interval, as fractions; a missing cell stays white.
        metric: What is shown; written on the colour bar with "(%)".
        row_title: What the rows are.

    Raises:
        InputError: If there is no cell.
    """
    columns = list(dict.fromkeys(name for row in values.values() for name in row))
    if not columns:
        raise InputError("no cell to draw; give one row with one column or more")
    table = np.array([[row[name].mean if name in row else np.nan for name in columns] for row in values.values()])
    made, (axes,) = figure(width=1.9 + 1.45 * len(columns), height=1.1 + 0.78 * len(values))
    scale = Normalize(np.nanmin(table), max(np.nanmax(table), np.nanmin(table) + 1e-9))
    drawn = axes.imshow(table, cmap=SEQUENTIAL, norm=scale, aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        if np.isfinite(value):
            found = list(values.values())[row][columns[column]]
            ink = "white" if _luminance(drawn.cmap(scale(value))) < 0.5 else INK
            text = f"{100 * found.mean:.1f}\n[{100 * found.low:.1f}, {100 * found.high:.1f}]"
            axes.text(column, row, text, ha="center", va="center", fontsize=9, color=ink, linespacing=1.35)
    best = np.unravel_index(np.nanargmax(table), table.shape)
    axes.add_patch(Rectangle((best[1] - 0.48, best[0] - 0.47), 0.96, 0.94, fill=False, edgecolor=ROLES["wrong"], linewidth=2.6))
    axes.set_xticks(range(len(columns)), [rule_title(name) for name in columns])
    axes.set_yticks(range(len(values)), list(values))
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    label(axes, x="negatives", y=row_title)
    bar = made.colorbar(drawn, ax=axes, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label(f"{metric} (%)")
    percent_axis(bar.ax.yaxis)
    return made


@house_style()
def plot_sensitivity(
    panels: Mapping[str, Mapping[str, Interval]],
    metric: str,
    *,
    chosen: Mapping[str, str] | None = None,
    reference: Mapping[str, Interval] | None = None,
) -> Figure:
    """One metric under several values of a setting, a panel per setting, on a common scale.

    Args:
        panels: Title of a setting ("bounds of the gap", "rebuilds") to its values to intervals, as fractions, in the order to draw.
        metric: What is shown.
        chosen: Value of each setting that the main results use; drawn filled, the others hollow.
        reference: At most two results to compare with ("QuRe's rule", "adaptive"), as level lines with bands.

    Raises:
        InputError: If there is nothing to draw, or there are more than two references.
    """
    reference, chosen = reference or {}, chosen or {}
    if not panels or not all(panels.values()) or len(reference) > 2:
        raise InputError(
            f"{len(panels)} settings and {len(reference)} references given; one setting or more with values, two references at most"
        )
    widths = [0.8 + 0.75 * len(values) for values in panels.values()]
    made, all_axes = figure(len(panels), width=max(6.0, sum(widths) + 0.6), height=3.3, sharey=True, width_ratios=widths)
    for axes, (title, values) in zip(all_axes, panels.items(), strict=True):
        for (name, level), (color, style) in zip(reference.items(), LEVELS, strict=False):
            axes.axhspan(level.low, level.high, color=color, alpha=0.12, linewidth=0, zorder=0)
            axes.axhline(level.mean, color=color, linestyle=style, linewidth=1.4, zorder=1, label=name)
        for place, (name, found) in enumerate(values.items()):
            filled = chosen.get(title) == name
            axes.plot([place, place], [found.low, found.high], color=POINT, linewidth=2.6, solid_capstyle="round", zorder=2)
            axes.scatter(place, found.mean, s=44, color=POINT if filled else "white", edgecolor=POINT, linewidth=1.6, zorder=3)
        axes.set_xticks(range(len(values)), list(values))
        axes.set_xlim(-0.5, len(values) - 0.5)
        axes.grid(visible=False, axis="x")
        label(axes, title)
    percent_axis(all_axes[0].yaxis)
    all_axes[0].set_ylabel(f"{metric} (%)")
    if reference:
        handles, texts = all_axes[0].get_legend_handles_labels()
        made.legend(handles, texts, loc="outside lower center", ncols=2)
    return made


def _luminance(color: tuple[float, ...]) -> float:
    """How light a colour looks, in [0, 1]."""
    return float(np.dot(color[:3], (0.2126, 0.7152, 0.0722)))
