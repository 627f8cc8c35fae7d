"""Maps of galleries: every picture a dot, coloured by an attribute, with how much of the neighbourhoods a map keeps; queries on top."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cirlib.types import InputError
from cirlib.viz.pictures import Picture
from cirlib.viz.style import GRID, INK, MUTED, PALETTE, ROLES, figure, house_style

RIGHT, WRONG = ROLES["composed"], ROLES["wrong"]
Color = str | tuple[float, float, float]
ABSENT = "#CFCFCF"  # pictures that an attribute does not apply to, or whose value has no colour of its own


class Seen(NamedTuple):
    """One query on the map of a method's space.

    Attributes:
        name: Of the method.
        positions: (n, 2) of the pictures.
        reference: Row of the reference image.
        target: Row of the target.
        query: (2,) where the query stands.
        results: Rows of its results, best first.
        right: Of each result, whether it is a correct answer.
        note: A line below the name, such as the rank of the target.
    """

    name: str
    positions: np.ndarray
    reference: int
    target: int
    query: np.ndarray
    results: Sequence[int]
    right: Sequence[bool]
    note: str = ""


def value_colors(values: Sequence[str | None], own: Mapping[str, Color] | None = None) -> dict[str, Color]:
    """A colour for each value of an attribute: its own where one is given, else the palette's for the six most frequent values.

    Args:
        values: Of the pictures; None where the attribute does not apply.
        own: Value to its colour: the cloth colours of atelier, or any others; they also give the order. Unused unless all values have one.

    Example:
        >>> value_colors(["dress", None, "coat", "dress"])
        {'dress': '#0072B2', 'coat': '#E69F00'}
    """
    known = [value for value in values if value is not None]
    ordered = sorted(dict.fromkeys(known), key=lambda value: (-known.count(value), value))
    if own is not None and all(value in own for value in ordered):
        return {value: own[value] for value in own if value in ordered}
    return {value: PALETTE[place] if place < len(PALETTE) else ABSENT for place, value in enumerate(ordered)}


@house_style()
def plot_maps(
    maps: Mapping[str, Sequence[tuple[str, Float[np.ndarray, "n 2"], str]]],
    values: Mapping[str, Sequence[str | None]],
    *,
    own: Mapping[str, Mapping[str, Color]] | None = None,
    cell: float = 2.25,
) -> Figure:
    """A grid of maps: a column per space, a row per kind of map or attribute.

    Args:
        maps: Name of a row to its (name of the space, positions, line of small print) panels; every row has the same spaces.
        values: Name of a row to what colours it, a value per picture, None for grey.
        own: Name of a row to colours of its values (`value_colors`).
        cell: Side of a map in inches.

    Raises:
        InputError: If rows differ in length, or a row has nothing to colour it by.
    """
    widths = {len(panels) for panels in maps.values()}
    if len(widths) != 1 or 0 in widths or set(maps) - set(values):
        raise InputError(f"rows of {sorted(widths)} maps, coloured rows {', '.join(values)}; give as many maps and one colouring per row")
    below = 0.35 if any(note for cells in maps.values() for _, _, note in cells) else 0.06
    size = {"width": cell * len(next(iter(maps.values()))) + 1.35, "height": (cell + below) * len(maps) + 0.25}
    made, panels = figure(widths.pop(), len(maps), **size)
    for row, (name, cells) in enumerate(maps.items()):
        colors = value_colors(values[name], (own or {}).get(name))
        shades = [colors.get(value, ABSENT) if value is not None else ABSENT for value in values[name]]
        rim = 0.0 if all(isinstance(color, str) for color in colors.values()) else 0.3  # cloth may be white
        line = panels[row * len(cells) : (row + 1) * len(cells)]
        for axes, (space, positions, note) in zip(line, cells, strict=True):
            axes.scatter(*positions.T, s=6, c=shades, linewidth=rim, edgecolor=MUTED, rasterized=True)
            _plain(axes)
            axes.set_title(space if row == 0 else "", fontsize=10)
            axes.set_xlabel(note, fontsize=8.5, color=MUTED)
        line[0].set_ylabel(name, fontsize=10, fontweight="bold", color=INK)
        handles = [Line2D([], [], marker="o", linestyle="", markersize=6, color=color, label=value) for value, color in colors.items()]
        handles = [handle for handle in handles if handle.get_color() != ABSENT]
        if any(shade == ABSENT for shade in shades):
            handles.append(Line2D([], [], marker="o", linestyle="", markersize=6, color=ABSENT, label="none"))
        line[-1].legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), handletextpad=0.1, fontsize=8.5)
    return made


@house_style()
def plot_query(views: Sequence[Seen], open_row: Mapping[int, Picture], text: str, *, shown: int = 5) -> Figure:
    """One query on the maps of several methods, and below each map the reference image, the target and the first results.

    Circles are results that are right, crosses those that are wrong; the ring is the reference image, the diamond the target, the star the
    query. A thin line leads from the reference image to the query. Each panel shows the part of its map that holds them all, and says how
    large a part that is.

    Args:
        views: One per method.
        open_row: Row of a picture to the picture, for the reference image, the target and the results that are shown.
        text: Modification text, for the title.
        shown: Results that are drawn as pictures.

    Raises:
        InputError: If there is no view.
    """
    if not views:
        raise InputError("no query to draw; give its place on the map of one method or more")
    made = Figure(figsize=(3.0 * len(views), 4.7))
    grid = made.add_gridspec(3, len(views), height_ratios=[3.0, 0.75, 0.75])
    for column, seen in enumerate(views):
        _view(made.add_subplot(grid[0, column]), seen)
        _strip(made, grid[1, column], [("reference", seen.reference), ("target", seen.target)], open_row, {}, 5)
        marks = dict(zip(seen.results, seen.right, strict=True))
        _strip(made, grid[2, column], [(str(place + 1), row) for place, row in enumerate(seen.results[:shown])], open_row, marks, shown)
    made.suptitle(f"“{text}”", fontsize=11, fontweight="bold")
    marks = [("reference image", "o", "none", INK), ("query", "*", INK, INK), ("target", "D", "none", RIGHT)]
    marks += [("result, right", "o", RIGHT, RIGHT), ("result, wrong", "X", WRONG, WRONG)]
    handles = [Line2D([], [], marker=m, linestyle="", markerfacecolor=f, markeredgecolor=e, markersize=8, label=n) for n, m, f, e in marks]
    made.legend(handles=handles, loc="outside lower center", ncols=5)
    return made


@house_style()
def plot_clouds(clouds: Mapping[str, Float[np.ndarray, "n 2"]], shares: Float[np.ndarray, " 2"]) -> Figure:
    """Clouds of one space on two axes: pictures in grey, every other cloud with its own colour and mark, its mean as a large one.

    Args:
        clouds: Name to positions; the first is drawn in grey.
        shares: Of the variance, what each axis holds, in [0, 1].

    Raises:
        InputError: If there is no cloud.
    """
    if not clouds:
        raise InputError("no cloud to draw; give one or more")
    made, (axes,) = figure(width=7.8, height=4.6)
    free = [color for color in PALETTE if color not in {ROLES.get(name) for name in clouds}]
    for place, (name, positions) in enumerate(clouds.items()):
        color = ABSENT if place == 0 else ROLES.get(name) or free[place % len(free)]
        mark = "osD^vPX*"[place % 8]
        axes.scatter(*positions.T, s=6 if place == 0 else 9, color=color, marker=mark, alpha=0.75 if place == 0 else 0.35, linewidth=0)
        mean = positions.mean(0)
        axes.scatter(*mean, s=110, color=color, marker=mark, edgecolor="white", linewidth=1.4, zorder=5, label=name)
    axes.set_xlabel(f"first principal axis ({100 * shares[0]:.0f} % of the variance)")
    axes.set_ylabel(f"second ({100 * shares[1]:.0f} %)")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title="mean of the cloud", alignment="left")
    return made


def _view(axes: Axes, seen: Seen) -> None:
    axes.scatter(*seen.positions.T, s=9, color=GRID, linewidth=0, rasterized=True)
    share = _zoom(axes, seen)
    start, end = seen.positions[seen.reference], seen.query
    axes.plot(*np.stack([start, end]).T, color=INK, linewidth=0.9, zorder=3)
    for row, right in list(zip(seen.results, seen.right, strict=True))[::-1]:
        axes.scatter(*seen.positions[row], s=34, marker="o" if right else "X", color=RIGHT if right else WRONG, edgecolor="white", zorder=4)
    axes.scatter(*seen.positions[seen.target], s=120, marker="D", facecolor="none", edgecolor=RIGHT, linewidth=1.6, zorder=5)
    axes.scatter(*start, s=110, facecolor="none", edgecolor=INK, linewidth=1.8, zorder=6)
    axes.scatter(*end, s=130, marker="*", color=INK, edgecolor="white", linewidth=0.8, zorder=7)
    axes.set_title(seen.name, fontsize=10)
    axes.set_xlabel(f"{seen.note}{', ' if seen.note else ''}{share:.0%} of the map's width", fontsize=8.5, color=MUTED)
    _plain(axes)


def _zoom(axes: Axes, seen: Seen) -> float:
    """Show the square that holds everything to be seen, and at least a tenth of the map; returns its side as a share of the map's."""
    points = np.concatenate([seen.positions[[seen.reference, seen.target, *seen.results]], seen.query[None]])
    whole = float(np.ptp(seen.positions, axis=0).max())
    middle, side = (points.min(0) + points.max(0)) / 2, max(1.25 * float(np.ptp(points, axis=0).max()), 0.1 * whole)
    axes.set_xlim(middle[0] - side / 2, middle[0] + side / 2)
    axes.set_ylim(middle[1] - side / 2, middle[1] + side / 2)
    return min(1.0, side / whole)


