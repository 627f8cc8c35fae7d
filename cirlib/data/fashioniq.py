"""Fashion IQ (Wu et al., CVPR 2021): a garment, two captions of the difference, another garment. Three categories, scored each on its own.

Foreign names: their `candidate` is our reference image. The reference stays in the gallery (official protocol). Two galleries are in
use and their numbers do not compare:

* "original": the official `image_splits` list (val: 3,817 / 6,346 / 5,373 pictures). Our default, and that of most recent work.
* "val_split": only the pictures that some query of the split names (val: 2,628 / 3,089 / 2,902), the habit that VAL (Chen et al.,
  2020) began. It is smaller, so recall comes out higher.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from cirlib.data.annotations import locate, read_entries, read_image_list
from cirlib.data.assemble import assemble, check_choice
from cirlib.data.files import PictureFolder
from cirlib.data.manifest import load_manifest
from cirlib.types import Benchmark, BenchmarkProtocol, InputError, Query

CATEGORIES = ("dress", "shirt", "toptee")
SPLITS = ("train", "val", "test")
GALLERIES = {"original": "original {split} list", "val_split": "union of {split} pairs"}
CAPTION_JOINS = {
    "and": "a and b",
    "reverse": "b and a",
    "comma": "a, b",
    "separate": "one query per caption",
}


def load_fashioniq(
    root: str | os.PathLike[str],
    category: str,
    split: str = "val",
    *,
    gallery: str = "original",
    caption_join: str = "and",
    images: str | os.PathLike[str] | bool | None = None,
    exclude_leaks: bool = False,
    allow_missing: bool = False,
    check_counts: bool = True,
) -> Benchmark:
    """Load one category of one split. Query ids are "dress-val-17", the position in the caption file.

    Args:
        root: Folder with `captions/` and `image_splits/`.
        category: "dress", "shirt" or "toptee".
        split: "train", "val" or "test"; test has no public targets.
        gallery: "original" or "val_split", see the module.
        caption_join: How two captions become one text, after white space and the marks ". ? ," at their ends are taken off:
            "and" (default, the habit of most code), "reverse" (second caption first, Pic2Word's habit), "comma", or "separate", which makes
            two queries of each pair with ids that end in "/0" and "/1". A blank caption is left out of the text.
        images: Folder of pictures named by id; None looks for `images/` and the like below `root`, False does
            without pictures.
        exclude_leaks: For split "train": leave out every picture that another category has in its val or test list, and the triplets that
            use it. Training on all categories together leaks without it.
        allow_missing: Load although pictures are missing, see `assemble`.
        check_counts: Compare with the official counts.

    Raises:
        InputError: If a choice is unknown, a file is absent or malformed, counts differ, or pictures are missing.
    """
    check_choice("category", category, CATEGORIES)
    check_choice("split", split, SPLITS)
    check_choice("gallery", gallery, GALLERIES)
    check_choice("caption_join", caption_join, CAPTION_JOINS)
    if exclude_leaks and split != "train":
        raise InputError(f"exclude_leaks was asked for split {split!r}; it is for 'train', held-out lists stay whole")
    manifest = load_manifest("fashioniq")
    captions_path = _captions_path(root, category, split)
    split_path = _split_path(root, category, split)
    official = read_image_list(split_path)
    queries, pairs = _read_queries(captions_path, category, split, caption_join)
    if check_counts:
        manifest.check_count(split, category, "queries", pairs, captions_path)
        manifest.check_count(split, category, "gallery", len(official), split_path)
    _check_references(queries, set(official), captions_path)
    rows, where = set(official), GALLERIES[gallery].format(split=split)
    if exclude_leaks:
        leaks = {i for held_out in ("val", "test") for i in leaking_images(root, category, held_out)}
        queries = [query for query in queries if leaks.isdisjoint((query.reference, *query.positives))]
        rows -= leaks
        where += f", {len(set(official) & leaks):,} pictures that other categories hold out left out"
    if gallery == "val_split":
        rows = {image_id for query in queries for image_id in (query.reference, *query.positives)}
    protocol = BenchmarkProtocol(False, (10, 50), gallery=where, caption_join=CAPTION_JOINS[caption_join])
    pictures = PictureFolder(manifest.picture_folder(root, images), manifest.where)
    sources = (captions_path, split_path)
    return assemble(manifest, split, queries, rows, protocol, sources=sources, pictures=pictures, allow_missing=allow_missing)


def leaking_images(root: str | os.PathLike[str], category: str, held_out: str = "val") -> tuple[str, ...]:
    """Pictures in the training list of `category` that another category holds out: joint training would see them.

    Official lists, val: 419 of toptee's training pictures are in shirt's gallery, 392 of shirt's in toptee's, none elsewhere.

    Args:
        root: Folder with `image_splits/`.
        category: Category that is trained on.
        held_out: "val" or "test", the lists that must stay unseen.

    Returns:
        Image ids, sorted.
    """
    check_choice("category", category, CATEGORIES)
    check_choice("held_out", held_out, ("val", "test"))
    trained = set(read_image_list(_split_path(root, category, "train")))
    others = (read_image_list(_split_path(root, other, held_out)) for other in CATEGORIES if other != category)
    return tuple(sorted(trained.intersection(i for names in others for i in names)))


def join_captions(captions: Sequence[str], how: str = "and") -> str:
    """Two captions as one text; see `load_fashioniq`.

    Example:
        >>> join_captions([" is longer.", "has a belt"]), join_captions(["is longer", "has a belt"], "reverse")
        ('is longer and has a belt', 'has a belt and is longer')
    """
    clean = [caption.strip(" \t\n.?,") for caption in captions]
    if how == "reverse":
        clean.reverse()
    return (", " if how == "comma" else " and ").join(caption for caption in clean if caption)


def _captions_path(root: str | os.PathLike[str], category: str, split: str) -> Path:
    return locate(root, f"captions/cap.{category}.{split}.json")


def _split_path(root: str | os.PathLike[str], category: str, split: str) -> Path:
    return locate(root, f"image_splits/split.{category}.{split}.json")


def _read_queries(path: Path, category: str, split: str, how: str) -> tuple[list[Query], int]:
    """Queries in file order, and the number of pairs."""
    queries = []
    entries = read_entries(path)
    for entry in entries:
        reference, captions = entry.text("candidate"), entry.texts("captions", 2)
        positives = () if split == "test" else (entry.text("target"),)
        texts = [join_captions([caption]) for caption in captions] if how == "separate" else [join_captions(captions, how)]
        if not any(texts):
            raise entry.wrong("captions", "two captions, at least one of them not blank")
        for part, text in enumerate(texts):
            name = f"{category}-{split}-{entry.number}" + (f"/{part}" if how == "separate" else "")
            queries.append(Query(name, reference, text, positives, group=category))
    return queries, len(entries)


def _check_references(queries: Sequence[Query], official: set[str], path: Path) -> None:
    for query in queries:
        if query.reference not in official:
            raise InputError(
                f"{path}, query {query.id!r}: reference {query.reference!r} is not in the split list; use files of one release"
            )
