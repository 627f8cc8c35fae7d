"""Benchmarks by name."""

import os

from cirlib.data.assemble import check_choice
from cirlib.data.circo import load_circo
from cirlib.data.cirr import load_cirr
from cirlib.data.dfmm import load_dfmm
from cirlib.data.fashioniq import CATEGORIES, load_fashioniq
from cirlib.data.genecis import TASKS, load_genecis
from cirlib.data.manifest import NAMES
from cirlib.types import Benchmark

SPLITS = {
    "fashioniq": ("val", "test", "train"),
    "cirr": ("val", "test1", "train"),
    "circo": ("val", "test"),
    "genecis": ("val",),
    "dfmm": ("val", "test"),
}
REPORTED_SPLITS = {name: "val" for name in SPLITS} | {"dfmm": "test"}
"""The split that tables show: it has public targets. dfmm has a test split with them, and keeps val for tuning."""


def load_benchmarks(name: str, root: str | os.PathLike[str], split: str = "val", **options) -> list[Benchmark]:
    """Load a benchmark by name: one `Benchmark` per part that is scored on its own (three categories, four tasks, else one).

    Args:
        name: "fashioniq", "cirr", "circo", "genecis" or "dfmm".
        root: Annotation folder.
        split: One of `SPLITS[name]`.
        **options: Passed to the loader: images, allow_missing; check_counts, but for dfmm; gallery and caption_join for fashioniq.

    Raises:
        InputError: If a name is unknown, and as the loaders do.
    """
    check_choice("benchmark", name, NAMES)
    check_choice(f"split of {name}", split, SPLITS[name])
    if name == "fashioniq":
        return [load_fashioniq(root, category, split, **options) for category in CATEGORIES]
    if name == "genecis":
        return [load_genecis(root, task, **options) for task in TASKS]
    return [{"cirr": load_cirr, "circo": load_circo, "dfmm": load_dfmm}[name](root, split, **options)]
