"""Drawn pictures on disk: whole splits in shards, drawn once and read ever after."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from cirlib._atomic import atomic_path
from cirlib._cache import cache_dir
from cirlib.data.atelier.draw import SIZE, draw
from cirlib.data.atelier.schema import VERSION
from cirlib.data.atelier.splits import check_split, picture

SHARD = 256  # pictures a file; a multiple of the family size


def draw_picture(split: str, index: int, size: int = SIZE) -> np.ndarray:
    """Draw one picture of a split, (size, size, 3) uint8, without the cache."""
    known = picture(split, index)
    return draw(known.design, known.scene, size)


def shard_pixels(split: str, number: int, size: int = SIZE) -> np.ndarray:
    """Pixels of one shard, (SHARD, size, size, 3) uint8, memory-mapped; drawn and stored when missing.

    Files are written whole under another name and then renamed, so an interrupted run leaves no half file and two runs do no harm.
    """
    path = _shard_path(split, number, size)
    if not path.exists():
        pixels = np.stack([draw_picture(split, number * SHARD + i, size) for i in range(SHARD)])
        with atomic_path(path) as draft:
            np.save(draft, pixels)
    return np.load(path, mmap_mode="r")


def split_pixels(split: str, count: int, size: int = SIZE, progress: bool = True) -> np.ndarray:
    """The first `count` pictures of a split as one array, (count, size, size, 3) uint8, in memory.

    Args:
        split: One of `splits.SPLITS`.
        count: How many, from index 0.
        size: Pixels a side.
        progress: Show a bar while shards are drawn.
    """
    check_split(split)
    pixels = np.empty((count, size, size, 3), np.uint8)
    starts = range(0, count, SHARD)
    for start in tqdm(
        starts,
        desc=f"atelier {split}",
        unit="shard",
        disable=not progress or all(_shard_path(split, s // SHARD, size).exists() for s in starts),
    ):
        part = pixels[start : start + SHARD]
        part[...] = shard_pixels(split, start // SHARD, size)[: len(part)]
    return pixels


def _shard_path(split: str, number: int, size: int) -> Path:
    return cache_dir("atelier", VERSION, f"{split}-{size}px") / f"{number:05d}.npy"
