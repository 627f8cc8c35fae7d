"""What the page shows, as HTML: results with their explanation, the map, the picker, the trail of turns. No Gradio in here."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from cirlib.explore.collection import Collection, jpeg
from cirlib.explore.reference import Reference
from cirlib.explore.session import Answer, Map
from cirlib.viz.search_page import MARKS, SIGNS

MAP_PX, MARGIN = 560, 24  # longest side of the drawing; the other follows from the gallery, so that both axes have one scale
CLOUD_PX = 1200  # longest side of the picture of the gallery's dots
DOT = (128, 128, 128, 130)  # grey that reads on white and on black


@dataclass(frozen=True)
class Turn:
    """One turn: a reference, and the words that led to it (empty for the first)."""

    reference: Reference
    said: str = ""


def draw_results(answers: Sequence[Answer], collection: Collection) -> str:
    """Results of one method, or of two side by side."""
    maps = [Markup(draw_map(answer, collection)) for answer in answers]
    return _render("results.html", answers=answers, maps=maps, names=collection.images.ids, signs=SIGNS, marks=MARKS, note=collection.note)


def draw_picker(rows: Sequence[int], collection: Collection) -> str:
    """Pictures to start from, and the way to one's own."""
    return _render("picker.html", rows=rows, names=collection.images.ids)


def draw_trail(turns: Sequence[Turn], collection: Collection) -> str:
    """The references so far, with the words between them. An upload is shown from inside the page."""
    shown = [{"said": turn.said, "name": name_of(turn.reference, collection), "picture": _source(turn.reference)} for turn in turns]
    return _render("trail.html", turns=shown)


def draw_line(text: str, wrong: bool = False) -> str:
    """The line above the results: what was found, or in one sentence what is wrong."""
    role = "alert" if wrong else "status"
    return str(Markup('<p class="cx-line {}" role="{}">{}</p>').format("wrong" if wrong else "", role, text))


def name_of(reference: Reference, collection: Collection) -> str:
    """What the page calls a reference."""
    return reference.upload.name if reference.upload is not None else collection.images.ids[reference.row]


def draw_map(answer: Answer, collection: Collection) -> str:
    """The map of one answer as SVG over the picture of the gallery's dots."""
    places, frame = answer.map, _Frame(answer.map)
    left, top = frame.pixel(frame.cloud_low[0], frame.cloud_high[1])
    right, bottom = frame.pixel(frame.cloud_high[0], frame.cloud_low[1])
    cloud = {"href": f"/maps/{answer.number}.png", "x": left, "y": top, "width": round(right - left, 1), "height": round(bottom - top, 1)}
    hits = [
        (rank, *frame.pixel(*place), collection.images.ids[hit.row])
        for rank, (hit, place) in enumerate(zip(answer.hits, places.hits.tolist(), strict=True), start=1)
    ]
    reference = None if places.reference is None else frame.pixel(*places.reference.tolist())
    return _render(
        "map.svg.html",
        width=frame.width,
        height=frame.height,
        cloud=cloud,
        query=frame.pixel(*places.query.tolist()),
        reference=reference,
        hits=hits[::-1],  # the best one is drawn last, above the others
    )


def draw_cloud(places: Float[Tensor, "g 2"]) -> bytes:
    """PNG of one dot a picture on nothing, exactly as large as the gallery's extent; the darker, the more pictures."""
    low, high = places.amin(dim=0).numpy(), places.amax(dim=0).numpy()
    extent = np.maximum(high - low, 1e-9)
    width, height = (np.maximum(1, CLOUD_PX * extent / extent.max())).round().astype(int)
    column, row = ((places.numpy() - low) / extent * (np.array([width, height]) - 1)).round().astype(int).T
    counts = np.zeros((height, width))
    radius = max(1, min(5, round(90 / len(places) ** 0.5)))  # few pictures have larger dots
    for down, right in np.argwhere(np.hypot(*np.mgrid[-radius : radius + 1, -radius : radius + 1]) < radius + 0.5) - radius:
        np.add.at(counts, ((height - 1 - row + down).clip(0, height - 1), (column + right).clip(0, width - 1)), 1)
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[..., :3] = DOT[:3]
    pixels[..., 3] = (255 * (1 - (1 - DOT[3] / 255) ** counts)).round()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


class _Frame:
    """From the plane to the pixels of the drawing: one scale for both axes, everything that is drawn inside."""

    def __init__(self, places: Map) -> None:
        gallery = places.gallery.numpy()
        self.cloud_low, self.cloud_high = gallery.min(axis=0), gallery.max(axis=0)
        marks = [self.cloud_low, self.cloud_high, places.query.numpy()] + ([] if places.reference is None else [places.reference.numpy()])
        self.low, high = np.min(marks, axis=0), np.max(marks, axis=0)
        extent = np.maximum(high - self.low, 1e-9)
        self.scale = (MAP_PX - 2 * MARGIN) / max(extent)
        self.width, self.height = (round(side * self.scale + 2 * MARGIN) for side in extent)

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Pixels from the left and from the top."""
        return (
            round(float(MARGIN + (x - self.low[0]) * self.scale), 1),
            round(float(self.height - MARGIN - (y - self.low[1]) * self.scale), 1),
        )


def _source(reference: Reference) -> str:
    if reference.upload is None:
        return f"/pictures/{reference.row}.jpg"
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg(reference.upload.image)).decode()}"


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("cirlib.explore", "."),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _render(template: str, **values: object) -> str:
    return _templates().get_template(template).render(**values)
