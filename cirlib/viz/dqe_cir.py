"""Figures of DQE-CIR: who is pushed away and why, gaps and zones, mechanisms over a training, and gates."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cirlib.evaluation.intervals import Interval
from cirlib.types import InputError
from cirlib.viz.style import INK, MUTED, PALETTE, ROLES, figure, house_style, label, percent_axis

RIGHT, WRONG = ROLES["composed"], ROLES["wrong"]
ZONE = "#F3DCA8"  # pale orange, light enough for black text
RULES = {  # colours that a negative rule keeps; the markers tell them apart without colour
    "random": (MUTED, "o"),
    "hardest": (PALETTE[3], "v"),
    "in_batch": (PALETTE[5], "s"),
    "steepest_drops": (PALETTE[2], "D"),
    "midzone": (PALETTE[0], "P"),
    "adaptive": (PALETTE[4], "X"),
}


class Candidate(NamedTuple):
    """A picture of the drawing of suppression.

    Attributes:
        name: Short.
        similarity: Of picture and query, in cosine.
        kind: "target", "right" (correct but not labelled), or "wrong".
        note: What it is, in a few words.
    """

    name: str
    similarity: float
    kind: str
    note: str = ""


@house_style()
def plot_suppression(candidates: Sequence[Candidate], low: float, high: float) -> Figure:
    """Candidates of one query on the axis of similarity, a row per way to choose negatives, with what each pushes away.

    Arrows to the left are pushes. In-batch contrast and the hardest negative push correct pictures too; between the bounds of the mid-zone,
    which is shaded, lie pictures that are wrong and still near.

    Args:
        candidates: Exactly one is the target.
        low: Lower bound of the gap to the target, in cosine.
        high: Upper bound.

    Raises:
        InputError: If there is not one target, a kind is not known, or the bounds are not ordered.
    """
    targets = [c for c in candidates if c.kind == "target"]
    if len(targets) != 1 or any(c.kind not in ("target", "right", "wrong") for c in candidates) or not 0 <= low <= high:
        raise InputError(
            f"{len(targets)} targets and bounds {low}, {high} given; one target, kinds target, right or wrong, 0 <= low <= high"
        )
    (target,), others = targets, sorted((c for c in candidates if c.kind != "target"), key=lambda c: -c.similarity)
    inside = [c for c in others if low <= target.similarity - c.similarity <= high]
    rows = {"every other picture\n(in-batch contrast)": others, "the nearest": others[:1], "the mid-zone": inside}
    made, (axes,) = figure(width=8.4, height=3.9)
    reach = 0.06 * (max(c.similarity for c in candidates) - min(c.similarity for c in candidates))
    near, far = target.similarity - low, target.similarity - high
    axes.axvspan(far, near, color=ZONE, linewidth=0, zorder=0)
    axes.axvline(target.similarity, color=RIGHT, linewidth=1.0, linestyle=":", zorder=1)
    for row, pushed in enumerate(rows.values()):
        for candidate in candidates:
            _candidate(axes, candidate, row, candidate in pushed, reach)
    ordered = sorted(candidates, key=lambda c: -c.similarity)
    for place, candidate in enumerate(ordered):
        ends = (candidate.similarity, -0.16), (candidate.similarity, -0.4 - 0.24 * (place % 3))
        axes.annotate(candidate.name, *ends, ha="center", fontsize=9, arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6})
    notes = "\n".join(f"{c.name}:  {c.note}" for c in ordered if c.note)
    axes.text(1.02, 1.0, notes, transform=axes.transAxes, ha="left", va="top", fontsize=9, linespacing=1.7)
    axes.text(far - 0.2 * reach, len(rows) - 0.42, f"mid-zone: {low:g} to {high:g} below the target", ha="right", va="center", fontsize=8.5)
    axes.set_yticks(range(len(rows)), [f"push away\n{name}" for name in rows])
    axes.set_ylim(len(rows) - 0.2, -1.15)
    axes.grid(visible=False)
    axes.tick_params(axis="y", length=0)
    label(axes, x="similarity of query and picture (cosine)")
    _kind_legend(axes)
    return made


@house_style()
def plot_gaps(gaps: Float[np.ndarray, " n"], zones: Mapping[str, tuple[float, float]], *, most: float | None = None) -> Figure:
    """How far below the target candidates lie, and which part of them each rule takes.

    Args:
        gaps: d = c(q, t) - c(q, x) of candidates, of one query or of many together; those at or below 0 are not drawn, but counted.
        zones: Name of a rule to its bounds of d (mean bounds where they differ between queries).
        most: Right end of the axis, in cosine; by default the 99th percentile or the farthest bound.

    Raises:
        InputError: If no gap is above 0, or a zone's bounds are not ordered.
    """
    below = np.asarray(gaps)[np.asarray(gaps) > 0]
    if not len(below) or any(not 0 <= low <= high for low, high in zones.values()):
        raise InputError(f"{len(below)} gaps above 0 and zones {dict(zones)} given; one gap or more, and 0 <= low <= high")
    end = most or 1.05 * max(float(np.quantile(below, 0.99)), *(high for _, high in zones.values()))
    heights = [2.3, 0.35 + 0.3 * len(zones)]
    made, (curve, bars) = figure(rows=2, height=0.7 + sum(heights), sharex=True, height_ratios=heights)
    curve.hist(below, bins=np.linspace(0, end, 61), weights=np.full(len(below), 1 / len(below)), color=MUTED, alpha=0.55)
    above = 1 - len(below) / len(gaps)
    percent_axis(curve.yaxis)
    label(curve, f"{above:.1%} of the candidates lie at or above the target (not drawn)", y="share of candidates (%)")
    for row, (name, (low, high)) in enumerate(zones.items()):
        color, taken = _rule(name)[0], float(((below >= low) & (below <= high)).mean())
        bars.barh(row, max(high - low, end / 300), left=low, height=0.5, color=color)
        bars.annotate(
            f"{low:.3f} to {high:.3f}: {taken:.1%}", (high, row), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8.5
        )
        for bound in (low, high):
            curve.axvline(bound, color=color, linewidth=1.0, linestyle="--", zorder=2)
    bars.set_yticks(range(len(zones)), [rule_title(name) for name in zones])
    bars.set_ylim(len(zones) - 0.4, -0.6)
    bars.set_xlim(0, end)
    bars.grid(visible=False, axis="y")
    bars.tick_params(axis="y", length=0)
    label(bars, x="gap below the target, d = c(q, t) - c(q, x) (cosine)")
    return made


@house_style()
def plot_mechanisms(
    curves: Mapping[str, Mapping[str, Mapping[float, Interval]]], units: Mapping[str, str], *, x: str = "epochs", columns: int = 2
) -> Figure:
    """Mechanisms over a training: a panel per mechanism, a line per negative rule, intervals as bands.

    Args:
        curves: Title of a panel to a rule to the place on the x axis to an interval.
        units: Label of each panel's y axis; one that ends in "(%)" shows fractions in percent.
        x: Label of the x axis.
        columns: Panels side by side.

    Raises:
        InputError: If there is nothing to draw, or a panel has no unit.
    """
    if not curves or not set(curves) <= set(units):
        raise InputError(
            f"panels {', '.join(curves) or 'none'} with units for {', '.join(units) or 'none'}; give one panel or more, each with its unit"
        )
    rows, names = -(-len(curves) // columns), list(dict.fromkeys(rule for panel in curves.values() for rule in panel))
    made, panels = figure(columns, rows, width=4.2 * columns, height=2.6 * rows + 0.5, sharex=True)
    for axes, (title, panel) in zip(panels, curves.items(), strict=False):
        for rule in names:
            found = panel.get(rule, {})
            places, kept = list(found), list(found.values())
            color, marker = _rule(rule, names.index(rule))
            axes.fill_between(places, [i.low for i in kept], [i.high for i in kept], color=color, alpha=0.15, linewidth=0)
            axes.plot(places, [i.mean for i in kept], color=color, marker=marker, label=rule_title(rule))
        if units[title].endswith("(%)"):
            percent_axis(axes.yaxis)
        label(axes, title, x, units[title])
        axes.tick_params(labelbottom=True)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    handles, texts = max((axes.get_legend_handles_labels() for axes in panels[: len(curves)]), key=lambda pair: len(pair[0]))
    made.legend(handles, texts, loc="outside lower center", ncols=min(6, len(names)))
    return made


@house_style()
def plot_gates(gates: Mapping[str, Mapping[str, Float[np.ndarray, " n"]]], means: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Attribute weights by what an edit really changes: a panel per attribute, every query as a grey dot, the mean with its interval.

    Args:
        gates: Attribute to kind of edit ("color", "shape", ...) to weights; NaN is left out.
        means: The same two keys to the interval of the mean; a kind without one has no queries to speak of.

    Raises:
        InputError: If there is no attribute.
    """
    if not gates:
        raise InputError("no attribute weights to plot; give those of one attribute or more")
    kinds = list(dict.fromkeys(kind for panel in gates.values() for kind in panel))
    made, panels = figure(len(gates), width=3.6 * len(gates) + 0.4, height=3.3, sharey=True)
    for axes, (attribute, panel) in zip(panels, gates.items(), strict=True):
        rng, counts = np.random.default_rng(0), []
        for place, kind in enumerate(kinds):
            values = np.asarray(panel.get(kind, ()), dtype=np.float64)
            values = values[np.isfinite(values)]
            counts.append(len(values))
            axes.scatter(place + rng.uniform(-0.25, 0.25, len(values)), values, s=7, color=MUTED, alpha=0.35, linewidth=0, zorder=1)
            found = means.get(attribute, {}).get(kind)
            if found is not None:
                own = kind in (attribute, "both")
                axes.plot([place, place], [found.low, found.high], color=RIGHT if own else INK, linewidth=3, zorder=3)
                axes.scatter(
                    place, found.mean, s=52, color=RIGHT if own else "white", edgecolor=RIGHT if own else INK, linewidth=1.6, zorder=4
                )
        names = [f"{kind}\nn = {count}" for kind, count in zip(kinds, counts, strict=True)]
        axes.set_xticks(range(len(kinds)), names)
        axes.set_xlim(-0.5, len(kinds) - 0.5)
        axes.grid(visible=False, axis="x")
        label(axes, f"weight of {attribute}", "what the edit changes")
    panels[0].set_ylabel("weight (0 to 1)")
    return made


