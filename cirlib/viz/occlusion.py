"""Facts laid over pictures: where hiding a part makes what was written less likely, picture by picture or on average."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cirlib.types import InputError
from cirlib.viz.pictures import GAP, Picture, board, place_picture
from cirlib.viz.style import INK, MUTED, SEQUENTIAL, house_style

LINE = 0.3  # height of the words over a picture, inches


@house_style()
def occlusion_cards(rows: Sequence[tuple[Picture, Sequence[tuple[str, str, Float[np.ndarray, "g g"]]]]], *, cell: float = 0.98) -> Figure:
    """A row per picture: the picture, then a map per fact, each with the fact and the largest drop over it.

    Every map has its own scale, from no drop (dark) to its largest; the number says how large that is, in nats. A map whose largest drop is
    below 0.05 nats is left dark: hiding any one place does not matter to the fact.

    Args:
        rows: A picture and its (key, value, drops) facts; rows may differ in length.
        cell: Side of a picture in inches.

    Raises:
        InputError: If there is no picture, or one without a fact.
    """
    if not rows or not all(facts for _, facts in rows):
        raise InputError(f"{len(rows)} pictures given, some without a fact; give one picture or more, each with a fact")
    columns = 1 + max(len(facts) for _, facts in rows)
    step = cell + LINE + GAP
    made, axes = board(columns * (cell + 2 * GAP), len(rows) * step)
    for row, (image, facts) in enumerate(rows):
        top = row * step + LINE
        place_picture(axes, image, 0, top, cell)
        for column, (key, value, drops) in enumerate(facts, start=1):
            left = column * (cell + 2 * GAP)
            _map(axes, image, drops, left, top, cell, max(float(drops.max()), 0.05))
            words = key if value == "yes" else f"{key}: {value}"
            axes.text(left, top - 0.15, words, ha="left", va="bottom", fontsize=7.5, color=INK)
            axes.text(left, top - 0.02, f"drop {max(0.0, float(drops.max())):.1f} nats", ha="left", va="bottom", fontsize=7, color=MUTED)
    return made


@house_style()
def mean_occlusion(
    maps: Mapping[str, Float[np.ndarray, "g g"]],
    counts: Mapping[str, int],
    image: Picture | None = None,
    *,
    columns: int = 7,
    cell: float = 1.05,
) -> Figure:
    """Mean map of each fact over many pictures, each on its own scale, with the number of pictures.

    Args:
        maps: Key to the mean drop in nats.
        counts: Key to the number of pictures.
        image: A picture to lay below the maps, such as the mean of them all.
        columns: Maps side by side.
        cell: Side of a map in inches.

    Raises:
        InputError: If there is no map.
    """
    if not maps or set(maps) - set(counts):
        raise InputError(f"maps of {', '.join(maps) or 'nothing'} and counts of {', '.join(counts) or 'nothing'}; give a map and its count")
    columns = min(columns, len(maps))
    lines = -(-len(maps) // columns)
    made, axes = board(columns * (cell + 2 * GAP), lines * (cell + LINE + GAP))
    for place, (key, drops) in enumerate(maps.items()):
        left, top = (place % columns) * (cell + 2 * GAP), (place // columns) * (cell + LINE + GAP) + LINE
        _map(axes, image, drops, left, top, cell, max(float(drops.max()), 1e-9))
        axes.text(left, top - 0.15, key, ha="left", va="bottom", fontsize=8.5, color=INK)
        axes.text(left, top - 0.02, f"{drops.max():.1f} nats, n = {counts[key]}", ha="left", va="bottom", fontsize=7, color=MUTED)
    return made


def _map(axes: Axes, image: Picture | None, drops: np.ndarray, left: float, top: float, cell: float, most: float) -> None:
    box = (left, left + cell, top + cell, top)
    axes.imshow(drops, extent=box, cmap=SEQUENTIAL, vmin=0, vmax=most, interpolation="nearest", aspect="auto", zorder=1)
    if image is not None:
        axes.imshow(np.asarray(image), extent=box, alpha=0.35, interpolation="antialiased", aspect="auto", zorder=2)
