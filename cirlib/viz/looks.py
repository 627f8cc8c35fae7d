"""Figure of trainings that were looked at along the way: a line per seed, beside methods that learn nothing."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from cirlib.types import InputError
from cirlib.viz.style import MUTED, PALETTE, figure, house_style, label, percent_axis

LEVEL_STYLES = ("--", ":", "-.")


@house_style()
def plot_looks(curves: Mapping[str, Sequence[Mapping[int, float]]], metric: str, *, levels: Mapping[str, float] | None = None) -> Figure:
    """A metric against the steps done, a thin line per seed in the colour of its method; the best look of each line is ringed.

    Args:
        curves: Method to one mapping per seed, from steps done to the metric as a fraction.
        metric: For the label, such as "R@10 on val".
        levels: At most three methods that do not train, drawn as level lines.

    Raises:
        InputError: If there is nothing to draw, or there are more than three levels.
    """
    levels = levels or {}
    if not curves or not all(seed for found in curves.values() for seed in found) or len(levels) > len(LEVEL_STYLES):
        raise InputError(
            f"{len(curves)} curves and {len(levels)} levels to plot; give at least one curve with looks, and three levels at most"
        )
    made, (axes,) = figure(width=7.6, height=3.4)
    for (name, value), style in zip(levels.items(), LEVEL_STYLES, strict=False):
        axes.axhline(value, color=MUTED, linestyle=style, linewidth=1.2, zorder=1, label=f"{name}, {100 * value:.0f} %")
    for position, (name, found) in enumerate(curves.items()):
        color = PALETTE[position % len(PALETTE)]
        for number, seed in enumerate(found):
            steps, values = zip(*sorted(seed.items()), strict=True)
            axes.plot(steps, values, "o-", color=color, linewidth=1.3, markersize=3, alpha=0.8, label=name if number == 0 else None)
            best = values.index(max(values))
            ring = {"markersize": 9, "markerfacecolor": "none", "markeredgecolor": color, "markeredgewidth": 1.4}
            axes.plot(steps[best], values[best], "o", **ring)
    axes.set_ylim(bottom=0)
    percent_axis(axes.yaxis)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    label(axes, x="steps (rings: the weights that are kept)", y=metric)
    return made
