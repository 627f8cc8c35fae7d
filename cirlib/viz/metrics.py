"""Figures about metrics and their uncertainty: tie rules, protocol choices, diversity, bootstrap, intervals, how many queries it takes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from cirlib.evaluation.intervals import Interval
from cirlib.viz.style import INK, MUTED, PALETTE, chance_line, color_of, figure, house_style, label, percent_axis

_TIE_COLORS = (PALETTE[3], PALETTE[0], PALETTE[1], PALETTE[2])


@house_style()
def plot_tie_rules(curves: Mapping[str, Sequence[float]], cutoffs: Sequence[int], gallery: int) -> Figure:
    """Recall of one ranking under several tie rules, beside chance.

    Args:
        curves: Name of the rule to its recall at each cut-off, as fractions.
        cutoffs: Cut-offs K.
        gallery: How many pictures are ranked; chance is K / gallery.
    """
    made, (axes,) = figure(height=3.6)
    cutoffs = np.asarray(cutoffs)
    for (name, recall), color in zip(curves.items(), _TIE_COLORS, strict=False):
        axes.plot(cutoffs, recall, color=color, linewidth=3, alpha=0.75, label=name, clip_on=False)
    axes.plot(cutoffs, cutoffs / gallery, color=INK, linestyle=(0, (4, 4)), linewidth=1.1, label="chance, K / gallery", zorder=3)
    label(axes, "One collapsed model, three tie rules", "cut-off K (pictures)", "Recall@K (%)")
    axes.set_ylim(0, 1.05)
    axes.set_xlim(0, cutoffs.max())
    percent_axis(axes.yaxis)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return made


@house_style()
def plot_changes(pairs: Mapping[str, tuple[float, float]], ends: tuple[str, str], *, title: str = "", x: str = "") -> Figure:
    """Two values of each row and the way between them: what one choice of protocol does to a number.

    Args:
        pairs: Row name to its two values, as fractions; drawn top to bottom.
        ends: What the first and the second value are.
        title: Of the axes.
        x: Name of the metric with its unit.
    """
    made, (axes,) = figure(height=0.9 + 0.45 * len(pairs))
    for row, (first, second) in enumerate(pairs.values()):
        axes.plot([first, second], [row, row], color=MUTED, linewidth=1.5, zorder=1)
        axes.scatter(first, row, color="white", edgecolor=PALETTE[0], linewidth=1.6, s=46, zorder=2, label=ends[0] if row == 0 else None)
        axes.scatter(second, row, color=PALETTE[0], s=46, zorder=3, label=ends[1] if row == 0 else None)
        change = 100 * (second - first)
        beyond = (max(first, second), row)
        axes.annotate(f"{change:+.1f}", beyond, xytext=(9, 0), textcoords="offset points", va="center", fontsize=9)
    _name_rows(axes, list(pairs))
    label(axes, title, x)
    _room_right(axes)
    percent_axis(axes.xaxis)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return made


@house_style()
def plot_diversity(points: Mapping[str, tuple[float, float]], k: int) -> Figure:
    """How right against how varied: AC_strict@K and ILD@K of several rankings.

    Args:
        points: Name to (share of the top K that satisfies the edit, mean attribute distance within the top K), as fractions.
        k: Cut-off.
    """
    made, (axes,) = figure(height=3.6)
    for position, (name, (right, varied)) in enumerate(points.items()):
        marker = "X" if name == "chance" else "o"
        axes.scatter(right, varied, s=70, color=color_of(name, position), marker=marker, zorder=3)
        axes.annotate(name, (right, varied), xytext=(8, 5), textcoords="offset points", fontsize=9)
    label(axes, "A random list is the most varied one", f"AC_strict@{k}: top {k} that satisfy the whole edit (%)", f"ILD@{k} (%)")
    axes.margins(x=0.16, y=0.18)
    axes.set_xlim(0, None)
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    return made


@house_style()
def plot_bootstrap(
    samples: Mapping[str, np.ndarray], intervals: Mapping[str, Interval], x: Sequence[str] | None = None, *, zero: bool = False
) -> Figure:
    """Resampled means as histograms, one panel each, with the estimate and its interval.

    Args:
        samples: Title to the means of the resamples, as fractions.
        intervals: The same titles to their intervals.
        x: Per panel, the name of the metric with its unit.
        zero: Mark zero, where panels show differences.
    """
    made, panels = figure(columns=len(samples), width=3.6 * len(samples), height=2.9, sharey=True)
    for axes, (title, means), unit, color in zip(panels, samples.items(), x or [""] * len(panels), PALETTE, strict=False):
        interval = intervals[title]
        axes.hist(means, bins=_bins(means), color=color, alpha=0.55, weights=np.full(len(means), 1 / len(means)))
        axes.axvline(interval.mean, color=INK, linewidth=1.6)
        for end in (interval.low, interval.high):
            axes.axvline(end, color=INK, linewidth=1.2, linestyle=":")
        if zero:
            axes.axvline(0, color=PALETTE[3], linewidth=1.2, linestyle="--")
        label(axes, title, unit)
        percent_axis(axes.xaxis)
        percent_axis(axes.yaxis)
    panels[0].set_ylabel("share of resamples (%)")
    return made


@house_style()
def plot_intervals(
    intervals: Mapping[str, Interval], *, title: str = "", x: str = "", chance: float | None = None, zero: bool = False
) -> Figure:
    """Estimates with their intervals, one row each, top to bottom.

    Args:
        intervals: Row name to its interval, as fractions.
        title: Of the axes.
        x: Name of the metric with its unit.
        chance: Level that a guess reaches, if it is to be marked.
        zero: Mark zero, where rows are differences.
    """
    made, (axes,) = figure(height=0.9 + 0.42 * len(intervals))
    for row, (name, interval) in enumerate(intervals.items()):
        color = color_of(name, row)
        axes.plot([interval.low, interval.high], [row, row], color=color, linewidth=3, solid_capstyle="round")
        axes.scatter(interval.mean, row, color=color, s=44, zorder=3)
        text = f"{100 * interval.mean:.1f}  [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
        axes.annotate(text, (interval.high, row), xytext=(9, 0), textcoords="offset points", va="center", fontsize=9)
    for level, name in [(chance, "chance")] * (chance is not None) + [(0.0, "no difference")] * zero:
        axes.axvline(level, color=MUTED, linestyle="--", linewidth=1.2, zorder=1)
        axes.annotate(name, (level, -0.55), xytext=(4, 0), textcoords="offset points", va="top", color=MUTED, fontsize=8)
    _name_rows(axes, list(intervals))
    label(axes, title, x)
    _room_right(axes, 0.32)
    percent_axis(axes.xaxis)
    return made


@house_style()
def plot_needed_queries(curves: Mapping[str, float], measured: Mapping[str, Mapping[int, float]], gain: float = 0.01) -> Figure:
    """Half the width of a 95 % interval against the number of queries, with the gain that has to be seen.

    Args:
        curves: Name to the standard deviation between queries; the line is 1.96 * deviation / sqrt(queries).
        measured: The same names to half widths that a bootstrap gave, by number of queries.
        gain: Difference that should stand out, as a fraction.
    """
    made, (axes,) = figure(height=3.8)
    fewest = min([100, *(n for widths in measured.values() for n in widths)])
    queries = np.geomspace(fewest, 100_000, 50)
    for position, (name, deviation) in enumerate(curves.items()):
        color = PALETTE[position]
        needed = (1.96 * deviation / gain) ** 2
        axes.plot(queries, 1.96 * deviation / np.sqrt(queries), color=color, label=f"{name}: {needed:,.0f} queries")
        axes.scatter(list(measured[name]), list(measured[name].values()), color=color, s=34, zorder=3)
    axes.set_xscale("log")
    axes.set_yscale("log")
    chance_line(axes, gain, f"{100 * gain:g} point")
    axes.yaxis.set_major_formatter(FuncFormatter(_points))
    axes.set_yticks([0.002, 0.005, 0.01, 0.02, 0.05, 0.1])
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, position: ""))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:,.0f}"))
    label(axes, "How many queries until a gain shows", "queries", "half width of the 95 % interval (points)")
    axes.legend(loc="lower left", title="reached with", title_fontsize=9)
    return made


def _bins(means: np.ndarray, most: int = 30) -> np.ndarray:
    """Edges of bins that hold equally many possible values each: a mean of zeros and ones moves in steps of 1 / queries."""
    values = np.unique(means.round(12))
    step = np.diff(values).min() if len(values) > 1 else 1e-3
    span = (values[-1] - values[0]) / step
    width = step * max(1.0, np.ceil(span / most))
    return np.arange(values[0] - step / 2, values[-1] + width, width)


def _points(value: float, position: Any) -> str:
    return f"{100 * value:g}"


def _name_rows(axes: Any, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _room_right(axes: Any, share: float = 0.14) -> None:
    """Space for what is written right of the data."""
    low, high = axes.get_xlim()
    axes.set_xticks([tick for tick in axes.get_xticks() if low <= tick <= min(high, 1.0)])  # a fraction beyond 1 would be a riddle
    axes.set_xlim(low, high + share * (high - low))
