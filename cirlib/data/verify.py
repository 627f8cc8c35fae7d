"""Is a benchmark folder complete, and if not, what can still be said about recall?"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cirlib.data import genecis
from cirlib.data.assemble import coco_name, plain_name
from cirlib.data.files import PictureFolder, read_picture
from cirlib.data.manifest import Manifest, sha256_of
from cirlib.types import Benchmark, InputError


@dataclass(frozen=True)
class FileState:
    """What was found of one annotation file: "ok", "changed", "unchecked" (no checksum is known), "absent" or "absent, optional"."""

    path: str
    state: str


@dataclass(frozen=True)
class Bounds:
    """What missing pictures do to recall at any cut-off K, of one part of a benchmark.

    A query whose target is missing can only miss, one whose reference is missing cannot be asked. Without the missing pictures the gallery
    is smaller by `missing_gallery`, and each of them might have stood above a target.

    Attributes:
        part: Split and category or task.
        queries: Queries of the annotation file.
        answerable: Queries whose reference and target are both there.
        gallery: Pictures of the gallery.
        missing_gallery: Of these, missing or unreadable.
    """

    part: str
    queries: int
    answerable: int
    gallery: int
    missing_gallery: int

    @property
    def max_recall(self) -> float:
        """Highest recall that can be measured here, with queries that cannot be answered as misses; a fraction in [0, 1]."""
        return self.answerable / self.queries if self.queries else 1.0

    def full_recall(self, recall: float) -> float:
        """Upper bound on recall@K with all pictures, from recall@K measured here (misses counted as above); fractions in [0, 1].

        A lower bound is recall@(K - missing_gallery) measured here, 0 where that is not positive: missing pictures can push a target down
        by no more places than there are missing pictures.
        """
        return min(1.0, recall + 1.0 - self.max_recall)


def check_files(manifest: Manifest, root: str | os.PathLike[str]) -> list[FileState]:
    """State of every annotation file of the manifest."""
    if not Path(root).is_dir():
        raise InputError(f"annotation folder {root} does not exist; make it with `cirlib data fetch {manifest.name} --root {root}`")
    states = []
    for file in manifest.files:
        path = file.find(Path(root))
        if path is None:
            state = "absent, optional" if file.optional else "absent"
        elif file.sha256 is None:
            state = "unchecked"
        else:
            state = "ok" if sha256_of(path) == file.sha256 else "changed"
        states.append(FileState(file.path, state))
    return states


def picture_names(manifest: Manifest, image_id: str) -> tuple[str, ...]:
    """File names (no suffix) under which the picture of an id may lie; cuts of one picture share it."""
    return {"circo": coco_name, "genecis": genecis.picture_names}.get(manifest.name, plain_name)(image_id)


def find_bad_pictures(
    manifest: Manifest, ids: Iterable[str], pictures: PictureFolder, track: Callable[[Iterable[str]], Iterable[str]] = iter
) -> tuple[dict[str, str], dict[str, str]]:
    """Look at every picture once: decoded whole, because only that finds truncated files.

    Args:
        manifest: The benchmark's manifest.
        ids: Image ids; several may share one file.
        pictures: Where to look.
        track: Wraps the loop, for a progress bar.

    Returns:
        Missing and unreadable pictures: file name without suffix to the reason.
    """
    missing, unreadable = {}, {}
    for names in track(sorted({picture_names(manifest, image_id) for image_id in ids})):
        try:
            path = pictures.find(*names)
        except InputError as error:
            (unreadable if pictures.has(*names) else missing)[names[0]] = str(error)
            continue
        try:
            read_picture(path, names[0])
        except InputError as error:
            unreadable[names[0]] = str(error)
    return missing, unreadable


def bound_recall(manifest: Manifest, benchmark: Benchmark, part: str, bad: Mapping[str, str]) -> Bounds:
    """Bounds of one part, given the file names of pictures that are missing or unreadable.

    Args:
        manifest: The benchmark's manifest.
        benchmark: Loaded from annotations alone, so that nothing is left out.
        part: Name of the part.
        bad: File names without suffix, as `find_bad_pictures` gives them.
    """
    gone = {i for i in benchmark.references.ids if picture_names(manifest, i)[0] in bad}
    answerable = sum(query.reference not in gone and gone.isdisjoint(query.positives[:1]) for query in benchmark.queries)
    return Bounds(part, len(benchmark.queries), answerable, len(benchmark.gallery), sum(i in gone for i in benchmark.gallery.ids))
