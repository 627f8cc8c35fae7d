"""DFMM-Compose-R: composed retrieval on DeepFashion-MultiModal, whose labels know what an edit asks for.

Pix2Key (2026) reports on DFMM-Compose, made from the same pictures and labels by a construction that is unpublished. This one is ours, by
the rules of `cirlib.data.dfmm_compose`, and bears another name: its numbers do not compare with the paper's. Splits "val" (500 queries, to
tune on) and "test" (2,000 queries) share no product. The reference is removed from the ranking. Recall is on the designated target, mAP on
all positives; AC@K, AC_strict@K and ILD@K follow from the 18 label dimensions. `cirlib.evaluation.base_rates` belongs beside them.

Queries are made when they are loaded, from the user's own label files: the licence forbids publishing any portion of the dataset, and
queries hold its file names and labels.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from cirlib.data.assemble import assemble, check_choice
from cirlib.data.dfmm_compose import MIN_VISIBLE, Similarity, choose_gallery, compose_queries
from cirlib.data.dfmm_labels import PictureLabels, read_labels
from cirlib.data.files import PictureFolder
from cirlib.data.manifest import Manifest, load_manifest
from cirlib.types import Benchmark, BenchmarkProtocol, InputError, Query

SPLITS = ("val", "test")
CONSTRUCTION = "DFMM-Compose-R, our construction; that of DFMM-Compose is unpublished"


def load_dfmm(
    root: str | os.PathLike[str],
    split: str = "val",
    *,
    queries: int | None = None,
    images: str | os.PathLike[str] | bool | None = None,
    allow_missing: bool = False,
    similarity: Similarity | None = None,
) -> Benchmark:
    """Read the labels, compose the queries and load one split.

    `labels` holds, per gallery picture, its value in each of the 18 dimensions; a missing key means not applicable. `version` ends in a
    digest of the queries: two machines with equal digests have equal queries. `protocol.gallery` says how many pictures the label files
    share. Which pictures are on disk changes no query.

    Args:
        root: Folder with `labels/shape/shape_anno_all.txt`, `labels/texture/fabric_ann.txt` and `labels/texture/pattern_ann.txt`.
        split: "val" or "test".
        queries: How many; None takes 500 and 2,000.
        images: Folder of pictures; None looks for `images/` and the like below `root`, False does without pictures.
        allow_missing: Load although pictures are missing, see `assemble`.
        similarity: Decides between equally good targets, such as an image encoder other than those that are compared. None (default)
            leaves it to a hash; then labels alone make the queries, the same on every machine.

    Raises:
        InputError: If the split is unknown, a label file is absent or malformed, the labels give fewer queries, or pictures are missing.
    """
    check_choice("split", split, SPLITS)
    manifest = load_manifest("dfmm")
    sources = _label_files(manifest, Path(root))
    labels = read_labels(*sources)
    rows = choose_gallery(labels, split)
    count = manifest.counts[f"{split}/"]["queries"] if queries is None else queries
    composed = compose_queries(labels, rows, split, count, similarity)
    protocol = BenchmarkProtocol(
        exclude_reference=True,
        recall_at=(1, 5, 10, 50),
        map_at=(5, 10, 25, 50),
        gallery=_describe(labels, len(rows), split),
    )
    gallery = [labels.ids[row] for row in rows]
    pictures = PictureFolder(manifest.picture_folder(root, images), manifest.where)
    loaded = assemble(manifest, split, composed, gallery, protocol, sources=sources, pictures=pictures, allow_missing=allow_missing)
    known = {labels.ids[row]: labels.values(row) for row in rows if labels.ids[row] in loaded.gallery}
    return replace(loaded, labels=known, version=f"{loaded.version}-{digest_queries(composed)[:12]}")


def digest_queries(queries: Sequence[Query]) -> str:
    """SHA-256 of queries, edits included, in hex: equal digests mean equal queries in equal order."""
    text = json.dumps([asdict(query) for query in queries], sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _label_files(manifest: Manifest, root: Path) -> tuple[Path, ...]:
    if not root.is_dir():
        raise InputError(f"folder {root} does not exist; give the folder that holds the labels of DeepFashion-MultiModal. {manifest.where}")
    found = [(file, file.find(root)) for file in manifest.files]
    for file, path in found:
        if path is None:
            raise InputError(f"{root} has no {' or '.join((file.path, *file.also))}; put the label file there. {manifest.where}")
    return tuple(path for _, path in found)


def _describe(labels: PictureLabels, pictures: int, split: str) -> str:
    parts = ", ".join(f"{labels.counts[part]:,} {part}" for part in ("shape", "fabric", "pattern"))
    return (
        f"{pictures:,} color variants of {split}'s products, one picture each with {MIN_VISIBLE} or more visible dimensions; "
        f"{labels.counts['all']:,} pictures are in all label files ({parts}). {CONSTRUCTION}"
    )
