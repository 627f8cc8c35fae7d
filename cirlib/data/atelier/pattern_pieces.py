"""Silhouettes: where each category's cloth is, as outlines in canvas units. A tailor would call them pattern pieces.

Body outlines are half widths by height; sleeves hang from the shoulder; necklines are cut out of the body.
"""

from dataclasses import dataclass

import numpy as np

from cirlib.data.atelier.canvas import Canvas, Field, box, ellipse, polygon
from cirlib.data.atelier.scene import Scene
from cirlib.data.atelier.schema import Design

FIT = {"fitted": 0.76, "regular": 1.0, "loose": 1.3}  # width factor
HEM = {
    "dress": {"short": 0.6, "medium": 0.76, "long": 0.93},
    "shirt": {"short": 0.46, "medium": 0.6, "long": 0.75},
    "toptee": {"short": 0.43, "medium": 0.57, "long": 0.72},
    "skirt": {"short": 0.42, "medium": 0.63, "long": 0.87},
    "trousers": {"short": 0.42, "medium": 0.64, "long": 0.92},
    "coat": {"short": 0.58, "medium": 0.75, "long": 0.93},
}  # y of the hem
WAIST = {"dress": 0.45, "coat": 0.46, "skirt": 0.185, "trousers": 0.155}  # y of the belt
SHOULDER = {"dress": 0.156, "shirt": 0.168, "toptee": 0.162, "coat": 0.182}  # half width at the shoulder
SLEEVE = {"short": 0.12, "elbow": 0.235, "long": 0.42}  # length along the arm
SHOULDER_Y, NECK_Y, NECK_X, CROTCH_Y = 0.165, 0.125, 0.052, 0.36


@dataclass(frozen=True)
class Body:
    """The main piece of a garment.

    Attributes:
        inside: (h, w) signed distance, positive inside.
        half_width: (h, w) half width of the piece at each pixel's height.
        x: (h, w) x relative to the centre line, which swings with the hem.
        hem: y of the hem.
    """

    inside: Field
    half_width: Field
    x: Field
    hem: float


def outline(design: Design) -> tuple[list[float], list[float]]:
    """Knots (y, half width) of the body, top to bottom."""
    f, hem = FIT[design["fit"]], HEM[design["category"]][design["length"]]
    soft = 0.5 + 0.5 * f  # shoulders and waistbands follow the fit only half way
    match design["category"]:
        case "dress":
            flare = 0.126 * f + 0.27 * f * (hem - 0.45)
            return [0.16, 0.29, 0.45, 0.55, hem], [0.156, 0.138 * soft, 0.108 * f, 0.142 * f, flare + 0.03]
        case "shirt":
            return [0.16, 0.29, 0.45, hem], [0.168, 0.155 * f, 0.15 * f, 0.162 * f]
        case "toptee":
            return [0.16, 0.29, hem], [0.162, 0.154 * f, 0.156 * f]
        case "coat":
            return [0.16, 0.29, 0.46, hem], [0.182, 0.172 * f, 0.164 * f, 0.176 * f + 0.13 * (hem - 0.46)]
        case "skirt":
            return [0.15, 0.28, hem], [0.118 * soft, 0.164 * f, 0.17 * f + 0.22 * f * (hem - 0.28)]
        case _:
            return [0.12, 0.26, 0.5, hem], [0.128 * soft, 0.172 * soft, 0.164 * f + 0.012, 0.15 * f + 0.018]


