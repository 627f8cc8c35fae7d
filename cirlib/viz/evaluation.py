"""Figures of the evaluation: recall by kind of edit, two methods on the queries that divide them, and what probes do to recall."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cirlib.evaluation.intervals import Interval
from cirlib.types import Benchmark, InputError, Query
from cirlib.viz.pictures import CORRECT, GAP, LINE, board, place_picture, write_text
from cirlib.viz.results import CONTROLS, metric_name
from cirlib.viz.style import INK, MUTED, PALETTE, ROLES, SEQUENTIAL, figure, house_style, label, percent_axis


@house_style()
def plot_heat(cells: Mapping[str, Mapping[str, Interval]], metric: str, *, title: str = "") -> Figure:
    """One metric of every method (rows) for every group of queries (columns); the best of a column in a frame.

    Args:
        cells: Name of a column, with its number of queries, to the interval of each method, as fractions; the same methods in each.
        metric: What is shown. A number in a cell is its mean in percent, a small one half the width of its interval.
        title: Of the axes.

    Raises:
        InputError: If there is no column, or columns hold different methods.
    """
    names = list(next(iter(cells.values()), {}))
    if not names or any(list(found) != names for found in cells.values()):
        raise InputError(f"{len(cells)} columns with different or no methods; give the same methods in each column")
    table = np.array([[found[name].mean for found in cells.values()] for name in names])
    made, (axes,) = figure(width=2.6 + 1.0 * len(cells), height=1.2 + 0.30 * len(names))
    shown = axes.imshow(table, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto")
    best = table.max(axis=0)
    for column, found in enumerate(cells.values()):
        for row, name in enumerate(names):
            half = 50 * (found[name].high - found[name].low)
            ink = INK if table[row, column] > 0.6 else "white"
            text = f"{100 * table[row, column]:.0f} "
            axes.annotate(text, (column, row), ha="right", va="center", fontsize=9, color=ink)
            axes.annotate(
                f"±{half:.0f}", (column, row), ha="left", va="center", fontsize=7, color=ink, xytext=(1, -1), textcoords="offset points"
            )
            if table[row, column] == best[column]:
                axes.add_patch(_frame(column, row))
    axes.set_xticks(range(len(cells)), list(cells))
    axes.set_yticks(range(len(names)), names)
    for tick, name in zip(axes.get_yticklabels(), names, strict=True):
        tick.set_style("italic" if name in CONTROLS else "normal")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    label(axes, title)
    bar = made.colorbar(shown, ax=axes, fraction=0.03, pad=0.02)
    bar.set_label(f"{metric_name(metric)} (%)")
    bar.outline.set_visible(False)
    percent_axis(bar.ax.yaxis)
    return made


@house_style()
def plot_intervals_by_condition(
    found: Mapping[str, Mapping[str, Interval]], *, title: str = "", x: str = "", chance: float | None = None
) -> Figure:
    """One number of several methods (rows) under several conditions (colours and markers), with intervals.

    Args:
        found: Method to the interval of each condition, as fractions; a method may lack a condition.
        title: Of the axes.
        x: What is shown, with its unit.
        chance: Level of a random order, if it is to be marked.
    """
    conditions = list(dict.fromkeys(name for row in found.values() for name in row))
    step = min(0.2, 0.7 / len(conditions))
    made, (axes,) = figure(height=1.2 + len(found) * max(0.4, 0.16 * len(conditions)))
    for row, values in enumerate(found.values()):
        for place, name in enumerate(conditions):
            if name in values:
                y, color = row + step * (place - (len(conditions) - 1) / 2), PALETTE[place % len(PALETTE)]
                axes.plot([values[name].low, values[name].high], [y, y], color=color, linewidth=2.2, solid_capstyle="round", zorder=2)
                axes.scatter(values[name].mean, y, s=36, color=color, marker="osD^vP"[place % 6], zorder=3)
    for place, name in enumerate(conditions):
        axes.plot([], [], color=PALETTE[place % len(PALETTE)], marker="osD^vP"[place % 6], linewidth=2.2, label=name)
    if chance is not None:
        axes.axvline(chance, color=ROLES["chance"], linestyle="--", linewidth=1.2, zorder=1)
    axes.set_yticks(range(len(found)), list(found))
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    for row in range(1, len(found)):
        axes.axhline(row - 0.5, color=MUTED, linewidth=0.4)
    label(axes, title, x)
    percent_axis(axes.xaxis)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return made


@house_style()
def plot_over_share(curves: Mapping[str, Mapping[float, Interval]], *, title: str = "", x: str = "", y: str = "") -> Figure:
    """Numbers against a share from 0 to 1, with their intervals as bars.

    Args:
        curves: Name of a line to share and interval, as fractions.
        title: Of the axes.
        x: What the share is of, with its unit.
        y: What is measured, with its unit.
    """
    made, (axes,) = figure(height=3.2)
    for place, (name, points) in enumerate(curves.items()):
        shares, values = list(points), list(points.values())
        ends = [[value.mean - value.low for value in values], [value.high - value.mean for value in values]]
        marker = "osD^vP"[place % 6]
        axes.errorbar(
            shares, [v.mean for v in values], yerr=ends, color=PALETTE[place % len(PALETTE)], marker=marker, capsize=3, label=name
        )
    axes.set_ylim(0, None)
    label(axes, title, x, y)
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return made


def duel_panels(
    benchmark: Benchmark,
    queries: Sequence[Query],
    results: Mapping[str, Sequence[Sequence[str]]],
    notes: Sequence[str],
    *,
    cell: float = 0.8,
) -> Figure:
    """One row per query: reference, text, and the first results of two methods side by side, correct ones outlined.

    Args:
        benchmark: Where the pictures come from.
        queries: One per row.
        results: The two methods to their image ids per query, best first; the same number in each row.
        notes: A small line below each text.
        cell: Side of a picture in inches.

    Raises:
        InputError: If there are not two methods, or numbers of queries, results and notes differ.
    """
    sizes = [len(lists) for lists in results.values()]
    if len(results) != 2 or not queries or {len(queries), len(notes)} != set(sizes):
        raise InputError(f"{sizes} results and {len(notes)} notes for {len(queries)} queries; give two methods and one of each per query")
    shown = max(len(ids) for lists in results.values() for ids in lists)
    words = 2.8  # inches
    block = shown * (cell + GAP) + 0.25
    first, step, head = cell + words + 0.3, cell + LINE + 0.05, 0.25
    made, axes = board(first + 2 * block - 0.25, head + len(queries) * step - 0.05)
    for left, text in zip((0, cell + 0.15, first, first + block), ("reference", "modification text", *results), strict=True):
        axes.text(left, 0.1, text, ha="left", va="center", fontsize=8.5, color=MUTED)
    for row, (query, note) in enumerate(zip(queries, notes, strict=True)):
        top = head + row * step
        place_picture(axes, benchmark.references.open(query.reference), 0, top, cell)
        write_text(axes, query.text, note, cell + 0.15, top + cell / 2, words)
        for number, lists in enumerate(results.values()):
            for place, image_id in enumerate(lists[row]):
                left = first + number * block + place * (cell + GAP)
                place_picture(axes, benchmark.gallery.open(image_id), left, top, cell, correct=image_id in query.positives)
                if image_id in query.positives:
                    word = "target" if image_id == query.positives[0] else "correct"
                    axes.text(left + cell / 2, top + cell + 0.02, word, ha="center", va="top", fontsize=7, color=CORRECT, weight="bold")
    return made


def intervals_frame(found: Mapping[str, Mapping[str, Interval]], row: str, column: str) -> pd.DataFrame:
    """Nested intervals as a flat table: `row`, `column`, mean, low, high; fractions."""
    rows = [(name, part, i.mean, i.low, i.high) for name, values in found.items() for part, i in values.items()]
    return pd.DataFrame(rows, columns=[row, column, "mean", "low", "high"])


def _frame(column: int, row: int) -> Rectangle:
    return Rectangle((column - 0.47, row - 0.45), 0.94, 0.9, fill=False, edgecolor=ROLES["wrong"], linewidth=1.8, zorder=3)
