"""Figures of learning to compose: recall against the number of triplets, and against how many of them are right."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cirlib.evaluation.intervals import Interval
from cirlib.types import InputError
from cirlib.viz.style import INK, MUTED, PALETTE, figure, house_style, label, percent_axis

MARKS, MAKERS = "osD^v", "sD^vPX"


@house_style()
def plot_triplet_counts(
    curves: Mapping[str, Mapping[int, Interval]], metric: str, *, levels: Mapping[str, Interval] | None = None
) -> Figure:
    """One metric against the number of triplets, on a logarithmic axis, with intervals as bars.

    Args:
        curves: Name of a source of triplets to number of triplets to the interval, as fractions.
        metric: What is shown.
        levels: Results to compare with ("stage 1"), as level lines with bands.

    Raises:
        InputError: If a curve has no point.
    """
    if not curves or not all(curves.values()):
        raise InputError(f"{len(curves)} curves given, some without a point; give one curve or more with one point or more")
    made, (axes,) = figure(width=7.0, height=3.6)
    _levels(axes, levels or {})
    for position, (name, points) in enumerate(curves.items()):
        color, shift = PALETTE[position % len(PALETTE)], 1 + 0.02 * position  # so that bars of two curves do not cover each other
        places = [shift * count for count in points]
        axes.plot(places, [found.mean for found in points.values()], color=color, marker=MARKS[position % 5], label=name, zorder=3)
        for place, found in zip(places, points.values(), strict=True):
            axes.plot([place, place], [found.low, found.high], color=color, linewidth=2.4, alpha=0.55, solid_capstyle="round", zorder=2)
    counts = sorted({count for points in curves.values() for count in points})
    axes.set_xscale("log")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()
    percent_axis(axes.yaxis)
    label(axes, x="triplets", y=f"{metric} (%)")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return made


@house_style()
def plot_triplet_quality(
    dials: Mapping[str, Sequence[tuple[float, Interval]]],
    makers: Mapping[str, tuple[float, Interval]],
    metric: str,
    *,
    levels: Mapping[str, Interval] | None = None,
) -> Figure:
    """One metric against the measured share of right triplets: lines where a dial spoils them, marks for makers.

    Args:
        dials: Name of a dial to (share of right triplets, interval) pairs; fractions.
        makers: Name of a maker to one such pair, drawn as a hollow mark of its own.
        metric: What is shown.
        levels: Results to compare with ("stage 1"), as level lines with bands.

    Raises:
        InputError: If there is nothing to draw.
    """
    if not any(dials.values()) and not makers:
        raise InputError("no dial with a point and no maker given; give at least one of them")
    made, (axes,) = figure(width=7.4, height=4.0)
    _levels(axes, levels or {})
    for position, (name, points) in enumerate(dials.items()):
        color = PALETTE[position % len(PALETTE)]
        ordered = sorted(points, key=lambda pair: pair[0])
        axes.plot([x for x, _ in ordered], [y.mean for _, y in ordered], color=color, marker=MARKS[position % 5], label=name, zorder=3)
        for x, found in ordered:
            axes.plot([x, x], [found.low, found.high], color=color, linewidth=2.4, alpha=0.45, solid_capstyle="round", zorder=2)
    for position, (name, (x, found)) in enumerate(makers.items()):
        axes.plot([x, x], [found.low, found.high], color=INK, linewidth=1.2, zorder=4)
        axes.scatter(x, found.mean, marker=MAKERS[position % 6], s=52, color="white", edgecolor=INK, linewidth=1.4, zorder=5, label=name)
    axes.set_xlim(-0.04, 1.04)
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    label(axes, x="triplets whose target is a right answer (%), measured", y=f"{metric} (%)")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return made


def _levels(axes: Axes, levels: Mapping[str, Interval]) -> None:
    for position, (name, level) in enumerate(levels.items()):
        color = MUTED if position == 0 else PALETTE[-1 - position]
        axes.axhspan(level.low, level.high, color=color, alpha=0.14, linewidth=0, zorder=0)
        axes.axhline(level.mean, color=color, linestyle="--", linewidth=1.4, zorder=1, label=name)
