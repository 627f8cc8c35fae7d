"""Drawing a design in a scene. The order is a tailor's: hang it, cut it, sew the details, light it, photograph it."""

import numpy as np

from cirlib.data.atelier.canvas import Canvas, Field, smooth
from cirlib.data.atelier.cloth import Drape, cloth_rgb
from cirlib.data.atelier.details import paint_details
from cirlib.data.atelier.palette import CLOTH, INK
from cirlib.data.atelier.pattern_pieces import HEM, NECK_Y, Body, Sleeves, cut_body, cut_sleeves, neck_opening
from cirlib.data.atelier.scene import Scene, expose, paint_backdrop, paint_shadow
from cirlib.data.atelier.schema import Design

SIZE = 96  # pixels a side; every figure and checkpoint of the repository uses it unless it says otherwise


def draw(design: Design, scene: Scene, size: int = SIZE) -> np.ndarray:
    """Draw one garment.

    Args:
        design: A legal design (see `schema.check_design`).
        scene: The nuisance.
        size: Pixels a side, 32 or more.

    Returns:
        (size, size, 3) uint8 RGB. The same arguments give the same pixels.

    Raises:
        ValueError: If size is below 32.
    """
    if size < 32:
        raise ValueError(f"size = {size} px is too small to show a garment; use 32 or more")
    drop = 0.3 * (0.93 - HEM[design["category"]][design["length"]])  # short garments hang lower, nearer the middle of the picture
    canvas = Canvas(size, scene.angle, scene.scale, (scene.shift[0], scene.shift[1] + drop))
    body = cut_body(design, canvas, scene)
    sleeves = cut_sleeves(design, canvas, scene)
    paint_backdrop(canvas, scene)
    silhouette = canvas.cover(body.inside if sleeves is None else np.maximum(body.inside, sleeves.inside))
    paint_shadow(canvas, silhouette, scene)
    _paint_hanger(design, canvas)
    if sleeves is not None:
        _paint_sleeves(design, canvas, sleeves, scene)
    if "sleeve" in design:
        _paint_lining(design, canvas, body)
    _paint_body(design, canvas, body, scene)
    paint_details(design, canvas, body)
    return expose(canvas, scene)


def _paint_hanger(design: Design, canvas: Canvas) -> None:
    """A wire hook above shoulders, a bar with two clips above a waist."""
    x, y = canvas.x, canvas.y
    wire = max(0.006, 0.7 * canvas.px)
    if "sleeve" in design:
        hook = np.minimum(wire - np.abs(np.hypot(x, y - 0.036) - 0.022), np.maximum(x - 0.004, 0.036 - y))
        stem = np.minimum(wire - np.abs(x), np.minimum(y - 0.056, NECK_Y + 0.02 - y))
    else:
        hook = np.minimum(wire - np.abs(y - 0.095), 0.1 - np.abs(x))
        stem = np.minimum(0.01 - np.abs(np.abs(x) - 0.075), np.minimum(y - 0.085, 0.15 - y))
    canvas.paint(0.75 * canvas.cover(np.maximum(hook, stem)), INK + 0.12)


def _edge(inside: Field, width: float = 0.022, depth: float = 0.26) -> Field:
    """Darkening towards the edge of a piece, which lifts it off what lies behind."""
    return 1 - depth * (1 - smooth(0, width, inside))


def _paint_sleeves(design: Design, canvas: Canvas, sleeves: Sleeves, scene: Scene) -> None:
    bend = sleeves.across / sleeves.half_width
    fall = 0.35 * np.ones_like(bend)
    drape = Drape(sleeves.across + 0.031, sleeves.along, bend, fall)
    rgb = cloth_rgb(design, drape, scene, canvas.px) * (_edge(sleeves.inside) * 0.93)[..., None]
    canvas.paint(canvas.cover(sleeves.inside), rgb)
    cuff = np.abs(sleeves.length - 0.03 - sleeves.along)
    canvas.shade(1 - 0.3 * canvas.cover(np.minimum(0.004 - cuff, sleeves.inside)))


def _paint_lining(design: Design, canvas: Canvas, body: Body) -> None:
    """The inside of the back that shows through the neck opening."""
    ax, y = np.abs(body.x), canvas.y
    opening = neck_opening(design, ax, y)
    back = np.minimum(opening + 0.006, y - NECK_Y + 0.004 - 0.016 * (ax / 0.06) ** 2)
    canvas.paint(canvas.cover(back), 0.42 * CLOTH[design["color"]] + 0.03)


def _paint_body(design: Design, canvas: Canvas, body: Body, scene: Scene) -> None:
    bend = np.clip(body.x / body.half_width, -1.05, 1.05)
    loose = 0.14 / np.maximum(body.half_width, 0.05)
    start = 0.4 if "sleeve" in design else 0.2
    fall = smooth(start, start + 0.35, canvas.y) * (0.55 if design["category"] in ("shirt", "toptee", "trousers") else 0.95) + 0.08
    drape = Drape(body.x * (0.55 + 0.45 * loose), canvas.y, bend, fall)
    rgb = cloth_rgb(design, drape, scene, canvas.px) * _edge(body.inside)[..., None]
    canvas.paint(canvas.cover(body.inside), rgb)
    if design.get("neckline") == "turtleneck":
        fold = np.abs(canvas.y - 0.112 - 0.01 * (1 - (body.x / 0.05) ** 2))
        canvas.shade(1 - 0.35 * canvas.cover(np.minimum(0.006 - fold, 0.05 - np.abs(body.x))))
