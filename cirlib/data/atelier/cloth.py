"""Cloth: colour, pattern, folds and sheen as functions of coordinates that follow the cloth.

`u` runs across the cloth and `v` along it, both in canvas units, so a stripe bends where the cloth bends.
"""

from dataclasses import dataclass

import numpy as np

from cirlib.data.atelier.canvas import Field, smooth
from cirlib.data.atelier.palette import CLOTH
from cirlib.data.atelier.scene import Scene
from cirlib.data.atelier.schema import Design

PERIOD = {"striped": 0.082, "checked": 0.105, "dotted": 0.088, "floral": 0.128, "chevron": 0.094}  # repeat of each pattern, canvas units


@dataclass(frozen=True)
class Drape:
    """How a piece of cloth hangs.

    Attributes:
        u: (h, w) coordinate across the cloth, canvas units.
        v: (h, w) coordinate along it.
        bend: (h, w) position across the round of the body, -1 to 1.
        fall: (h, w) how strongly folds show, 0 to 1.
    """

    u: Field
    v: Field
    bend: Field
    fall: Field


def cloth_rgb(design: Design, drape: Drape, scene: Scene, px: float) -> np.ndarray:
    """Colour of every pixel of a piece of cloth, (h, w, 3) float32 in [0, 1] and a little above where it shines."""
    phase = scene.fold_phase
    k = np.float32(2 * np.pi * scene.fold_count)
    wave = k * drape.bend * 0.5 + phase[0] + 2.2 * drape.v
    slope = drape.fall * (np.cos(wave) + 0.45 * np.cos(2.3 * wave + phase[1]))  # slope of the folds across the cloth
    u = drape.u + 0.010 * drape.fall * np.sin(wave)
    v = drape.v + 0.012 * drape.fall * np.sin(0.7 * wave + phase[2])
    rgb = _pattern_rgb(design, u, v, px)
    normal = np.clip(0.62 * drape.bend + 0.42 * slope, -1.2, 1.2)
    lit = 0.93 - 0.13 * (normal - 0.55 * scene.light) ** 2 + 0.05 * normal * scene.light
    if design["sheen"] == "matte":
        return rgb * (0.96 * lit + 0.03)[..., None]
    if design["sheen"] == "satin":
        return _satin(rgb, normal, lit, scene)
    return _sparkly(rgb, u, v, lit, scene, px)


def _satin(rgb: np.ndarray, normal: Field, lit: Field, scene: Scene) -> np.ndarray:
    """Smooth bright ridges beside deep valleys."""
    glint = np.exp(-(((normal - 0.3 * scene.light) / 0.16) ** 2))
    deep = 1 - 0.42 * smooth(0.25, 0.75, np.abs(normal - 0.3 * scene.light))
    return rgb * (lit * deep)[..., None] + (0.52 * glint)[..., None] * (1 - 0.55 * rgb)


def _sparkly(rgb: np.ndarray, u: Field, v: Field, lit: Field, scene: Scene, px: float) -> np.ndarray:
    """Sequins: a fine grid of cells, each tilted its own way; a few catch the light, many fall dark."""
    cell = 0.026
    i, j = np.floor(u / cell), np.floor(v / cell)
    tilt = _hash(i.astype(np.int32).view(np.uint32), j.astype(np.int32).view(np.uint32), scene.seed)
    x, y = u / cell - i - 0.5, v / cell - j - 0.5
    round_ = np.clip((0.47 - np.hypot(x, y)) * (cell / px) + 0.5, 0, 1)
    flash = smooth(0.8, 0.86, tilt) * round_
    dark = 0.76 + 0.24 * tilt
    return rgb * (lit * dark)[..., None] + (0.85 * flash)[..., None] * (1.04 - rgb)


def _hash(i: np.ndarray, j: np.ndarray, seed: int) -> Field:
    """A number in [0, 1) for every cell (i, j), without visible structure."""
    mixed = i * np.uint32(0x9E3779B1) + j * np.uint32(0x85EBCA6B) + np.uint32(seed)
    for shift, factor in ((15, 0x2C1B3C6D), (12, 0x297A2D39)):
        mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
    return ((mixed ^ (mixed >> np.uint32(15))) >> np.uint32(8)).astype(np.float32) / np.float32(2**24)


def _pattern_rgb(design: Design, u: Field, v: Field, px: float) -> np.ndarray:
    base = CLOTH[design["color"]]
    pattern = design["pattern"]
    if pattern == "solid":
        return np.broadcast_to(base, (*u.shape, 3))
    period = PERIOD[pattern]
    ink = _INKS[pattern](u / period, v / period, px / period)
    return base + ink[..., None] * (CLOTH[design["second_color"]] - base)


def _band(t: Field, share: float, px: float) -> Field:
    """Coverage of a band that takes `share` of each unit period of t, with edges one pixel soft."""
    distance = np.abs(t - np.floor(t) - 0.5)
    return np.clip((0.5 * share - distance) / px + 0.5, 0, 1)


def _striped(u: Field, v: Field, px: float) -> Field:
    return _band(v, 0.42, px)


def _checked(u: Field, v: Field, px: float) -> Field:
    return 0.5 * _band(u, 0.5, px) + 0.5 * _band(v, 0.5, px)


def _chevron(u: Field, v: Field, px: float) -> Field:
    tooth = np.abs(u * 0.75 - np.floor(u * 0.75) - 0.5)
    return _band(v + 1.35 * tooth, 0.44, 1.6 * px)


def _grid(u: Field, v: Field) -> tuple[Field, Field, Field, Field]:
    """Offsets from the nearest point of a staggered grid, and that point's row and column."""
    row = np.floor(v)
    u = u + 0.5 * (row % 2)
    column = np.floor(u)
    return u - column - 0.5, v - row - 0.5, row, column


def _dotted(u: Field, v: Field, px: float) -> Field:
    x, y, _, _ = _grid(u, v)
    return np.clip((0.29 - np.hypot(x, y)) / px + 0.5, 0, 1)


def _floral(u: Field, v: Field, px: float) -> Field:
    x, y, row, column = _grid(u, v)
    angle = np.arctan2(y, x) + 1.3 * row + 2.1 * column
    radius = np.hypot(x, y)
    petals = np.clip((0.44 * (0.66 + 0.34 * np.cos(5 * angle)) - radius) / px + 0.5, 0, 1)
    heart = np.clip((0.1 - radius) / px + 0.5, 0, 1)
    return petals * (1 - heart)


_INKS = {"striped": _striped, "checked": _checked, "chevron": _chevron, "dotted": _dotted, "floral": _floral}
