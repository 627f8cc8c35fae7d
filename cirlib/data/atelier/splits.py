"""Splits: which design and which scene stand behind a picture's index. A pure function of (version, split, index)."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cirlib.data.atelier.design import sample_design, sample_family
from cirlib.data.atelier.scene import Scene, sample_scene
from cirlib.data.atelier.schema import VERSION, Design
from cirlib.types import InputError

SPLITS = ("pretrain", "train", "val", "test", "test-compositional")
DESIGNS, TWINS = 48, 16  # of a family: different designs, and designs drawn a second time
FOUNDERS = 4  # designs of a family that all others depart from
FAMILY = DESIGNS + TWINS  # pictures of a family, consecutive indices


@dataclass(frozen=True)
class Picture:
    """What is known of one picture before it is drawn.

    Attributes:
        id: "test-000017": split and index.
        design: Attribute values.
        scene: Nuisance.
    """

    id: str
    design: Design
    scene: Scene


def check_split(split: str) -> None:
    """Raise InputError unless the split exists."""
    if split not in SPLITS:
        raise InputError(f"atelier has no split {split!r}; it has {', '.join(SPLITS)}")


def generator(split: str, index: int, purpose: int) -> np.random.Generator:
    """The generator of one picture or family; `purpose` keeps independent draws apart."""
    check_split(split)
    version = [int(part) for part in VERSION.split(".")]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([*version, SPLITS.index(split), index, purpose])))


@lru_cache(maxsize=4096)
def _family(split: str, number: int) -> list[dict[str, str]]:
    return sample_family(generator(split, number, 0), DESIGNS, TWINS, FOUNDERS, held_out=split == "test-compositional")


def picture(split: str, index: int) -> Picture:
    """Design and scene of one picture.

    `pretrain` draws every design on its own; the other splits draw families of look-alikes. Any prefix of a split is the same whatever the
    number of pictures asked for, so a small profile sees the first part of what a large one sees.
    """
    scene = sample_scene(generator(split, index, 1))
    design = sample_design(generator(split, index, 0)) if split == "pretrain" else _family(split, index // FAMILY)[index % FAMILY]
    return Picture(f"{split}-{index:06d}", design, scene)
