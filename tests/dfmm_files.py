"""Label files in the format of DeepFashion-MultiModal, made up from a seed."""

from pathlib import Path

import numpy as np

from cirlib.data.dfmm_labels import DIMENSIONS

PATHS = ("labels/shape/shape_anno_all.txt", "labels/texture/fabric_ann.txt", "labels/texture/pattern_ann.txt")
PARTS = (slice(0, 12), slice(12, 15), slice(15, 18))
CATEGORIES = ("WOMEN-Dresses", "WOMEN-Tees_Tanks", "MEN-Denim")
VIEWS = ((1, "front"), (2, "side"), (3, "back"), (7, "additional"))


def make_lines(products: int, seed: int = 0, early: bool = False) -> dict[str, list[int]]:
    """File name to 18 numbers. Variants of a product look alike, views hide a part of them, few values are common.

    Args:
        products: How many; each has one or two variants with one to four views.
        seed: Of everything.
        early: Number necklines as the earlier README does (0, 1, 2, 4, 5, 6, 7).
    """
    rng = np.random.default_rng(seed)
    lines = {}
    for product in range(products):
        category = CATEGORIES[int(rng.integers(3))]
        for variant in range(int(rng.integers(1, 3))):
            shown = [min(int(rng.geometric(0.75)) - 1, len(values) - 1) for values in DIMENSIONS.values()]
            first, last = sorted(int(rng.integers(4)) for _ in range(2))
            for number, view in VIEWS[first : last + 1]:
                label = [len(v) if rng.random() < 0.15 else code for v, code in zip(DIMENSIONS.values(), shown, strict=True)]
                label[9] += early and label[9] >= 3
                lines[f"{category}-id_{product:08d}-{variant + 1:02d}_{number}_{view}.jpg"] = label
    return lines


def write_lines(root: Path, lines: dict[str, list[int]], order: int = 1) -> tuple[Path, Path, Path]:
    """The three files below `root`; `order` -1 turns the lines round."""
    for path, part in zip(PATHS, PARTS, strict=True):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        text = [f"{name} {' '.join(map(str, label[part]))}\n" for name, label in lines.items()]
        (root / path).write_text("".join(text[::order]), encoding="utf-8")
    return tuple(root / path for path in PATHS)
