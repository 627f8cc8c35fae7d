"""Figures of notebooks 04 and 05: dictionaries beside their pictures, how true they are, and what the weights of Pix2Key do."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from cirlib.evaluation.intervals import Interval
from cirlib.types import InputError
from cirlib.viz.pictures import Picture, board, place_picture
from cirlib.viz.style import INK, MUTED, PALETTE, ROLES, SEQUENTIAL, figure, house_style, label, percent_axis

LINE = 0.165  # height of a line of a dictionary, inches
MARKS = {"right": ("", INK), "wrong": ("\N{MULTIPLICATION SIGN} ", ROLES["wrong"]), "missing": ("? ", MUTED)}


def dictionary_cards(cards: Sequence[tuple[str, Picture, Sequence[tuple[str, str]]]], columns: int = 3, *, cell: float = 1.1) -> Figure:
    """Pictures with the dictionaries that were written about them; entries that are wrong or missing carry a mark and a colour.

    Args:
        cards: Per picture its title, the picture, and lines of (text, "right" | "wrong" | "missing").
        columns: Cards side by side.
        cell: Side of a picture in inches.

    Raises:
        InputError: If there are no cards, or a line has another verdict.
    """
    if not cards:
        raise InputError("no dictionaries to show; give at least one card")
    for _, _, lines in cards:
        for text, verdict in lines:
            if verdict not in MARKS:
                raise InputError(f"line {text!r} has the verdict {verdict!r}; allowed are {', '.join(MARKS)}")
    columns, width = min(columns, len(cards)), cell + 1.75
    step = 0.3 + max(cell, LINE * max(len(lines) for _, _, lines in cards))
    made, axes = board(columns * width, -(-len(cards) // columns) * step)
    for place, (title, image, lines) in enumerate(cards):
        left, top = place % columns * width, place // columns * step + 0.22
        axes.text(left, top - 0.09, title, ha="left", va="center", fontsize=8.5, weight="bold", color=INK)
        place_picture(axes, image, left, top, cell)
        for number, (text, verdict) in enumerate(lines):
            mark, color = MARKS[verdict]
            shown = textwrap.shorten(text, 30, placeholder=" ...")
            axes.text(left + cell + 0.1, top + LINE * (number + 0.5), mark + shown, ha="left", va="center", fontsize=8, color=color)
    return made


@house_style()
def plot_dictionary_quality(quality: Mapping[str, Mapping[str, tuple[Interval, Interval]]]) -> Figure:
    """Precision and recall of dictionaries per key, a row per key and a mark per writer.

    Args:
        quality: Writer ("stock", "V-Dict-AE", ...) to key to the intervals of (precision, recall), as fractions.
    """
    keys = list(dict.fromkeys(key for table in quality.values() for key in table))
    made, panels = figure(2, width=7.4, height=0.9 + 0.27 * len(keys), sharey=True, sharex=True)
    for side, (axes, title) in enumerate(zip(panels, ("precision: written and true", "recall: true and written"), strict=True)):
        for position, (writer, table) in enumerate(quality.items()):
            shift = 0.3 * (position - (len(quality) - 1) / 2) / max(1, len(quality) - 1)
            found = [(row + shift, table[key][side]) for row, key in enumerate(keys) if key in table]
            ends = np.array([[interval.mean - interval.low, interval.high - interval.mean] for _, interval in found]).T
            rows, means = [row for row, _ in found], [interval.mean for _, interval in found]
            axes.errorbar(means, rows, xerr=ends, fmt="o", color=PALETTE[position], capsize=2, markersize=4.5, label=writer)
        axes.set_yticks(range(len(keys)), keys)
        axes.set_ylim(len(keys) - 0.4, -0.6)
        label(axes, title)
        percent_axis(axes.xaxis)
    if len(quality) > 1:
        panels[0].legend(loc="lower left")
    return made


@house_style()
def plot_weight_grid(alphas: Sequence[float], betas: Sequence[float], scores: Float[np.ndarray, "a b"], metric: str) -> Figure:
    """A metric on val for every pair of the two weights, the best cell framed.

    Args:
        alphas: Weights of what is wanted, one per row of `scores`.
        betas: Weights of the anchors, one per column.
        scores: Fractions.
        metric: For the title.
    """
    made, (axes,) = figure(width=5.6, height=0.9 + 0.42 * len(alphas))
    scores = np.asarray(scores)
    axes.imshow(scores, cmap=SEQUENTIAL, aspect="auto")
    middle = (scores.min() + scores.max()) / 2
    for row, column in np.ndindex(scores.shape):
        color = "white" if scores[row, column] < middle else INK
        axes.text(column, row, f"{100 * scores[row, column]:.1f}", ha="center", va="center", fontsize=8.5, color=color)
    row, column = np.unravel_index(scores.argmax(), scores.shape)
    axes.plot(
        column + np.array([-0.5, 0.5, 0.5, -0.5, -0.5]), row + np.array([-0.5, -0.5, 0.5, 0.5, -0.5]), color=ROLES["wrong"], linewidth=2.4
    )
    axes.set_xticks(range(len(betas)), [f"{beta:g}" for beta in betas])
    axes.set_yticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axes.grid(visible=False)
    label(axes, f"{metric} (%)", r"$\beta$: weight of the anchors", r"$\alpha$: wanted against avoided")
    return made


@house_style()
def plot_diversity_curve(lambdas: Sequence[float], curves: Mapping[str, Sequence[Interval]], chosen: float) -> Figure:
    """Metrics against the diversity weight, a panel each with its own scale, the chosen weight marked.

    Args:
        lambdas: Diversity weights, from 0.
        curves: Name of a metric to one interval per weight, as fractions.
        chosen: The weight that was taken.
    """
    made, panels = figure(len(curves), width=2.7 * len(curves), height=2.7)
    for position, (axes, (name, intervals)) in enumerate(zip(panels, curves.items(), strict=True)):
        color = PALETTE[position % len(PALETTE)]
        axes.fill_between(lambdas, [i.low for i in intervals], [i.high for i in intervals], color=color, alpha=0.18, linewidth=0)
        axes.plot(lambdas, [i.mean for i in intervals], "o-", color=color)
        axes.axvline(chosen, color=MUTED, linestyle="--", linewidth=1.2)
        label(axes, name, r"diversity $\lambda$")
        percent_axis(axes.yaxis)
    late = chosen > (min(lambdas) + max(lambdas)) / 2  # the word stands where there is room
    place = {"xytext": (-4 if late else 4, 0), "textcoords": "offset points", "ha": "right" if late else "left"}
    panels[0].annotate("chosen", (chosen, 0.03), xycoords=("data", "axes fraction"), color=MUTED, **place)
    return made
