"""GeneCIS (Vaze et al., CVPR 2023): four tasks of conditional similarity, each query with its own 10 or 15 candidates.

"focus" keeps what the condition names, "change" changes to it; "attribute" tasks show one object cut out of a Visual Genome picture,
"object" tasks a whole COCO val2017 picture. Foreign names: `condition` is our text; their `gallery` leaves the target out, our `subset`
holds both, target first. A picture that a query lists twice keeps both places, the second as "id#2", so every query has the official
number of candidates. The reference stays among them where the authors put it (79 queries of change_attribute).
"""

import os
from collections.abc import Callable, Mapping

from PIL import Image

from cirlib.data.annotations import Entry, locate, read_entries
from cirlib.data.assemble import assemble, check_choice, coco_name
from cirlib.data.files import Crop, PictureFolder
from cirlib.data.manifest import load_manifest
from cirlib.types import Benchmark, BenchmarkProtocol, Query

TASKS = ("focus_attribute", "change_attribute", "focus_object", "change_object")
CANDIDATES = {"focus_attribute": 10, "change_attribute": 15, "focus_object": 15, "change_object": 15}
MARGIN = 0.7  # of the box's width and height, in the authors' evaluation code

Box = tuple[float, float, float, float]


def load_genecis(
    root: str | os.PathLike[str],
    task: str,
    *,
    images: str | os.PathLike[str] | bool | None = None,
    allow_missing: bool = False,
    check_counts: bool = True,
) -> Benchmark:
    """Load one task. Recall at 1, 2, 3 among each query's own candidates. Query ids are "focus_attribute-17", the position in the file.

    Args:
        root: Folder with `genecis/<task>.json` or `<task>.json`.
        task: "focus_attribute", "change_attribute", "focus_object" or "change_object".
        images: Folder of pictures at any depth: Visual Genome (`VG_100K`, `VG_100K_2`) for attribute tasks, COCO val2017 for object
            tasks; None looks for `images/` below `root`, False does without pictures.
        allow_missing: Load although pictures are missing, see `assemble`.
        check_counts: Compare with the official counts of queries and of candidates per query.

    Raises:
        InputError: If the task is unknown, a file is absent or malformed, counts differ, or pictures are missing.
    """
    check_choice("task", task, TASKS)
    manifest = load_manifest("genecis")
    path = locate(root, f"genecis/{task}.json", f"{task}.json")
    entries = read_entries(path)
    if check_counts:
        manifest.check_count("val", task, "queries", len(entries), path)
    read = _crop_of if task.endswith("attribute") else _picture_of
    crops: dict[str, tuple[str, Crop]] = {}
    queries = []
    for entry in entries:
        candidates = _number_repeats(
            [read(entry.inside("target"), crops), *(read(item, crops) for item in entry.objects("gallery"))], crops
        )
        if check_counts and len(candidates) != CANDIDATES[task]:
            raise entry.wrong("gallery", f"a list of {CANDIDATES[task] - 1} candidates beside the target")
        reference = read(entry.inside("reference"), crops)
        queries.append(Query(f"{task}-{entry.number}", reference, entry.text("condition"), candidates[:1], candidates, group=task))
    protocol = BenchmarkProtocol(False, (1, 2, 3), gallery=f"{CANDIDATES[task]} candidates of each query", candidates="subset")
    return assemble(
        manifest,
        "val",
        queries,
        {i for query in queries for i in query.subset},
        protocol,
        sources=(path,),
        pictures=PictureFolder(manifest.picture_folder(root, images), manifest.where),
        names=picture_names,
        crops=crops,
        allow_missing=allow_missing,
    )


def picture_names(image_id: str) -> tuple[str, ...]:
    """File name (no suffix) of an id's picture: Visual Genome's number, or twelve digits for COCO.

    Both collections may lie in one folder and their numbers overlap, so COCO pictures are found under twelve digits only.

    Example:
        >>> picture_names("2366087@379,83,52,20#2"), picture_names("121506")
        (('2366087',), ('000000121506',))
    """
    stem, crop, _ = image_id.partition("#")[0].partition("@")
    return (stem,) if crop else coco_name(stem)[:1]


def cut_out(image: Image.Image, box: Box) -> Image.Image:
    """The object in a box, with a margin, on a black square.

    As in the authors' evaluation code (`datasets/vaw_dataset.py`, facebookresearch/genecis), whose numbers depend on it: the corner moves
    up and left by 0.7 of the box's size, not past the picture's edge; the piece is 1.7 times the box's size from *there*, so right and
    below the margin is only what the upper left edge took away. Then black bars make it square.

    Args:
        image: RGB picture.
        box: Left, top, width, height in pixels; may reach beyond the picture.

    Example:
        >>> cut_out(Image.new("RGB", (100, 80)), (50, 40, 20, 10)).size
        (34, 34)
    """
    left, top = max(0, box[0] - MARGIN * box[2]), max(0, box[1] - MARGIN * box[3])
    right, bottom = min(image.width, left + (1 + MARGIN) * box[2]), min(image.height, top + (1 + MARGIN) * box[3])
    piece = image.crop((left, top, right, bottom))
    side = max(piece.size)
    square = Image.new("RGB", (side, side))
    square.paste(piece, ((side - piece.width) // 2, (side - piece.height) // 2))
    return square


def _picture_of(item: Entry, crops: Mapping[str, tuple[str, Crop]]) -> str:
    return item.image_number("val_image_id")


def _crop_of(item: Entry, crops: dict[str, tuple[str, Crop]]) -> str:
    box = item.numbers("instance_bbox", 4)
    if min(box[2:]) <= 0:
        raise item.wrong("instance_bbox", "left, top, width, height with a width and height above 0")
    key = ",".join(f"{side:.2f}".rstrip("0").rstrip(".") for side in box)
    name = f"{item.image_number('image_id')}@{key}"
    crops[name] = (f"box {key} margin {MARGIN} square", _cutter(box))
    return name


def _cutter(box: Box) -> Callable[[Image.Image], Image.Image]:
    return lambda image: cut_out(image, box)


def _number_repeats(candidates: list[str], crops: dict[str, tuple[str, Crop]]) -> tuple[str, ...]:
    """Give the second and later places of one picture the suffix "#2", "#3"."""
    named, seen = [], {}
    for name in candidates:
        seen[name] = seen.get(name, 0) + 1
        unique = name if seen[name] == 1 else f"{name}#{seen[name]}"
        if name in crops:
            crops[unique] = crops[name]
        named.append(unique)
    return tuple(named)
