"""Painting on a numpy canvas with analytic edges: a shape is a signed distance, its coverage is how much of a pixel it fills.

Coordinates are in canvas units: x in [-0.5, 0.5] to the right, y in [0, 1] downwards, both before the garment's own pose is undone.
Nothing is supersampled, so a picture costs a few hundred passes over its own pixels and looks the same at any size.
"""

import numpy as np

Field = np.ndarray  # (h, w) float32


class Canvas:
    """An RGB float picture and the coordinates of its pixel centres in the frame of the garment.

    Attributes:
        rgb: (h, w, 3) float32 in [0, 1].
        x: (h, w) garment x of each pixel.
        y: (h, w) garment y of each pixel.
        px: Width of one pixel in garment units, the width of every soft edge.
    """

    def __init__(self, size: int, angle: float = 0.0, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> None:
        centre = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
        screen_x, screen_y = (centre - 0.5 - shift[0])[None, :], (centre - 0.5 - shift[1])[:, None]
        cos, sin = np.float32(np.cos(angle) / scale), np.float32(np.sin(angle) / scale)
        self.x: Field = cos * screen_x + sin * screen_y
        self.y: Field = cos * screen_y - sin * screen_x + np.float32(0.5)
        self.px = 1.0 / (size * scale)
        self.rgb = np.empty((size, size, 3), np.float32)

    def cover(self, distance: Field) -> Field:
        """Share of each pixel inside a shape, from its signed distance (positive inside, garment units)."""
        return np.clip(distance * np.float32(1 / self.px) + np.float32(0.5), 0, 1)

    def paint(self, coverage: Field, color: np.ndarray) -> None:
        """Lay a colour, (3,) or (h, w, 3), over the picture where `coverage` says."""
        self.rgb += coverage[..., None] * (color - self.rgb)

    def shade(self, factor: Field) -> None:
        """Multiply the picture by a factor per pixel."""
        self.rgb *= factor[..., None]


def smooth(edge0: float, edge1: float, value: Field) -> Field:
    """Smooth step from 0 at `edge0` to 1 at `edge1`."""
    t = np.clip((value - edge0) / (edge1 - edge0), 0, 1)
    return t * t * (3 - 2 * t)


def box(x: Field, y: Field, x0: float, y0: float, x1: float, y1: float) -> Field:
    """Signed distance (inside positive, exact on edges) to an axis-aligned box."""
    return np.minimum(np.minimum(x - x0, x1 - x), np.minimum(y - y0, y1 - y))


def disc(x: Field, y: Field, cx: float, cy: float, radius: float) -> Field:
    """Signed distance to a disc."""
    return radius - np.hypot(x - cx, y - cy)


def ellipse(x: Field, y: Field, cx: float, cy: float, rx: float, ry: float) -> Field:
    """Approximate signed distance to an ellipse, right on its edge."""
    return (1 - np.hypot((x - cx) / rx, (y - cy) / ry)) * min(rx, ry)


def polygon(x: Field, y: Field, points: list[tuple[float, float]]) -> Field:
    """Signed distance to the lines of a convex polygon given clockwise on screen (y down)."""
    inside: Field | None = None
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        dx, dy = x1 - x0, y1 - y0
        length = float(np.hypot(dx, dy))
        edge = ((y - y0) * (dx / length)) - ((x - x0) * (dy / length))
        inside = edge if inside is None else np.minimum(inside, edge)
    assert inside is not None
    return inside


def star(x: Field, y: Field, cx: float, cy: float, radius: float) -> Field:
    """Signed value of a five-pointed star with round corners, positive inside."""
    dx, dy = x - cx, y - cy
    angle = np.arctan2(dx, -dy)
    return radius * (0.7 + 0.3 * np.cos(5 * angle)) - np.hypot(dx, dy)
