"""CIRR rc2 (Liu et al., ICCV 2021): real-life photographs of NLVR2, in groups of six look-alikes.

Foreign names: `target_hard` is our target, `img_set.members` without the reference is our subset, `pairid` our query id. The reference is
taken out of every ranking (official protocol), of the subset too: five candidates remain. Targets of test1 are hidden; `cirlib submit`
writes the two files that the server scores. One caption of test1 is blank (pair 27098); its query stays, as the server asks for it.
"""

import os
from pathlib import Path

from cirlib.data.annotations import Entry, locate, read_entries, read_image_list
from cirlib.data.assemble import assemble, check_choice
from cirlib.data.files import PictureFolder
from cirlib.data.manifest import load_manifest
from cirlib.types import Benchmark, BenchmarkProtocol, InputError, Query

SPLITS = ("val", "test1", "train")


def load_cirr(
    root: str | os.PathLike[str],
    split: str = "val",
    *,
    images: str | os.PathLike[str] | bool | None = None,
    allow_missing: bool = False,
    check_counts: bool = True,
) -> Benchmark:
    """Load one split. Recall at 1, 5, 10, 50 over the split's pictures, R_subset at 1, 2, 3; the reference excluded.

    Args:
        root: Folder with `captions/` and `image_splits/`.
        split: "val", "test1" (no public targets) or "train".
        images: Folder of pictures named by id, at any depth; None looks for `img_raw/` and the like below `root`,
            False does without pictures.
        allow_missing: Load although pictures are missing, see `assemble`.
        check_counts: Compare with the official counts.

    Raises:
        InputError: If the split is unknown, a file is absent or malformed, counts differ, or pictures are missing.
    """
    check_choice("split", split, SPLITS)
    manifest = load_manifest("cirr")
    captions_path = _captions_path(root, split)
    split_path = locate(root, f"image_splits/split.rc2.{split}.json")
    queries = [_query(entry, split) for entry in read_entries(captions_path)]
    gallery = read_image_list(split_path)
    if check_counts:
        manifest.check_count(split, "", "queries", len(queries), captions_path)
        manifest.check_count(split, "", "gallery", len(gallery), split_path)
    protocol = BenchmarkProtocol(True, (1, 5, 10, 50), subset_at=(1, 2, 3), gallery=f"all {split} pictures")
    pictures = PictureFolder(manifest.picture_folder(root, images), manifest.where)
    sources = (captions_path, split_path)
    return assemble(manifest, split, queries, gallery, protocol, sources=sources, pictures=pictures, allow_missing=allow_missing)


def _captions_path(root: str | os.PathLike[str], split: str) -> Path:
    try:
        return locate(root, f"captions/cap.rc2.{split}.json")
    except InputError as error:
        if split != "train" or not Path(root).is_dir():
            raise
        raise InputError(
            f"{error}. Some copies of CIRR come without the training captions: the official branch `cirr_dataset` has them"
        ) from None


def _query(entry: Entry, split: str) -> Query:
    reference = entry.text("reference")
    members = entry.inside("img_set").texts("members")
    if reference not in members or len(set(members)) != len(members):
        raise entry.wrong("img_set", f"a group with the reference {reference!r} and no member twice")
    positives = ()
    if split != "test1":
        positives = (entry.text("target_hard"),)
        if positives[0] == reference or (positives[0] not in members and split == "val"):
            raise entry.wrong("target_hard", "another member of img_set than the reference")
    subset = tuple(member for member in members if member != reference)
    return Query(entry.image_number("pairid"), reference, entry.text("caption", blank=True), positives, subset)
