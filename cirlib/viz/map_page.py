"""Maps of a gallery as a web page: a single file with its pictures inside, to point at, zoom into and colour; nothing is fetched."""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from matplotlib.colors import to_hex
from PIL import Image

from cirlib._atomic import atomic_write_text
from cirlib.types import InputError
from cirlib.viz.maps import ABSENT, Color, value_colors

SPRITE_COLUMNS = 64  # thumbnails side by side
GRID = 1000  # positions are whole numbers up to this


@dataclass(frozen=True)
class PageQuery:
    """One query of the page.

    Attributes:
        text: Modification text.
        reference: Row of the reference image.
        target: Row of the target.
        positives: Rows of every right answer.
        places: Method to where the query stands on the map of its space, (2,).
        results: Method to rows of its results, best first.
    """

    text: str
    reference: int
    target: int
    positives: Sequence[int]
    places: Mapping[str, np.ndarray]
    results: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class MapPage:
    """What the page shows.

    Attributes:
        title: Of the page.
        pictures: One per row, opened when the page is written.
        ids: Their ids.
        labels: Attribute to a value per picture, None where it does not apply.
        colors: Attribute to colours of its values, where values have colours of their own.
        maps: Method to positions of the pictures, (n, 2).
        notes: Method to a line about its map, such as how many neighbours it keeps.
        queries: To choose from; may be empty.
        thumb_px: Side of a thumbnail.
        footer: Where the page comes from.
    """

    title: str
    pictures: Sequence[Image.Image]
    ids: Sequence[str]
    labels: Mapping[str, Sequence[str | None]]
    maps: Mapping[str, np.ndarray]
    notes: Mapping[str, str]
    queries: Sequence[PageQuery] = ()
    colors: Mapping[str, Mapping[str, Color]] | None = None
    thumb_px: int = 64
    footer: str = ""


def write_map_page(path: str | os.PathLike[str], page: MapPage) -> Path:
    """Write the page in one piece. Returns its path.

    Raises:
        InputError: If there is no picture or map, or numbers of pictures, ids, labels and positions differ.
    """
    return atomic_write_text(path, render_map_page(page))


def render_map_page(page: MapPage) -> str:
    """The page as HTML. Texts are shown as text, never run; the page may load nothing from anywhere."""
    wrong = [name for name, rows in {**page.maps, **page.labels, "ids": page.ids}.items() if len(rows) != len(page.pictures)]
    if not page.pictures or not page.maps or wrong:
        raise InputError(
            f"{len(page.pictures)} pictures and {len(page.maps)} maps given, other numbers in {', '.join(wrong) or 'none'}; all must fit"
        )
    environment = Environment(
        loader=PackageLoader("cirlib.viz", "."),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("map_page.html").render(
        page=page, data=_data(page), sprite=thumbnail_sheet(page.pictures, page.thumb_px)
    )


def thumbnail_sheet(pictures: Sequence[Image.Image], side: int) -> str:
    """All pictures on one sheet, row by row, as a WebP data URL; each is brought to `side` by `side` pixels."""
    rows = -(-len(pictures) // SPRITE_COLUMNS)
    sheet = Image.new("RGB", (side * min(SPRITE_COLUMNS, len(pictures)), side * rows), "white")
    for place, picture in enumerate(pictures):
        small = picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(small, (place % SPRITE_COLUMNS * side, place // SPRITE_COLUMNS * side))
    buffer = io.BytesIO()
    sheet.save(buffer, format="WEBP", quality=72, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _data(page: MapPage) -> dict[str, Any]:
    """Everything that the script reads: names once, values as their positions in lists."""
    attributes = []
    for name, values in page.labels.items():
        shades = value_colors(values, (page.colors or {}).get(name))
        known = {value: place for place, value in enumerate(shades)}
        attributes.append(
            {
                "name": name.replace("_", " "),
                "values": list(shades),
                "colors": [to_hex(shade) for shade in shades.values()],
                "codes": [-1 if value is None else known[value] for value in values],
            }
        )
    frames = {name: _frame(positions) for name, positions in page.maps.items()}
    maps = [
        {"name": name, "note": page.notes.get(name, ""), "xy": _scaled(positions, frames[name]).ravel().tolist()}
        for name, positions in page.maps.items()
    ]
    queries = [
        {
            "text": query.text,
            "reference": query.reference,
            "target": query.target,
            "positives": list(query.positives),
            "places": {name: _scaled(place[None], frames[name])[0].tolist() for name, place in query.places.items()},
            "results": {name: list(rows) for name, rows in query.results.items()},
        }
        for query in page.queries
    ]
    side = {"thumb": page.thumb_px, "columns": SPRITE_COLUMNS, "absent": ABSENT, "grid": GRID}
    return {"ids": list(page.ids), "attributes": attributes, "maps": maps, "queries": queries, **side}


def _frame(positions: np.ndarray) -> tuple[np.ndarray, float]:
    """Middle and half width of the square that holds every position, with a rim."""
    low, high = positions.min(0), positions.max(0)
    return (low + high) / 2, max(float((high - low).max()) / 2, 1e-12) * 1.06


def _scaled(positions: np.ndarray, frame: tuple[np.ndarray, float]) -> np.ndarray:
    """Whole numbers from 0 to GRID, the second axis pointing down as screens do."""
    share = (positions - frame[0]) / (2 * frame[1])
    return np.rint(np.clip(np.stack([0.5 + share[:, 0], 0.5 - share[:, 1]], 1), 0, 1) * GRID).astype(int)