def _strip(
    made: Figure, place: object, items: Sequence[tuple[str, int]], open_row: Mapping[int, Picture], marks: Mapping[int, bool], cells: int
) -> None:
    """A row of pictures with a word above each; right ones are outlined in blue, wrong ones in orange."""
    axes = made.add_subplot(place)
    axes.set(xlim=(0, cells), ylim=(1, -0.3))
    axes.set_aspect("equal")
    axes.axis("off")
    for number, (word, row) in enumerate(items):
        axes.imshow(np.asarray(open_row[row]), extent=(number + 0.03, number + 0.97, 0.97, 0.03), interpolation="antialiased", zorder=1)
        if row in marks:
            edge = RIGHT if marks[row] else WRONG
            axes.plot(
                *np.array([(0.03, 0.97, 0.97, 0.03, 0.03), (0.03, 0.03, 0.97, 0.97, 0.03)]) + [[number], [0]], color=edge, linewidth=2
            )
        axes.text(number + 0.5, -0.02, word, ha="center", va="bottom", fontsize=7.5, color=MUTED)
    axes.set(xlim=(0, cells), ylim=(1, -0.3))


def _plain(axes: Axes) -> None:
    """Positions on a map have no unit, so it has a frame and no ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.set_box_aspect(1)
    for side in axes.spines.values():
        side.set_visible(True)
        side.set_color(GRID)
