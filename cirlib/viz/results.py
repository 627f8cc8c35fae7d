"""Tables and figures of finished results: every method of a benchmark, with intervals, beside the controls and chance.

The table that all of them start from is `cirlib.evaluation.report.summary`: columns method, metric, mean, low, high, in fractions.
Controls (image only, text only, sum, chance) are drawn hollow and keep their colours; methods are filled.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from cirlib.evaluation.intervals import Interval
from cirlib.viz.style import GRID, INK, MUTED, PALETTE, ROLES, STYLE, figure, house_style, label, percent_axis

CONTROLS = ("image only", "text only", "sum", "chance")
_SHORT = {"recall": "R", "recall_subset": "R_subset", "map": "mAP", "ndcg": "nDCG", "ac": "AC", "ac_strict": "AC_strict", "ild": "ILD"}
_VERDICTS = {"higher": ROLES["composed"], "lower": ROLES["wrong"], "inconclusive": MUTED}
_OUTCOMES = {"win": ROLES["composed"], "tie": GRID, "loss": ROLES["wrong"]}
_LEADERS = (ROLES["composed"], ROLES["wrong"], PALETTE[4])  # colours that no control has


def metric_name(metric: str) -> str:
    """How papers write a metric: "recall@10" is R@10, "median_rank" is median rank.

    Example:
        >>> metric_name("ac_strict@10"), metric_name("median_rank")
        ('AC_strict@10', 'median rank')
    """
    stem, _, cutoff = metric.partition("@")
    return f"{_SHORT.get(stem, stem)}@{cutoff}" if cutoff else metric.replace("_", " ")


def in_percent(interval: Interval) -> str:
    """An estimate with its interval for a sentence.

    Example:
        >>> in_percent(Interval(0.25, 0.2, 0.31))
        '25.0 % [20.0, 31.0]'
    """
    return f"{100 * interval.mean:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def in_points(difference: Interval) -> str:
    """A difference of fractions with its interval for a sentence, in points: hundredths, as differences of percentages are called.

    Example:
        >>> in_points(Interval(0.02, -0.01, 0.05))
        '+2.0 points [-1.0, +5.0]'
    """
    return f"{100 * difference.mean:+.1f} points [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"


def results_table(summary: pd.DataFrame, metrics: Sequence[str], order: Sequence[str]) -> pd.DataFrame:
    """The table for reading: a row per method, a column per metric, every cell an estimate with its interval in brackets.

    Args:
        summary: From `cirlib.evaluation.report.summary`.
        metrics: Columns; fractions are shown in percent, "median_rank" in ranks.
        order: Rows, by name of method.

    Returns:
        Texts, with the columns "method", "seeds" and one per metric. A metric that is undefined for a method is a dash.
    """
    cells = summary.set_index(["method", "metric"])
    rows = []
    for method in order:
        row: dict[str, Any] = {"method": method, "seeds": int(cells.loc[(method, metrics[0]), "seeds"])}
        for metric in metrics:
            unit = "" if metric == "median_rank" else " (%)"
            row[metric_name(metric) + unit] = _cell(metric, *cells.loc[(method, metric), ["mean", "low", "high"]])
        rows.append(row)
    return pd.DataFrame(rows)


@house_style()
def plot_methods(summary: pd.DataFrame, metric: str, order: Sequence[str], *, title: str = "", chance: float | None = None) -> Figure:
    """One metric of every method with its interval, in the order given, top to bottom.

    Args:
        summary: From `cirlib.evaluation.report.summary`.
        metric: Which; fractions.
        order: Names of methods.
        title: Of the axes.
        chance: Level of a random order, if it is to be marked.
    """
    made, (axes,) = figure(height=1.0 + 0.36 * len(order))
    rows = summary[summary["metric"] == metric].set_index("method")
    for row, name in enumerate(order):
        mean, low, high = rows.loc[name, ["mean", "low", "high"]]
        _dot(axes, row, mean, low, high, _color(name), hollow=name in CONTROLS)
        _beside(axes, high, row, f"{100 * mean:.1f}  [{100 * low:.1f}, {100 * high:.1f}]")
    if chance is not None:
        axes.axvline(chance, color=ROLES["chance"], linestyle="--", linewidth=1.2, zorder=1)
    _name_rows(axes, order)
    label(axes, title, f"{metric_name(metric)} (%)")
    _room_right(axes, 0.30)
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= 1])  # the room beside the data is no scale
    percent_axis(axes.xaxis)
    return made


@house_style()
def plot_differences(tables: Mapping[str, pd.DataFrame], *, x: str = "difference (points)") -> Figure:
    """Paired differences with intervals, a panel per method that they are taken against, coloured by verdict.

    Args:
        tables: Title of a panel to a table of `cirlib.evaluation.comparisons.differences`.
        x: What is shown, with its unit; data are fractions and ticks show points, hundredths of them.
    """
    heights = [0.9 + 0.34 * len(table) for table in tables.values()]
    made, panels = figure(rows=len(tables), height=sum(heights), sharex=True, height_ratios=heights)
    for axes, (title, table) in zip(panels, tables.items(), strict=True):
        axes.axvline(0, color=INK, linewidth=1.0, zorder=1)
        for row, (mean, low, high, verdict) in enumerate(table[["mean", "low", "high", "verdict"]].itertuples(index=False)):
            _dot(axes, row, mean, low, high, _VERDICTS[verdict], hollow=verdict == "inconclusive")
            _beside(axes, high, row, f"{100 * mean:+.1f}  [{100 * low:+.1f}, {100 * high:+.1f}]  {verdict}")
        _name_rows(axes, list(table["method"]))
        label(axes, title)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{100 * value:+g}" if value else "0"))
    panels[-1].set_xlabel(x)
    _room_right(panels[-1], 0.45)
    return made


@house_style()
def plot_head_to_head(outcomes: Mapping[str, Mapping[str, Interval]], *, title: str = "") -> Figure:
    """Wins, ties and losses as bars that fill the row, with the interval of the wins at the lower edge.

    Args:
        outcomes: Name of the opponent to the intervals of "win", "tie" and "loss", as fractions that sum to 1.
        title: Of the axes.
    """
    made, (axes,) = figure(height=1.2 + 0.36 * len(outcomes))
    for row, found in enumerate(outcomes.values()):
        start = 0.0
        for name, color in _OUTCOMES.items():
            share = found[name].mean
            axes.barh(row, share, left=start, height=0.62, color=color, label=name if row == 0 else None)
            if share > 0.06:
                place = (start + share / 2, row)
                axes.annotate(f"{100 * share:.0f}", place, ha="center", va="center", fontsize=9, color=INK if name == "tie" else "white")
            start += share
        axes.plot([found["win"].low, found["win"].high], [row + 0.31, row + 0.31], color=INK, linewidth=2.4)  # below the numbers
    _name_rows(axes, list(outcomes))
    axes.set_xlim(0, 1)
    axes.axvline(0.5, color=INK, linewidth=1.0, linestyle=":")
    label(axes, title, "share of queries (%); black: interval of the wins")
    percent_axis(axes.xaxis)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return made


@house_style()
def plot_groups(
    groups: Mapping[str, Mapping[str, Interval]], metric: str, *, columns: int = 3, chance: float | None = None, title: str = ""
) -> Figure:
    """One metric per group of queries, a panel each on a common scale, with every method's interval: where does who fail?

    Args:
        groups: Title of a panel to the interval of each method, as fractions; the methods are the same in every panel.
        metric: What is shown.
        columns: Panels side by side.
        chance: Level of a random order, if it is to be marked.
        title: Over all panels.
    """
    names = list(next(iter(groups.values())))
    rows = -(-len(groups) // columns)
    made, panels = figure(columns, rows, width=8.6, height=rows * (0.8 + 0.25 * len(names)), sharex=True, sharey=True)
    for axes, (text, found) in zip(panels, groups.items(), strict=False):
        for row, name in enumerate(names):
            interval = found[name]
            _dot(axes, row, interval.mean, interval.low, interval.high, _color(name), hollow=name in CONTROLS, size=28)
        if chance is not None:
            axes.axvline(chance, color=ROLES["chance"], linestyle="--", linewidth=1.0, zorder=1)
        _name_rows(axes, names)
        label(axes, text)
        percent_axis(axes.xaxis)
    for axes in panels[len(groups) :]:
        axes.set_visible(False)
    made.supxlabel(f"{metric_name(metric)} (%)", fontsize=10)
    made.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight=STYLE["axes.titleweight"])
    return made


@house_style()
def plot_rank_curves(ranks: Mapping[str, Float[np.ndarray, "s q"]], candidates: int, *, title: str = "", highlight: int = 3) -> Figure:
    """Share of targets found within each rank: Recall@K for every K at once, beside a random order.

    Args:
        ranks: Method to its ranks, best method first; 0 is not ranked and never found.
        candidates: How many pictures are ranked per query.
        title: Of the axes.
        highlight: How many methods that are no controls get a colour; the others are thin and grey.
    """
    made, (axes,) = figure(height=4.0)
    cutoffs = np.unique(np.logspace(0, np.log10(candidates), 200).round().astype(int))
    leaders = [name for name in ranks if name not in CONTROLS][:highlight]
    colors = {**ROLES, **dict(zip(leaders, _LEADERS, strict=False))}
    others = [name for name in ranks if name not in CONTROLS and name not in leaders]
    for name, table in ranks.items():
        if name == "chance":
            continue
        found = np.asarray(table).ravel()
        share = [float(((found >= 1) & (found <= cutoff)).mean()) for cutoff in cutoffs]
        if name in others:
            text = "other methods" if name == others[0] else None
            axes.plot(cutoffs, share, color="#B0B0B0", linewidth=0.9, zorder=1, label=text)
        else:
            axes.plot(cutoffs, share, color=colors.get(name, MUTED), linestyle="--" if name in CONTROLS else "-", label=name)
    axes.plot(cutoffs, cutoffs / candidates, color=ROLES["chance"], linestyle=":", linewidth=1.4, label="chance")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:,.0f}"))
    axes.set_xlim(1, candidates)
    axes.set_ylim(0, 1.02)
    label(axes, title, "cut-off K (pictures)", "Recall@K (%)")
    percent_axis(axes.yaxis)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return made


@house_style()
def plot_two_splits(
    first: Mapping[str, Interval], second: Mapping[str, Interval], names: tuple[str, str], metric: str, *, title: str = ""
) -> Figure:
    """One metric of every method on two splits, with both intervals.

    Args:
        first: Method to its interval on the first split, best first; fractions.
        second: The same on the second split; only methods that both splits have are drawn.
        names: Names of the two splits.
        metric: What is shown.
        title: Of the axes.
    """
    both = [name for name in first if name in second]
    made, (axes,) = figure(height=1.1 + 0.34 * len(both))
    for row, name in enumerate(both):
        for interval, shift, color, split in ((first[name], -0.14, INK, names[0]), (second[name], 0.14, ROLES["wrong"], names[1])):
            _dot(axes, row + shift, interval.mean, interval.low, interval.high, color, hollow=name in CONTROLS, size=30)
            if row == 0:
                axes.plot([], [], color=color, marker="o", label=split)
    _name_rows(axes, both)
    label(axes, title, f"{metric_name(metric)} (%)")
    percent_axis(axes.xaxis)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return made


def _cell(metric: str, mean: float, low: float, high: float) -> str:
    if not np.isfinite(mean) and metric != "median_rank":
        return "-"
    scale, digits = (1, 0) if metric == "median_rank" else (100, 1)
    center, left, right = ("not ranked" if np.isinf(value) else f"{scale * value:.{digits}f}" for value in (mean, low, high))
    return f"{center} [{left}, {right}]"


def _color(name: str) -> str:
    return ROLES.get(name, ROLES["composed"])


def _dot(axes: Axes, row: float, mean: float, low: float, high: float, color: str, *, hollow: bool, size: float = 44) -> None:
    axes.plot([low, high], [row, row], color=color, linewidth=2.6, solid_capstyle="round", zorder=2)
    axes.scatter(mean, row, s=size, color="white" if hollow else color, edgecolor=color, linewidth=1.6, zorder=3)


def _beside(axes: Axes, x: float, row: float, text: str) -> None:
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}  # lines behind the text would strike it out
    axes.annotate(text, (x, row), xytext=(9, 0), textcoords="offset points", va="center", fontsize=8.5, bbox=paper)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _room_right(axes: Axes, share: float) -> None:
    """Space for what is written right of the data."""
    low, high = axes.get_xlim()
    axes.set_xlim(low, high + share * (high - low))
