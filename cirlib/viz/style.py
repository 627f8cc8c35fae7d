"""One look for every figure: colours that colour-blind readers tell apart, a light grid, no frame that carries no data.

A plotting function is decorated with `@house_style()` and makes its axes with `figure`: that leaves the reader's own settings and the list
of open figures alone. A notebook says `%matplotlib inline` once and shows a figure as the last line of a cell; `Run.save_figure` writes it.
`use_style` is for plots of your own making in a notebook.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

# Okabe and Ito (2008), ordered so that neighbours differ in lightness too; their yellow is left out, as it is too pale for lines on white.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
INK, MUTED, GRID = "#222222", "#767676", "#E4E4E4"
# Roles that keep their colour through the whole course.
ROLES = {
    "image only": "#56B4E9",
    "text only": "#E69F00",
    "sum": "#009E73",
    "slerp": "#CC79A7",
    "composed": "#0072B2",
    "chance": "#767676",
    "wrong": "#D55E00",
}
SEQUENTIAL, DIVERGING = "cividis", "PuOr"  # both keep their order in grey and for colour-blind readers

STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.prop_cycle": mpl.cycler(color=PALETTE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "text.color": INK,
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 9,
}


def use_style() -> None:
    """Give the figures that follow the house look; they stay ordinary matplotlib figures."""
    mpl.rcParams.update(STYLE)


@contextmanager
def house_style() -> Iterator[None]:
    """The house look inside a `with` block, or inside a function as `@house_style()`; the reader's settings come back after it."""
    with mpl.rc_context(STYLE):
        yield


def figure(columns: int = 1, rows: int = 1, *, width: float = 7.0, height: float = 3.4, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure in the house look with its axes in reading order. It is not registered with pyplot, so nothing has to be closed.

    Args:
        columns: Axes side by side.
        rows: Axes below each other.
        width: Of the whole figure, in inches; at 150 dpi, 7 inches are 1,050 px.
        height: Of the whole figure, in inches.
        options: For `Figure.subplots`, such as `sharey=True`.
    """
    with house_style():
        made = Figure(figsize=(width, height))
        axes = made.subplots(rows, columns, squeeze=False, **options)
    return made, list(np.ravel(axes))


def color_of(name: str, position: int = 0) -> str:
    """Colour of a role ("image only", "chance", ...), or the palette's colour at a position for any other name."""
    return ROLES.get(name, PALETTE[position % len(PALETTE)])


def percent_axis(axis: Any, decimals: int | None = None) -> None:
    """Label an axis that holds fractions in percent, by default with as many digits as its ticks need; the data stay fractions."""
    form = ".6g" if decimals is None else f".{decimals}f"
    axis.set_major_formatter(FuncFormatter(lambda value, position: f"{100 * round(value, 10):{form}}%"))


def label(axes: Axes, title: str = "", x: str = "", y: str = "") -> None:
    """Set title and axis labels in one line; units belong in the labels."""
    axes.set_title(title, loc=STYLE["axes.titlelocation"], fontweight=STYLE["axes.titleweight"])
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def chance_line(axes: Axes, value: float, text: str = "chance") -> None:
    """A dashed level that a method has to beat, named at its right end."""
    axes.axhline(value, color=ROLES["chance"], linestyle="--", linewidth=1.2, zorder=1)
    place = {"xycoords": ("axes fraction", "data"), "xytext": (-2, 3), "textcoords": "offset points", "ha": "right"}
    axes.annotate(text, (1, value), color=MUTED, fontsize=8, **place)


def nice_ticks(values: Iterable[float]) -> list[float]:
    """Powers of ten that span positive values, for a logarithmic axis; both ends included."""
    values = [float(value) for value in values]
    if not values or min(values) <= 0:
        raise ValueError(f"expected positive values, got {values[:3]}")
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [10.0**power for power in range(low, high + 1)]
