"""The results of one search as a web page: a single file with its pictures inside, readable in light and dark."""

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from PIL import Image

from cirlib._atomic import atomic_write_text
from cirlib.methods.pix2key.explanation import Constraint, Explanation

SIGNS = {"want": "+ wants", "keep": "= keeps", "avoid": "− avoids"}
MARKS = {"met": "✓", "violated": "✗", "not stated": "?"}  # a mark and a word beside every colour
QUERY_PX, HIT_PX = 560, 400  # longest side of an embedded picture: sharp at twice the size that the page shows


@dataclass(frozen=True)
class Hit:
    """One result: picture, name below the indexed folder, score, and why it is there where the method can tell."""

    image: Image.Image
    name: str
    score: float
    explanation: Explanation | None = None

    def constraints(self, *signs: str) -> list[Constraint]:
        """The constraints of some signs ("want", "keep", "avoid"), in order."""
        return [] if self.explanation is None else [c for c in self.explanation.constraints if c.sign in signs]


@dataclass(frozen=True)
class SearchPage:
    """What the page shows.

    Attributes:
        image: Reference picture, if there was one.
        image_name: Its file name.
        text: Modification text; may be empty.
        without: What the results should not show; may be empty.
        weight: Weight of the picture against the text, in [0, 1]; None for a method without one.
        hits: Results, best first.
        checkpoint: Name of the CLIP that made the index.
        n_pictures: Pictures in the index.
        note: A plain warning shown above the results; may be empty.
        reader: What read pictures and text, in words; may be empty.
    """

    image: Image.Image | None
    image_name: str
    text: str
    without: str
    weight: float | None
    hits: Sequence[Hit]
    checkpoint: str
    n_pictures: int
    note: str = ""
    reader: str = ""

    @property
    def constraints(self) -> list[Constraint]:
        """Every constraint of the query, as the first result has them; empty where nothing is explained."""
        return self.hits[0].constraints("want", "keep", "avoid") if self.hits else []


def write_search_page(path: str | os.PathLike[str], page: SearchPage) -> Path:
    """Write the page in one piece. Returns its path."""
    return atomic_write_text(path, render_search_page(page))


def render_search_page(page: SearchPage) -> str:
    """The page as HTML. Whatever the user wrote is shown as text, never run."""
    environment = Environment(
        loader=PackageLoader("cirlib.viz", "."),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["embed"] = embed_picture
    return environment.get_template("search_page.html").render(page=page, query_px=QUERY_PX, hit_px=HIT_PX, signs=SIGNS, marks=MARKS)


def embed_picture(image: Image.Image, longest_px: int) -> str:
    """A picture as a JPEG data URL, shrunk to at most `longest_px` and never enlarged."""
    small = image.convert("RGB")
    small.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
