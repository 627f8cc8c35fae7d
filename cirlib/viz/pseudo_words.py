"""Figures of pseudo-words: a sentence that moves with one of its words, what words hold, how far searching is from training."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from cirlib.evaluation.intervals import Interval
from cirlib.types import InputError
from cirlib.viz.pictures import GAP, Picture, board, place_picture
from cirlib.viz.style import INK, MUTED, PALETTE, SEQUENTIAL, figure, house_style, label, percent_axis

LINE = 0.165  # height of a line of words, inches


@house_style()
def plot_moving_word(shares: Sequence[float], cosines: Mapping[str, Sequence[float]], *, start: str, end: str) -> Figure:
    """One row of the token table moves from a word to another; the sentence's cosine to several sentences or pictures is drawn.

    Args:
        shares: How much of the way is done, ascending, in [0, 1].
        cosines: What the sentence is compared with, to one cosine per share.
        start: Word at share 0.
        end: Word at share 1.

    Raises:
        InputError: If a line has another number of cosines than there are shares.
    """
    made, (axes,) = figure(width=6.4, height=3.2)
    for position, (name, values) in enumerate(cosines.items()):
        if len(values) != len(shares):
            raise InputError(f"{len(values)} cosines for {name!r} and {len(shares)} shares given; give one each")
        axes.plot(shares, values, color=PALETTE[position % len(PALETTE)], marker="osD^v"[position % 5], markersize=4, label=name)
    label(axes, x=f"way of the word's row from “{start}” (0) to “{end}” (1)", y="cosine with the sentence")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return made


@house_style()
def plot_word_probes(accuracy: Mapping[str, Mapping[str, Interval]], majority: Mapping[str, float]) -> Figure:
    """A table of how well linear probes read each attribute from several sources: percent, and half the width of the interval.

    The first column is what guessing the commonest value gives; the darker a cell, the nearer it is to that. Empty: not probed.

    Args:
        accuracy: Source ("image embedding", "Pic2Word, word", ...) to attribute to the interval of the accuracy, as fractions.
        majority: Attribute to the accuracy of guessing; its order is the order of the rows.

    Raises:
        InputError: If there is no source or no attribute.
    """
    names = list(majority)
    if not names or not accuracy:
        raise InputError(f"{len(names)} attributes and {len(accuracy)} sources to plot; give at least one of both")
    known = [[table[name].mean if name in table else np.nan for table in accuracy.values()] for name in names]
    values = np.column_stack([[majority[name] for name in names], known])  # (attributes, 1 + sources)
    made, (axes,) = figure(width=1.5 + 0.72 * values.shape[1], height=1.2 + 0.3 * len(names))
    shades = axes.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=1, aspect="auto")
    for row, name in enumerate(names):
        for column, table in enumerate([{}, *accuracy.values()]):
            if np.isfinite(values[row, column]):
                half = 50 * (table[name].high - table[name].low) if column else 0
                color = "white" if values[row, column] < 0.55 else INK
                text = f"{100 * values[row, column]:.0f}" + (f" ±{half:.0f}" if column else "")
                axes.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
    heads = ["commonest value", *accuracy]
    axes.set_xticks(range(len(heads)), [head.replace(", ", "\n").replace(" ", "\n") for head in heads], fontsize=8)
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.grid(visible=False)
    axes.axvline(0.5, color="white", linewidth=4)
    axes.tick_params(length=0)
    percent_axis(made.colorbar(shades, ax=axes, pad=0.01, fraction=0.03).ax.yaxis)
    label(axes, x="read right by a linear probe (%)")
    return made


@house_style()
def plot_gaps(gaps: Mapping[str, Mapping[str, Float[np.ndarray, " q"]]], means: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Distributions of distances, a panel per kind and a row per method: the middle half as a bar, 5 % to 95 % as a line, means as dots.

    Args:
        gaps: Method to kind of distance to its values (1 - cosine), one per query.
        means: Method to kind to the interval of the mean; drawn over the dot.

    Raises:
        InputError: If there are no distances.
    """
    kinds = list(dict.fromkeys(kind for table in gaps.values() for kind in table))
    if not kinds:
        raise InputError("no distances to plot; give at least one method with one kind of distance")
    made, panels = figure(len(kinds), width=1.2 + 2.3 * len(kinds), height=1.0 + 0.34 * len(gaps), sharex=True, sharey=True)
    for axes, kind in zip(panels, kinds, strict=True):
        for row, (method, table) in enumerate(gaps.items()):
            if kind not in table:
                continue
            low, first, third, high = np.quantile(table[kind], [0.05, 0.25, 0.75, 0.95])
            color, interval = PALETTE[row % len(PALETTE)], means[method][kind]
            axes.plot([low, high], [row, row], color=color, linewidth=1.0, alpha=0.6)
            axes.barh(row, third - first, left=first, height=0.5, color=color, alpha=0.3)
            place, ends = _ends([interval])
            axes.errorbar(place, [row], xerr=ends, fmt="o", color=color, markersize=4.5, capsize=2, linewidth=1.6)
        axes.set_title(kind.replace(" to ", "\nto "), fontsize=9.5, loc="center")
        axes.set_xlabel("1 \N{MINUS SIGN} cosine")
    panels[0].set_yticks(range(len(gaps)), list(gaps))
    panels[0].set_ylim(len(gaps) - 0.5, -0.5)
    return made


@house_style()
def neighbour_cards(
    images: Sequence[Picture], neighbours: Mapping[str, Sequence[Sequence[tuple[str, float]]]], *, cell: float = 0.96, width: float = 1.35
) -> Figure:
    """A row per picture: the picture, and per mapper the words of the vocabulary nearest to its pseudo-word, with their cosines.

    Args:
        images: Pictures.
        neighbours: Name of a mapper to (word, cosine) lists, one per picture, nearest first.
        cell: Side of a picture in inches.
        width: Of a mapper's column in inches.

    Raises:
        InputError: If there is no picture, or a mapper has not one list per picture.
    """
    if not images or any(len(lists) != len(images) for lists in neighbours.values()):
        raise InputError(f"{len(images)} pictures and neighbours of another number given; give one list per picture and mapper")
    lines = max((len(words) for lists in neighbours.values() for words in lists), default=0)
    step, head = max(cell, LINE * lines) + 2 * GAP, 0.26
    made, axes = board(cell + 0.15 + width * len(neighbours), head + step * len(images))
    for column, name in enumerate(neighbours):
        axes.text(cell + 0.15 + column * width, head / 2, name, ha="left", va="center", fontsize=9, weight="bold", color=INK)
    for row, image in enumerate(images):
        top = head + row * step
        place_picture(axes, image, 0, top, cell)
        for column, lists in enumerate(neighbours.values()):
            left = cell + 0.15 + column * width
            for number, (word, cosine) in enumerate(lists[row]):
                middle = top + LINE * (number + 0.5)
                axes.text(left, middle, word, ha="left", va="center", fontsize=8.5, color=INK)
                axes.text(left + width - 0.25, middle, f"{cosine:.2f}", ha="right", va="center", fontsize=8, color=MUTED)
    return made


def _ends(intervals: Sequence[Interval]) -> tuple[list[float], Float[np.ndarray, "2 n"]]:
    """Means, and how far their intervals reach to both sides."""
    ends = np.array([[interval.mean - interval.low, interval.high - interval.mean] for interval in intervals]).T
    return [interval.mean for interval in intervals], np.maximum(ends, 0)