def cut_body(design: Design, canvas: Canvas, scene: Scene) -> Body:
    """Outline of the body at every pixel, neckline and armholes cut out."""
    heights, widths = outline(design)
    hem = heights[-1]
    y = canvas.y
    drift = scene.swing * np.clip((y - heights[0]) / 0.6, 0, 1.3) ** 2
    x = canvas.x - drift
    knots = np.linspace(heights[0], hem, 48)
    table = np.convolve(np.pad(np.interp(knots, heights, widths), 4, mode="edge"), np.ones(9) / 9, "valid")
    half_width = np.interp(y, knots, table).astype(np.float32)
    ax = np.abs(x)
    bottom = hem + (0.028 * (1 - (ax / half_width) ** 2) - 0.014 if design["category"] == "shirt" else 0.006 * (1 - (ax / half_width) ** 2))
    inside = np.minimum(half_width - ax, np.minimum(bottom - y, y - heights[0] + 0.02))
    if "sleeve" in design:
        inside = np.minimum(inside, y - shoulder_line(ax))
        if design["sleeve"] == "sleeveless":
            inside = np.minimum(inside, -ellipse(ax, y, SHOULDER[design["category"]] + 0.012, 0.215, 0.058, 0.085))
        inside = np.minimum(inside, -neck_opening(design, ax, y))
        if design.get("neckline") == "turtleneck":
            inside = np.maximum(inside, box(ax, y, -1.0, 0.07, 0.05, 0.16))
    if design["category"] == "trousers":
        gap = 0.006 + 0.1 * (y - CROTCH_Y) / FIT[design["fit"]] ** 0.5
        inside = np.minimum(inside, np.maximum(ax - np.minimum(gap, 0.045), CROTCH_Y - y))
    return Body(inside, half_width, x, hem)


def shoulder_line(ax: Field) -> Field:
    """y of the shoulder seam at a distance from the centre line: level at the neck, then falling, steeper past the joint."""
    return NECK_Y + 0.3 * np.maximum(ax - NECK_X, 0) + 0.5 * np.maximum(ax - 0.14, 0)


def neck_opening(design: Design, ax: Field, y: Field) -> Field:
    """Signed distance to the neck opening, positive inside it."""
    if design["category"] == "coat":
        return polygon(ax, y, [(-0.06, 0.09), (0.06, 0.09), (0.06, 0.12), (0.0, 0.33), (-0.06, 0.12)])
    match design["neckline"]:
        case "round":
            return ellipse(ax, y, 0.0, 0.118, 0.07, 0.062)
        case "v-neck":
            return polygon(ax, y, [(-0.066, 0.1), (0.066, 0.1), (0.0, 0.275)])
        case "square":
            return box(ax, y, -1.0, 0.09, 0.074, 0.208)
        case _:
            return np.full_like(y, -1.0)


@dataclass(frozen=True)
class Sleeves:
    """Both sleeves at once: the picture is mirrored at the centre line.

    Attributes:
        inside: (h, w) signed distance, positive inside.
        along: (h, w) distance from the shoulder along the arm.
        across: (h, w) offset from the arm's axis.
        half_width: (h, w) half width of the sleeve.
        length: Length along the arm.
    """

    inside: Field
    along: Field
    across: Field
    half_width: Field
    length: float


def cut_sleeves(design: Design, canvas: Canvas, scene: Scene) -> Sleeves | None:
    """Outline of the sleeves, None where there are none."""
    if design.get("sleeve", "sleeveless") == "sleeveless":
        return None
    length, widen = SLEEVE[design["sleeve"]], FIT[design["fit"]] ** 0.5
    dx, dy = np.abs(canvas.x) - (SHOULDER[design["category"]] - 0.05), canvas.y - (SHOULDER_Y + 0.022)
    sin, cos = np.float32(np.sin(scene.arm)), np.float32(np.cos(scene.arm))
    along, across = dx * sin + dy * cos, dx * cos - dy * sin
    half_width = np.float32(widen) * (0.066 - 0.05 * np.clip(along, 0, length))
    inside = np.minimum(half_width - np.abs(across), np.minimum(along + 0.05, length + 0.03 - along))
    inside = np.minimum(inside, canvas.y - shoulder_line(np.abs(canvas.x)))
    return Sleeves(inside, along, across, half_width, length + 0.03)
