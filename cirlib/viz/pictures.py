"""Pictures side by side: contact sheets, labelled rows, and queries with their results.

A figure of many pictures is one pair of axes whose unit is an inch, so that layout is exact and a hundred pictures cost little.
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from cirlib.types import Benchmark, InputError, Query
from cirlib.viz.style import INK, MUTED, ROLES, house_style

Picture = Image.Image | np.ndarray  # (h, w, 3) uint8 where it is an array

GAP = 0.05  # inches between pictures
LINE = 0.15  # inches that a line of small print takes
CORRECT = ROLES["sum"]  # a green that differs in lightness from the grey of the rest
CHARS_PER_INCH = 12.5  # of 9.5 point print, on the safe side


def contact_sheet(images: Sequence[Picture], columns: int = 10, *, cell: float = 0.96) -> Figure:
    """Many pictures without a word, row by row.

    Args:
        images: At least one.
        columns: Pictures a row; the last row may be shorter.
        cell: Side of a picture in inches; 0.96 in at 150 dpi are 144 px.

    Raises:
        InputError: If there are no pictures or no columns.
    """
    if not len(images) or columns < 1:
        raise InputError(f"{len(images)} pictures in {columns} columns asked for; give 1 or more of both")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    made, axes = board(columns * (cell + GAP) - GAP, rows * (cell + GAP) - GAP)
    for place, image in enumerate(images):
        place_picture(axes, image, (place % columns) * (cell + GAP), (place // columns) * (cell + GAP), cell)
    return made


def picture_rows(rows: Mapping[str, Sequence[tuple[str, Picture]]], *, cell: float = 0.8, label_width: float = 1.0) -> Figure:
    """Rows of pictures, each row with a name to its left and each picture with a word below.

    Args:
        rows: Name of a row to its (word, picture) pairs; rows may differ in length, words may be empty.
        cell: Side of a picture in inches.
        label_width: Room for the names in inches.

    Raises:
        InputError: If there is no picture.
    """
    longest = max(map(len, rows.values()), default=0)
    if not longest:
        raise InputError("no pictures to show; give at least one row with a picture")
    steps = [cell + GAP + (LINE if any(word for word, _ in items) else 0) for items in rows.values()]
    made, axes = board(label_width + longest * (cell + GAP) - GAP, sum(steps) - GAP)
    top = 0.0
    for (name, items), step in zip(rows.items(), steps, strict=True):
        axes.text(label_width - 0.1, top + cell / 2, name, ha="right", va="center", fontsize=9, weight="bold", color=INK)
        for place, (word, image) in enumerate(items):
            left = label_width + place * (cell + GAP)
            place_picture(axes, image, left, top, cell)
            axes.text(left + cell / 2, top + cell + 0.02, word, ha="center", va="top", fontsize=7.5, color=INK)
        top += step
    return made


def query_panels(
    benchmark: Benchmark,
    queries: Sequence[Query],
    results: Sequence[Sequence[str]],
    *,
    notes: Sequence[str] = (),
    heading: str = "results, best first",
    cell: float = 0.96,
    text_width: float = 2.3,
) -> Figure:
    """One row per query: reference image, modification text, and pictures of the gallery with every correct one outlined.

    Args:
        benchmark: Where the pictures come from.
        queries: One per row.
        results: Image ids per query, best first, such as the top 5 of a method, or the positives themselves. Rows may differ in length.
        notes: A small line below each text ("target at rank 17"); empty for none.
        heading: Over the results.
        cell: Side of a picture in inches.
        text_width: Width of the text column in inches; longer texts are wrapped.

    Raises:
        InputError: If the numbers of queries, results and notes differ, there are none, or an id is unknown.
    """
    notes = notes or [""] * len(queries)
    if not queries or not len(queries) == len(results) == len(notes):
        raise InputError(f"{len(queries)} queries, {len(results)} results and {len(notes)} notes given; give one of each per row")
    first = cell + text_width + 0.3  # left edge of the results
    step, head = cell + LINE + 0.08, 0.25
    shown = max(1, *map(len, results))
    made, axes = board(first + shown * (cell + GAP) - GAP, head + len(queries) * step - 0.08)
    for left, words in ((0, "reference"), (cell + 0.15, "modification text"), (first, heading)):
        axes.text(left, 0.1, words, ha="left", va="center", fontsize=8.5, color=MUTED)
    for row, (query, ids, note) in enumerate(zip(queries, results, notes, strict=True)):
        top = head + row * step
        place_picture(axes, benchmark.references.open(query.reference), 0, top, cell)
        write_text(axes, query.text, note, cell + 0.15, top + cell / 2, text_width)
        for place, image_id in enumerate(ids):
            left = first + place * (cell + GAP)
            place_picture(axes, benchmark.gallery.open(image_id), left, top, cell, correct=image_id in query.positives)
            word = "" if image_id not in query.positives else "target" if image_id == query.positives[0] else "correct"
            axes.text(left + cell / 2, top + cell + 0.025, word, ha="center", va="top", fontsize=7.5, color=CORRECT, weight="bold")
    return made


def board(width: float, height: float) -> tuple[Figure, Axes]:
    """Axes that fill a figure, in inches from its upper left corner."""
    with house_style():
        made = Figure(figsize=(width, height), layout="none")
        axes = made.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return made, axes


def place_picture(axes: Axes, image: Picture, left: float, top: float, side: float, *, correct: bool = False) -> None:
    """One picture in its cell, its proportions kept, outlined where it is correct."""
    pixels = np.asarray(image)
    height, width = pixels.shape[0] / max(pixels.shape[:2]) * side, pixels.shape[1] / max(pixels.shape[:2]) * side
    x, y = left + (side - width) / 2, top + (side - height) / 2
    axes.imshow(pixels, extent=(x, x + width, y + height, y), interpolation="antialiased", aspect="auto", zorder=1)
    if correct:
        inset = 0.02
        frame = Rectangle(
            (x + inset, y + inset), width - 2 * inset, height - 2 * inset, fill=False, edgecolor=CORRECT, linewidth=3, zorder=2
        )
        axes.add_patch(frame)


def write_text(axes: Axes, text: str, note: str, left: float, middle: float, width: float) -> None:
    """A wrapped sentence with a small line below it."""
    lines = textwrap.wrap(text, int(width * CHARS_PER_INCH), max_lines=6, placeholder=" ...")
    low = middle + 0.5 * LINE * len(lines)
    axes.text(left, middle, "\n".join(lines), ha="left", va="center", fontsize=9.5, color=INK, linespacing=1.15)
    if note:
        axes.text(left, low + 0.05, note, ha="left", va="top", fontsize=7.5, color=MUTED)
