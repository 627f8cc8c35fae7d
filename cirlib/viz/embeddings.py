"""Figures of notebook 02: what a CLIP reads, how its spaces lie, and what the weight of a sum does."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from cirlib.evaluation.intervals import Interval
from cirlib.viz.style import MUTED, PALETTE, chance_line, color_of, figure, house_style, label, percent_axis


@house_style()
def plot_accuracy(accuracy: Mapping[str, Interval], majority: Mapping[str, float], target: float | None = None) -> Figure:
    """Zero-shot accuracy per attribute with its interval, beside always answering the most frequent value.

    Args:
        accuracy: Interval per attribute, fractions.
        majority: Accuracy of the most frequent value per attribute.
        target: A level that the reading should reach, drawn as a line.
    """
    names = list(accuracy)
    made, (axes,) = figure(width=7.0, height=0.29 * len(names) + 1.1)
    place = np.arange(len(names))
    means = np.array([accuracy[name].mean for name in names])
    ends = np.array([[accuracy[name].mean - accuracy[name].low, accuracy[name].high - accuracy[name].mean] for name in names]).T
    axes.hlines(place, [majority[name] for name in names], means, color="#C9D7E3", linewidth=5, zorder=1)
    axes.errorbar(means, place, xerr=ends, fmt="o", color=PALETTE[0], capsize=2.5, label="read by prompts (95 % interval)")
    axes.plot([majority[name] for name in names], place, "|", color=MUTED, markersize=13, markeredgewidth=2, label="most frequent value")
    if target is not None:
        axes.axvline(target, color=PALETTE[3], linestyle="--", linewidth=1.2, label=f"{100 * target:.0f} %")
    axes.set_yticks(place, names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.02)
    percent_axis(axes.xaxis)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, borderaxespad=0)
    label(axes, x="accuracy on pictures that the attribute applies to")
    return made


@house_style()
def plot_cosines(groups: Mapping[str, Float[np.ndarray, " n"]]) -> Figure:
    """Distributions of cosines, one filled outline per kind of pair."""
    made, (axes,) = figure(width=7.0, height=3.0)
    edges = np.linspace(min(values.min() for values in groups.values()), max(values.max() for values in groups.values()), 60)
    for position, (name, values) in enumerate(groups.items()):
        axes.hist(values, edges, density=True, histtype="stepfilled", alpha=0.28, color=PALETTE[position])
        axes.hist(
            values, edges, density=True, histtype="step", color=PALETTE[position], linewidth=1.5, label=f"{name} (mean {values.mean():.2f})"
        )
    axes.set_yticks([])
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.2)
    label(axes, x="cosine", y="density")
    return made


@house_style()
def plot_weight_curves(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], best: Mapping[str, float], metric: str, chance: float
) -> Figure:
    """A metric on val against the share of the text, one curve per way to fuse, the chosen share marked.

    Args:
        curves: Name to (shares of the text, values of the metric).
        best: Chosen share per name.
        metric: For the label, such as "R@10 on val".
        chance: Level of a random order.
    """
    made, (axes,) = figure(width=7.0, height=3.2)
    for position, (name, (shares, values)) in enumerate(curves.items()):
        color = color_of(name, position + 3)
        axes.plot(shares, values, "o-", color=color, label=f"{name}, best at {best[name]:.2f}")
        axes.plot(
            best[name],
            values[list(shares).index(best[name])],
            "o",
            markersize=11,
            markerfacecolor="none",
            markeredgecolor=color,
            markeredgewidth=1.6,
        )
    chance_line(axes, chance)
    axes.set_ylim(bottom=0)
    percent_axis(axes.yaxis)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, borderaxespad=0.2)
    label(axes, x="share of the text: 0 is image only, 1 is text only", y=metric)
    return made


@house_style()
def plot_recall_bars(table: Mapping[str, Mapping[str, Interval]], metrics: Sequence[str], names: Sequence[str]) -> Figure:
    """Grouped bars with intervals: one group per metric, one bar per method.

    Args:
        table: Method to metric to interval.
        metrics: Keys to show, in order.
        names: Their names on the axis.
    """
    made, (axes,) = figure(width=7.0, height=3.3)
    width = 0.8 / len(table)
    for position, (method, values) in enumerate(table.items()):
        place = np.arange(len(metrics)) + (position - (len(table) - 1) / 2) * width
        intervals = [values[metric] for metric in metrics]
        means = [interval.mean for interval in intervals]
        ends = np.array([[i.mean - i.low, i.high - i.mean] for i in intervals]).T
        color = color_of(method, position + 3)
        axes.bar(place, means, 0.92 * width, color=color, label=method)
        axes.errorbar(place, means, yerr=ends, fmt="none", ecolor="#333333", elinewidth=1, capsize=2)
    axes.set_xticks(np.arange(len(metrics)), names)
    axes.grid(axis="x", visible=False)
    percent_axis(axes.yaxis)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(table), borderaxespad=0.2, columnspacing=1.2)
    label(axes, y="mean and 95 % interval")
    return made
