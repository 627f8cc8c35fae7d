"""Details that a garment may have: belt, pockets, buttons, collar, print, trim. And the marks that make a category what it is."""

import numpy as np

from cirlib.data.atelier.canvas import Canvas, Field, box, disc, polygon, smooth, star
from cirlib.data.atelier.palette import CLOTH, GOLD, INK, IVORY, LEATHER, contrasting, luminance
from cirlib.data.atelier.pattern_pieces import WAIST, Body
from cirlib.data.atelier.schema import YES, Design

POCKET_TOP = {"dress": 0.475, "coat": 0.5, "skirt": 0.255, "trousers": 0.225}  # y; tops wear theirs above the hem


def paint_details(design: Design, canvas: Canvas, body: Body) -> None:
    """Paint the marks of the category and every detail that the design has, in the order that a tailor adds them."""
    cloth = CLOTH[design["color"]]
    inside = canvas.cover(body.inside)
    ax, y = np.abs(body.x), canvas.y
    _MARKS.get(design["category"], _no_marks)(canvas, body, cloth, inside)
    for name, paint in _DETAILS.items():
        if design.get(name) == YES:
            paint(design, canvas, body, cloth, inside, ax, y)


def _line(canvas: Canvas, distance: Field, coverage: Field, strength: float = 0.4) -> None:
    """A stitched line: darken where |distance| is small."""
    width = max(0.0045, 0.6 * canvas.px)
    canvas.shade(1 - strength * coverage * np.clip((width - np.abs(distance)) / canvas.px + 0.5, 0, 1))


def _no_marks(canvas: Canvas, body: Body, cloth: np.ndarray, inside: Field) -> None:
    """Dresses and tops carry no mark of their own."""


def _mark_shirt(canvas: Canvas, body: Body, cloth: np.ndarray, inside: Field) -> None:
    """A placket down the front and a yoke over the chest."""
    placket = canvas.cover(0.021 - np.abs(body.x)) * inside
    canvas.paint(0.55 * placket, 0.82 * cloth + 0.06)
    _line(canvas, np.abs(body.x) - 0.021, inside, 0.5)
    _line(canvas, canvas.y - 0.222 - 0.1 * np.abs(body.x), inside, 0.35)


def _mark_coat(canvas: Canvas, body: Body, cloth: np.ndarray, inside: Field) -> None:
    """Lapels and a front that overlaps."""
    ax, y = np.abs(body.x), canvas.y
    lapel = polygon(ax, y, [(0.036, 0.112), (0.09, 0.13), (0.128, 0.225), (0.0, 0.36)])
    canvas.paint(canvas.cover(lapel) * inside, 0.55 * cloth if luminance(cloth) > 0.3 else 0.6 * cloth + 0.26)
    _line(canvas, lapel, inside, 0.6)
    _line(canvas, body.x, inside * smooth(0.33, 0.34, y), 0.75)


def _mark_band(canvas: Canvas, body: Body, cloth: np.ndarray, inside: Field) -> None:
    """The waistband of skirts and trousers; the fly comes with it."""
    top = float(canvas.y[canvas.cover(body.inside) > 0.5].min(initial=1.0))
    _line(canvas, canvas.y - top - 0.042, inside, 0.5)


_MARKS = {"shirt": _mark_shirt, "coat": _mark_coat, "skirt": _mark_band, "trousers": _mark_band}


def _pockets(design: Design, canvas: Canvas, body: Body, cloth: np.ndarray, inside: Field, ax: Field, y: Field) -> None:
    top = POCKET_TOP.get(design["category"], body.hem - 0.135)
    centre = 0.074 if design["category"] != "coat" else 0.09
    dx = ax - centre
    patch = np.minimum(box(dx, y, -0.034, top, 0.034, top + 0.072), top + 0.088 - y - 0.55 * np.abs(dx))
    on = canvas.cover(patch) * inside
    dark = luminance(cloth) < 0.38
    canvas.paint(0.85 * on, 0.72 * cloth + 0.2 if dark else 0.8 * cloth)
    stitch = np.maximum(0.006 - np.abs(patch), np.minimum(0.005 - np.abs(y - top - 0.022), patch))
    canvas.paint(0.75 * canvas.cover(stitch) * inside, 0.8 * IVORY if dark else INK)


