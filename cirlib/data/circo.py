"""CIRCO (Baldrati et al., ICCV 2023): every correct picture is annotated; the gallery is the whole COCO 2017 unlabeled set.

Foreign names: `gt_img_ids` are our positives, `relative_caption` our text. Image ids are COCO numbers, as text without leading zeros.
The reference stays in the ranking, as in the authors' scorer. mAP@K counts all positives, Recall@K the designated target alone.
"""

import os
from pathlib import Path

from cirlib.data.annotations import Entry, locate, read_entries, read_json
from cirlib.data.assemble import assemble, check_choice, coco_name
from cirlib.data.files import PictureFolder
from cirlib.data.manifest import load_manifest
from cirlib.types import Benchmark, BenchmarkProtocol, InputError, Query

SPLITS = ("val", "test")
ASPECTS = (
    "cardinality",
    "addition",
    "negation",
    "direct_addressing",
    "compare_change",
    "comparative_statement",
    "statement_with_conjunction",
    "spatial_relations_background",
    "viewpoint",
)
ANNOTATED_ONLY = "only the pictures that the annotations name; not the official gallery"
_IMAGE_LISTS = tuple(f"{folder}image_info_unlabeled2017.json" for folder in ("COCO2017_unlabeled/annotations/", "annotations/", ""))


def load_circo(
    root: str | os.PathLike[str],
    split: str = "val",
    *,
    images: str | os.PathLike[str] | bool | None = None,
    allow_missing: bool = False,
    check_counts: bool = True,
) -> Benchmark:
    """Load one split. mAP and recall at 5, 10, 25, 50.

    The gallery is, in this order: the pictures that COCO's `image_info_unlabeled2017.json` lists, if it lies below `root`; every picture in
    the picture folder; else only the pictures that the annotations name. `protocol.gallery` says which. With the last one, ranking is far
    too easy and no number compares with anybody's; it serves to read the annotations and to score ranking files.

    Args:
        root: Folder with `annotations/val.json` and `annotations/test.json`.
        split: "val" or "test" (no public positives).
        images: Folder of COCO pictures, twelve digits each; None looks for `COCO2017_unlabeled/unlabeled2017/` and the like below
            `root`, False does without pictures.
        allow_missing: Load although pictures are missing, see `assemble`.
        check_counts: Compare with the official counts.

    Raises:
        InputError: If the split is unknown, a file is absent or malformed, counts differ, or pictures are missing.
    """
    check_choice("split", split, SPLITS)
    manifest = load_manifest("circo")
    path = locate(root, f"annotations/{split}.json", f"{split}.json")
    queries = [_query(entry, split) for entry in read_entries(path)]
    if check_counts:
        manifest.check_count(split, "", "queries", len(queries), path)
    pictures = PictureFolder(manifest.picture_folder(root, images), manifest.where)
    named = {i for query in queries for i in (query.reference, *query.positives)}
    gallery, where, source = _gallery(Path(root), pictures, named)
    if check_counts and where != ANNOTATED_ONLY and not (allow_missing and source == pictures.root):
        manifest.check_count(split, "", "gallery", len(gallery), source)
    protocol = BenchmarkProtocol(False, (5, 10, 25, 50), map_at=(5, 10, 25, 50), gallery=where)
    return assemble(
        manifest, split, queries, gallery, protocol, sources=(path,), pictures=pictures, names=coco_name, allow_missing=allow_missing
    )


def _gallery(root: Path, pictures: PictureFolder, named: set[str]) -> tuple[set[str], str, Path]:
    """Ids, their description, and the file or folder that they come from."""
    for place in _IMAGE_LISTS:
        if (root / place).is_file():
            return _listed_ids(root / place), "COCO 2017 unlabeled, by its image list", root / place
    if pictures.root is not None:
        found = {str(int(name)) for name in pictures.paths if name.isdecimal()}
        return found | named, "COCO 2017 unlabeled, by the picture folder", pictures.root
    return named, ANNOTATED_ONLY, root


def _listed_ids(path: Path) -> set[str]:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise InputError(f"{path} has no list 'images'; give COCO's image_info_unlabeled2017.json")
    return {Entry(path, number, item).image_number("id") for number, item in enumerate(content["images"])}


def _query(entry: Entry, split: str) -> Query:
    reference = entry.image_number("reference_img_id")
    query_id, text = entry.image_number("id"), entry.text("relative_caption")
    if split == "test":
        return Query(query_id, reference, text)
    target, truths = entry.image_number("target_img_id"), entry.image_numbers("gt_img_ids")
    if target not in truths or len(set(truths)) != len(truths):
        raise entry.wrong("gt_img_ids", f"distinct images, the target {target} among them")
    aspects = entry.texts("semantic_aspects")
    unknown = [aspect for aspect in aspects if aspect not in ASPECTS]
    if unknown:
        raise entry.wrong("semantic_aspects", f"aspects among {', '.join(ASPECTS)}")
    positives = (target, *(image_id for image_id in truths if image_id != target))
    return Query(query_id, reference, text, positives, aspects=aspects)
