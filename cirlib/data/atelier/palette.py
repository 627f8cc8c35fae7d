"""Colours as numbers: cloth, backgrounds, and the choice of a colour that stands out."""

import numpy as np

# sRGB in [0, 1], picked so that neighbours in the list stay apart under the warmest and the coolest light that a scene draws.
CLOTH = {
    name: np.array(rgb, np.float32) / 255
    for name, rgb in {
        "black": (38, 38, 44),
        "white": (243, 242, 238),
        "grey": (142, 144, 148),
        "red": (206, 32, 44),
        "orange": (242, 128, 28),
        "yellow": (248, 214, 52),
        "green": (42, 142, 66),
        "turquoise": (58, 204, 198),
        "blue": (38, 84, 196),
        "purple": (122, 52, 160),
        "pink": (248, 150, 186),
        "brown": (122, 76, 44),
    }.items()
}

BACKDROPS = np.array(
    [
        (226, 221, 212), (206, 214, 222), (214, 222, 208), (232, 216, 208), (196, 198, 206), (222, 212, 228),
        (188, 196, 190), (236, 230, 214), (176, 184, 196), (210, 196, 182), (166, 160, 158), (200, 208, 216),
    ],
    np.float32,
) / 255  # fmt: skip

INK = np.array((28, 26, 30), np.float32) / 255
IVORY = np.array((250, 247, 238), np.float32) / 255
LEATHER = np.array((104, 62, 34), np.float32) / 255
GOLD = np.array((226, 184, 78), np.float32) / 255


def luminance(rgb: np.ndarray) -> float:
    """Perceived lightness of an sRGB colour, in [0, 1]."""
    return float(rgb @ np.array((0.299, 0.587, 0.114), np.float32))


def contrasting(rgb: np.ndarray) -> np.ndarray:
    """Ivory on dark cloth, ink on light cloth."""
    return IVORY if luminance(rgb) < 0.62 else INK