def _buttons(design: Design, canvas: Canvas, body: Body, cloth: np.ndarray, inside: Field, ax: Field, y: Field) -> None:
    start = {"coat": 0.37, "skirt": 0.25}.get(design["category"], 0.3 if design.get("neckline") == "v-neck" else 0.235)
    stop = min(body.hem - 0.03, start + 0.32)
    count = max(3, round((stop - start) / 0.068) + 1)
    step = (stop - start) / (count - 1)
    nearest = start + step * np.clip(np.round((y - start) / step), 0, count - 1)
    offset = ax - 0.04 if design["category"] == "coat" else body.x
    distance = 0.0175 - np.hypot(offset, y - nearest)
    on = canvas.cover(distance) * canvas.cover(body.inside + 0.01)
    color = contrasting(cloth)
    canvas.paint(on, 0.25 * color + 0.35)
    canvas.paint(on * canvas.cover(distance - 0.005), color)


def _collar(design: Design, canvas: Canvas, body: Body, cloth: np.ndarray, inside: Field, ax: Field, y: Field) -> None:
    deep = 0.035 if design["neckline"] == "v-neck" else 0.0
    flap = polygon(ax, y, [(0.03, 0.108), (0.074, 0.118), (0.116, 0.185), (0.062, 0.232 + deep), (0.034, 0.19 + deep)])
    color = IVORY if luminance(cloth) < 0.8 else 0.55 * INK + 0.2
    canvas.paint(canvas.cover(flap), color * (0.94 + 0.4 * np.clip(flap, 0, 0.1))[..., None])
    _line(canvas, flap, np.ones_like(y), 0.5)


def _print(design: Design, canvas: Canvas, body: Body, cloth: np.ndarray, inside: Field, ax: Field, y: Field) -> None:
    cy = 0.345
    badge = contrasting(cloth)
    canvas.paint(canvas.cover(disc(body.x, y, 0, cy, 0.066)) * inside, badge)
    canvas.paint(canvas.cover(star(body.x, y, 0, cy, 0.055)) * inside, contrasting(badge))


def _belt(design: Design, canvas: Canvas, body: Body, cloth: np.ndarray, inside: Field, ax: Field, y: Field) -> None:
    waist = WAIST[design["category"]]
    dark = luminance(cloth) < 0.32 and design["color"] != "blue"
    strap = (0.62 * GOLD + 0.18) if dark or design["color"] == "brown" else LEATHER
    level = y - waist - 0.012 * (1 - (ax / body.half_width) ** 2)
    band = np.minimum(0.019 - np.abs(level), body.half_width + 0.004 - ax)
    canvas.paint(canvas.cover(band), strap * (0.8 + 0.35 * (1 - np.abs(level) / 0.019))[..., None])
    outer = box(body.x, level, -0.027, -0.026, 0.027, 0.026)
    canvas.paint(canvas.cover(np.minimum(outer, 0.011 - outer)), IVORY if dark else GOLD)


def _trim(design: Design, canvas: Canvas, body: Body, cloth: np.ndarray, inside: Field, ax: Field, y: Field) -> None:
    lace = IVORY if luminance(cloth) < 0.75 else 0.8 * INK + 0.12
    scallop = 0.011 * np.abs(np.sin(np.pi * body.x / 0.034))
    level = y - body.hem
    bounds = body.half_width + 0.004 - ax
    if design["category"] == "trousers":
        bounds = np.minimum(bounds, ax - 0.028)
    band = np.minimum(np.minimum(level + 0.03, 0.012 + scallop - level), bounds)
    hole = 0.007 - np.hypot((body.x / 0.034 - np.floor(body.x / 0.034) - 0.5) * 0.034, level + 0.004)
    canvas.paint(canvas.cover(band), lace)
    canvas.paint(0.65 * canvas.cover(hole) * canvas.cover(band), 0.7 * cloth)
    _line(canvas, level + 0.03, canvas.cover(band), 0.4)


_DETAILS = {"trim": _trim, "pockets": _pockets, "print": _print, "buttons": _buttons, "collar": _collar, "belt": _belt}
