"""Attribute weights by the words that call for them: which words open a gate."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from cirlib.types import InputError
from cirlib.viz.style import MUTED, PALETTE, figure, house_style, label

_MARKS = "osD^"
_NARROW = 0.02  # least width of the axis


@house_style()
def plot_word_gates(gates: Mapping[str, Mapping[str, Float[np.ndarray, " n"]]], *, start: float | None = None, most: int = 14) -> Figure:
    """Weight of an attribute for the texts that hold a word: a panel per attribute, a row per word, texts as faint dots, means filled.

    Args:
        gates: Attribute to word to the weights of the texts that hold it, in [0, 1].
        start: Weight before training, drawn as a line.
        most: Words shown an attribute; of more, those with the highest and the lowest mean.

    Raises:
        InputError: If an attribute has no word, or there is no attribute.
    """
    if not gates or not all(gates.values()):
        raise InputError(f"weights of {len(gates)} attributes given, some without a word; give one attribute or more with one word or more")
    shown = {name: _extremes(words, most) for name, words in gates.items()}
    made, panels = figure(len(shown), width=4.3 * len(shown), height=1.0 + 0.26 * max(map(len, shown.values())))
    for place, (axes, (name, words)) in enumerate(zip(panels, shown.items(), strict=True)):
        color = PALETTE[place % len(PALETTE)]
        for row, values in enumerate(words.values()):
            spread = row + np.linspace(-0.22, 0.22, len(values))
            axes.scatter(np.sort(values), spread, s=7, color=MUTED, alpha=0.4, linewidth=0)
            axes.scatter(values.mean(), row, s=46, color=color, marker=_MARKS[place % 4], edgecolor="white", zorder=3)
        if start is not None:
            axes.axvline(start, color=MUTED, linestyle="--", linewidth=1.2)
            axes.annotate(
                "start", (start, len(words) - 0.45), xytext=(3, 0), textcoords="offset points", fontsize=8, color=MUTED, va="bottom"
            )
        axes.set_yticks(range(len(words)), [f"{word}  ({len(values)})" for word, values in words.items()])
        axes.set_ylim(len(words) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        low, high = axes.get_xlim()
        if high - low < _NARROW:  # gates that never moved: no magnified rounding
            axes.set_xlim((low + high - _NARROW) / 2, (low + high + _NARROW) / 2)
        axes.ticklabel_format(axis="x", useOffset=False)
        label(axes, f"weight of {name}", "weight (0 to 1), a dot per text")
    return made


def _extremes(words: Mapping[str, np.ndarray], most: int) -> dict[str, np.ndarray]:
    ordered = sorted(words, key=lambda word: (-float(words[word].mean()), word))
    if len(ordered) > most:
        ordered = ordered[: most // 2] + ordered[-(most - most // 2) :]
    return {word: words[word] for word in ordered}
