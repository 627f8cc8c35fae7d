"""Figures of neighbourhoods and queries: what neighbours have in common, how far queries move, whom they are similar to."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cirlib.evaluation.intervals import Interval
from cirlib.types import InputError
from cirlib.viz.dqe_cir import ZONE
from cirlib.viz.style import INK, MUTED, PALETTE, ROLES, figure, house_style, label, percent_axis

MARKS = "osD^vPX"
_GROUPS = {"target": ROLES["composed"], "other positives": ROLES["sum"], "look-alikes": ROLES["wrong"], "random": MUTED}


@house_style()
def plot_purity(purity: Mapping[str, Mapping[str, Interval]], chance: Mapping[str, tuple[float, float]], k: int) -> Figure:
    """What the neighbours of a picture share with it: a row per attribute, a mark per space, two grey ticks for chance.

    Args:
        purity: Space to attribute to the interval of its purity, as fractions.
        chance: Attribute to purity by chance among all pictures, and among look-alikes; its order is the order of the rows.
        k: Number of neighbours, for the label.

    Raises:
        InputError: If there is no attribute or no space.
    """
    if not chance or not purity:
        raise InputError(f"{len(chance)} attributes and {len(purity)} spaces to plot; give one of both or more")
    names = list(chance)
    made, (axes,) = figure(width=7.6, height=1.1 + 0.36 * len(names))
    for place, (text, style) in enumerate((("by chance, any picture", (0, (1, 1))), ("by chance, a look-alike", "-"))):
        for row, name in enumerate(names):
            levels = [chance[name][place]] * 2
            axes.plot(levels, [row - 0.36, row + 0.36], color=MUTED, linestyle=style, linewidth=2, label=None if row else text, zorder=1)
    shifts = np.linspace(-0.24, 0.24, len(purity)) if len(purity) > 1 else [0.0]
    for place, ((space, table), shift) in enumerate(zip(purity.items(), shifts, strict=True)):
        color = PALETTE[place % len(PALETTE)]
        for row, name in enumerate(names):
            if name in table:
                axes.plot([table[name].low, table[name].high], [row + shift] * 2, color=color, linewidth=2, alpha=0.55, zorder=2)
        rows = [row for row, name in enumerate(names) if name in table]
        means = [table[names[row]].mean for row in rows]
        axes.scatter(means, [row + shift for row in rows], s=26, marker=MARKS[place % 7], color=color, label=space, zorder=3)
    _rows(axes, [name.replace("_", " ") for name in names])
    axes.set_xlim(0, 1.02)
    percent_axis(axes.xaxis)
    label(axes, x=f"of the {k} nearest pictures, those with the same value (%)")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return made


@house_style()
def plot_movement(turns: Mapping[str, Mapping[str, Interval]], nearer: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """How far queries move under each kind of edit, and whether it helps: a row per kind, a mark per method, with intervals.

    Args:
        turns: Method to kind of edit to the angle between query and reference image, in degrees.
        nearer: The same two keys to the share of queries that rank their target higher than the reference image alone does.

    Raises:
        InputError: If there is no method, or the two tables name different ones.
    """
    if not turns or list(turns) != list(nearer):
        raise InputError(f"methods {', '.join(turns) or 'none'} and {', '.join(nearer) or 'none'} given; give the same ones, one or more")
    kinds = list(dict.fromkeys(kind for table in turns.values() for kind in table))
    made, panels = figure(2, width=8.6, height=1.2 + 0.62 * len(kinds), sharey=True)
    shifts = np.linspace(-0.3, 0.3, len(turns)) if len(turns) > 1 else [0.0]
    for axes, tables in zip(panels, (turns, nearer), strict=True):
        for place, ((method, table), shift) in enumerate(zip(tables.items(), shifts, strict=True)):
            color = ROLES.get(method, PALETTE[place % len(PALETTE)])
            for row, kind in enumerate(kinds):
                if kind in table:
                    axes.plot([table[kind].low, table[kind].high], [row + shift] * 2, color=color, linewidth=2.2, alpha=0.6)
            rows = [row for row, kind in enumerate(kinds) if kind in table]
            means = [table[kinds[row]].mean for row in rows]
            axes.scatter(means, [row + shift for row in rows], s=28, marker=MARKS[place % 7], color=color, label=method, zorder=3)
    _rows(panels[0], kinds)
    panels[1].axvline(0.5, color=MUTED, linestyle="--", linewidth=1.2, zorder=1)
    percent_axis(panels[1].xaxis)
    label(panels[0], "how far", "angle to the reference (degrees)")
    label(panels[1], "in the right direction?", "queries that rank the target higher\nthan their reference image does (%)")
    panels[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return made


@house_style()
def plot_similarities(groups: Mapping[str, Mapping[str, Float[np.ndarray, "q w"]]], zone: tuple[float, float]) -> Figure:
    """Similarities of queries with kinds of pictures, and the same as distances below each query's own target, the mid-zone shaded.

    Args:
        groups: Method to kind of picture ("target" among them) to similarities, as `movement.similarity_groups` gives them.
        zone: Bounds of the gap below the target, in cosine.

    Raises:
        InputError: If there is no method, one lacks its target, or the bounds are not ordered.
    """
    if not groups or any("target" not in table for table in groups.values()) or not 0 <= zone[0] <= zone[1]:
        raise InputError(f"{len(groups)} methods and zone {zone} given; each method needs its target, and 0 <= low <= high")
    made, panels = figure(2, len(groups), width=8.6, height=0.7 + 2.15 * len(groups))
    for place, (method, table) in enumerate(groups.items()):
        left, right = panels[2 * place : 2 * place + 2]
        _outlines(left, {name: values[np.isfinite(values)] for name, values in table.items()})
        gaps = {name: (table["target"][:, :1] - values) for name, values in table.items() if name != "target"}
        gaps = {name: values[np.isfinite(values)] for name, values in gaps.items()}
        shade = right.axvspan(*zone, color=ZONE, linewidth=0, zorder=0)
        right.axvline(0, color=_GROUPS["target"], linewidth=1.4, linestyle=":")
        _outlines(right, gaps)
        inside = "\n".join(f"{np.mean((v >= zone[0]) & (v <= zone[1])):.1%} of {name}" for name, v in gaps.items())
        right.text(0.98, 0.96, f"in the zone:\n{inside}", transform=right.transAxes, ha="right", va="top", fontsize=8, color=INK)
        last = place == len(groups) - 1
        label(left, method, "similarity with the query (cosine)" if last else "", "density")
        label(right, "", "below the target: c(q, t) \N{MINUS SIGN} c(q, x) (cosine)" if last else "")
    handles, texts = panels[0].get_legend_handles_labels()
    handles, texts = [*handles, shade], [*texts, f"mid-zone, {zone[0]:g} to {zone[1]:g}"]
    made.legend(handles, texts, loc="outside upper center", ncols=len(texts))
    return made


def _outlines(axes: Axes, groups: Mapping[str, Float[np.ndarray, " n"]]) -> None:
    """One outline per group, each of area 1, over the middle 99 % of all values."""
    every = np.concatenate(list(groups.values()))
    edges = np.linspace(*np.quantile(every, [0.003, 0.997]), 50)
    for name, values in groups.items():
        color = _GROUPS.get(name, INK)
        axes.hist(values, edges, density=True, histtype="stepfilled", alpha=0.15, color=color, linewidth=0)
        axes.hist(values, edges, density=True, histtype="step", color=color, linewidth=1.6, label=name)
    axes.set_yticks([])


def _rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
