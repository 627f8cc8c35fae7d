"""Nuisance: everything that changes a picture and that no text mentions. Pose, scale, light, background, camera."""

from dataclasses import dataclass

import numpy as np

from cirlib.data.atelier.canvas import Canvas, Field, smooth
from cirlib.data.atelier.palette import BACKDROPS


@dataclass(frozen=True)
class Scene:
    """One draw of the nuisance.

    Attributes:
        angle: Rotation of the garment in radians.
        scale: Size of the garment, 1 fills the canvas comfortably.
        shift: Offset of the garment in canvas units (x, y).
        arm: Angle of the sleeves from the vertical, radians.
        swing: Sideways drift of the hem, canvas units.
        light: Direction that light comes from, -1 left to 1 right.
        exposure: Brightness factor.
        warmth: Red over blue, around 0.
        fold_phase: Phases of the folds, (4,).
        fold_count: Folds across the garment.
        backdrop: Wall colour, (3,).
        floor: Height of the floor line, 0 for a plain wall.
        panel: Strength of the wall's vertical panels.
        noise: Standard deviation of the camera noise, in [0, 1].
        seed: Seed for the noise and the sparkle.
    """

    angle: float
    scale: float
    shift: tuple[float, float]
    arm: float
    swing: float
    light: float
    exposure: float
    warmth: float
    fold_phase: np.ndarray
    fold_count: float
    backdrop: np.ndarray
    floor: float
    panel: float
    noise: float
    seed: int


def sample_scene(rng: np.random.Generator) -> Scene:
    """Draw one scene."""
    uniform = rng.uniform
    return Scene(
        angle=float(uniform(-0.09, 0.09)),
        scale=float(uniform(0.95, 1.1)),
        shift=(float(uniform(-0.03, 0.03)), float(uniform(-0.025, 0.025))),
        arm=float(uniform(0.36, 0.62)),
        swing=float(uniform(-0.03, 0.03)),
        light=float(uniform(-1, 1)),
        exposure=float(uniform(0.9, 1.06)),
        warmth=float(uniform(-0.035, 0.035)),
        fold_phase=uniform(0, 2 * np.pi, 4).astype(np.float32),
        fold_count=float(uniform(2.2, 3.6)),
        backdrop=BACKDROPS[int(rng.integers(len(BACKDROPS)))],
        floor=float(uniform(0.8, 0.9)) if rng.random() < 0.4 else 0.0,
        panel=float(uniform(0.01, 0.04)) if rng.random() < 0.35 else 0.0,
        noise=float(uniform(0.004, 0.018)),
        seed=int(rng.integers(2**31)),
    )


def paint_backdrop(canvas: Canvas, scene: Scene) -> None:
    """Wall with a soft gradient, now and then panels or a floor."""
    size = canvas.rgb.shape[0]
    line = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    glow = 1.03 - 0.16 * np.hypot(line[None, :] - 0.25 * scene.light, line[:, None] + 0.12)
    if scene.panel:
        glow = glow * (1 + scene.panel * np.sign(np.sin(2 * np.pi * 5 * (line[None, :] + scene.shift[0]))))
    if scene.floor:
        below = smooth(scene.floor - 0.004, scene.floor + 0.004, line[:, None] + 0.5)
        glow = glow * (1 - below * (0.2 - 0.12 * (line[:, None] + 0.5)))
    canvas.rgb[...] = glow[..., None] * scene.backdrop


def paint_shadow(canvas: Canvas, silhouette: Field, scene: Scene) -> None:
    """Soft shadow that the garment throws on the wall, away from the light."""
    size = silhouette.shape[0]
    step = max(1, size // 48)
    shifted = np.roll(silhouette, (step, -int(np.sign(scene.light)) * step), (0, 1))
    reach = 2 * step + 1
    canvas.shade(1 - 0.3 * _blur(shifted, reach))


def _blur(field: Field, reach: int) -> Field:
    """Box blur along both axes by cumulative sums; edges repeat."""
    for axis in (0, 1):
        padded = np.pad(field, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        total = np.cumsum(padded, axis=axis, dtype=np.float32)
        width = 2 * reach
        upper, lower = (total[width:], total[:-width]) if axis == 0 else (total[:, width:], total[:, :-width])
        field = (upper - lower) / width
    return field


def expose(canvas: Canvas, scene: Scene) -> np.ndarray:
    """Camera: exposure, warmth, vignette and noise. Returns (h, w, 3) uint8."""
    rgb = canvas.rgb
    size = rgb.shape[0]
    line = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    vignette = scene.exposure * (1 - 0.14 * (line[None, :] ** 2 + line[:, None] ** 2))
    tint = np.array((1 + scene.warmth, 1, 1 - scene.warmth), np.float32)
    rgb *= vignette[..., None] * tint
    noise = np.random.Generator(np.random.SFC64(scene.seed)).standard_normal((size, size, 1), np.float32)
    rgb += np.float32(scene.noise) * noise
    return (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)
