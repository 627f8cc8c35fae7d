"""A drawing of what a loss does to pictures: unit vectors of a plane before and after some steps, on an arc around the query."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from cirlib.types import InputError
from cirlib.viz.style import INK, MUTED, ROLES, figure, house_style

RIGHT, WRONG = ROLES["composed"], ROLES["wrong"]


@house_style()
def plot_moves(
    names: Sequence[str], right: Sequence[bool], before: Float[np.ndarray, " n"], after: Mapping[str, Float[np.ndarray, " n"]]
) -> Figure:
    """Pictures as points on a circle, a panel per loss: hollow where they started, filled where they ended; the query points upwards.

    Args:
        names: Of the pictures.
        right: Whether a picture answers the query.
        before: Angles to the query in degrees, clockwise; an angle of 0 is the query itself.
        after: Title of a panel to the angles at the end.

    Raises:
        InputError: If a panel has another number of angles than there are names.
    """
    wrong = next((title for title, angles in after.items() if len(angles) != len(names)), None)
    if wrong is not None or not len(names) == len(right) == len(before):
        raise InputError(f"{len(names)} names given, and another number of angles or marks ({wrong or 'before'}); give one per picture")
    made, panels = figure(len(after), width=3.3 * len(after), height=2.8)
    for axes, (title, angles) in zip(panels, after.items(), strict=True):
        arc = np.radians(np.linspace(min(-20.0, *before, *angles), max(*before, *angles) + 5, 200))
        axes.plot(np.sin(arc), np.cos(arc), color=MUTED, linewidth=0.8, zorder=1)
        axes.annotate("", (0, 1), (0, 0), arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.6})
        axes.text(-0.03, 0.5, "query", rotation=90, ha="right", va="center", fontsize=9, color=INK)
        for name, good, start, end in zip(names, right, np.radians(before), np.radians(angles), strict=True):
            color = RIGHT if good else WRONG
            axes.scatter(np.sin(start), np.cos(start), s=34, facecolors="white", edgecolors=color, zorder=3)
            axes.scatter(np.sin(end), np.cos(end), s=34, color=color, zorder=4)
            if abs(end - start) > 0.05:
                ends = [0.94 * np.array([np.sin(angle), np.cos(angle)]) for angle in (end, start)]
                axes.annotate("", *ends, arrowprops={"arrowstyle": "->", "color": color, "connectionstyle": "arc3,rad=0.12"})
            axes.text(1.1 * np.sin(end), 1.1 * np.cos(end), name, ha="center", va="center", fontsize=9, color=color)
        axes.set_title(title, loc="left")
        axes.set_ylim(-0.02, 1.25)  # room between names and title
        axes.set_aspect("equal")
        axes.axis("off")
    return made