def rule_title(name: str) -> str:
    """How figures write a rule.

    Example:
        >>> rule_title("steepest_drops"), rule_title("in_batch"), rule_title("midzone")
        ('steepest drops (QuRe)', 'in batch', 'mid-zone')
    """
    return {"steepest_drops": "steepest drops (QuRe)", "midzone": "mid-zone"}.get(name, name.replace("_", " "))


def _rule(name: str, position: int = 0) -> tuple[str, str]:
    """Colour and marker of a rule; those of the palette for any other name."""
    return RULES.get(name, (PALETTE[position % len(PALETTE)], "osDv^P"[position % 6]))


def _candidate(axes: Axes, candidate: Candidate, row: float, pushed: bool, reach: float) -> None:
    """A picture on the axis, and an arrow of length `reach` below it where it is pushed; shapes tell right from wrong without colour."""
    x, wrong = candidate.similarity, candidate.kind == "wrong"
    color = WRONG if wrong else RIGHT
    if pushed:
        push = {"arrowstyle": "-|>", "color": color, "linewidth": 2.0, "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (x - reach, row + 0.24), (x, row + 0.24), arrowprops=push)
    face = {"target": RIGHT, "right": "white", "wrong": WRONG}[candidate.kind]
    axes.scatter(x, row, s=70, marker="X" if wrong else "o", color=face, edgecolor=color, linewidth=1.2, zorder=4)


def _kind_legend(axes: Axes) -> None:
    for text, face, edge, marker in (
        ("target", RIGHT, RIGHT, "o"), ("right, not labelled", "white", RIGHT, "o"), ("wrong", WRONG, WRONG, "X"),
    ):  # fmt: skip
        axes.scatter([], [], s=70, marker=marker, color=face, edgecolor=edge, linewidth=1.6, label=text)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
