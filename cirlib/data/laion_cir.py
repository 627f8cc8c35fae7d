"""Laion-CIR-Combined (TransAgg, Liu et al. 2023): photographs of LAION-COCO, edits by template and by a language model, retrieved targets.

The released files, as the authors' repository has them and its code reads them:

* `laion_template_info.json`: a list of objects with `ref_image_id`, `relative_cap` and `tgt_image_id`.
* `laion_llm_info.json`: an object from the reference's id to `tgt_image_id`, `relative_cap` and `tgt_cap`.
* `laion_combined_info.json`: a list like the first, which the authors' code reads and their repository lacks. Where it is absent, the two
  others are put one after the other (our choice).

Pictures are named by their id with seven digits (`0306448.png`). That both parts number the same pictures is inferred: the authors' code
reads the template part and the combined part from one folder. Captions of the references are not part of the release; Map-to-Compose had a
multimodal model write them, and takes the first sentence.
"""

import filecmp
import os
from collections.abc import Mapping
from pathlib import Path

from cirlib.data.annotations import Entry, locate, read_entries, read_json
from cirlib.data.assemble import check_choice
from cirlib.data.files import PictureFolder, picture_set
from cirlib.data.triplets import Triplet, TripletSet, fill_reference_captions, first_sentence, keep_present
from cirlib.types import InputError

PARTS = ("combined", "template", "llm")
COUNTS = {"template": 16_000}  # counted by readers of the file; no count of the other part is known to us
_FOLDERS = ("", "files/", "data/files/")  # the authors' repository keeps them in the last


def load_laion_cir(
    root: str | os.PathLike[str],
    part: str = "combined",
    *,
    images: str | os.PathLike[str] | None = None,
    captions: str | os.PathLike[str] | None = None,
    allow_missing: bool = False,
    check_counts: bool = True,
) -> TripletSet:
    """Load one part, triplets in file order; image ids are the seven digits. No picture is opened.

    Args:
        root: Folder with the annotation files.
        part: "combined", "template" or "llm".
        images: Folder of pictures, searched to its leaves; default is `root`. A picture that lies there twice must be the same file.
        captions: JSON from picture file name ("0306448.png") to caption; of each the first sentence becomes the reference's caption. None
            leaves reference captions empty; `fill_reference_captions` puts others there.
        allow_missing: Leave out triplets whose pictures are not there, with a warning that counts them; else that is an error.
        check_counts: Compare with the known count of the template part.

    Raises:
        InputError: If the part is unknown, a file is absent or malformed, the count differs, or pictures or captions are missing.
    """
    check_choice("part of Laion-CIR", part, PARTS)
    annotated = _read_part(Path(root), part, check_counts)
    folder = PictureFolder(Path(root if images is None else images))
    triplets, missing = keep_present(f"Laion-CIR {part}", annotated, folder.has, folder.root, allow_missing)
    if captions is not None:
        triplets = fill_reference_captions(triplets, _read_captions(Path(captions)))
    ids = sorted({image_id for triplet in triplets for image_id in (triplet.reference, triplet.target)})
    return TripletSet(f"laion-cir-{part}", triplets, picture_set(ids, lambda image_id: _find_picture(folder, image_id)), missing)


def _read_part(root: Path, part: str, check_counts: bool) -> list[Triplet]:
    name = f"laion_{part}_info.json"
    if part == "combined" and not any((root / folder / name).is_file() for folder in _FOLDERS):
        return _read_part(root, "template", check_counts) + _read_part(root, "llm", check_counts)
    path = locate(root, *(folder + name for folder in _FOLDERS))
    triplets = _read_object(path) if part == "llm" else [_triplet(entry) for entry in read_entries(path)]
    expected = COUNTS.get(part, len(triplets))
    if check_counts and len(triplets) != expected:
        raise InputError(
            f"{path}: {len(triplets):,} triplets, the official file has {expected:,}; fetch the file again, or turn the check of counts off"
        )
    return triplets


def _triplet(entry: Entry) -> Triplet:
    return Triplet(_digits(entry, "ref_image_id"), entry.text("relative_cap"), _digits(entry, "tgt_image_id"))


def _read_object(path: Path) -> list[Triplet]:
    content = read_json(path)
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds {type(content).__name__}; it must be an object from reference ids to triplets")
    triplets = []
    for number, (reference, fields) in enumerate(content.items()):
        if not reference.isdecimal() or not isinstance(fields, Mapping):
            raise InputError(f"{path}, entry {number}: {reference!r} given; it must be an image number with an object of named fields")
        entry = Entry(path, number, fields)
        target, text, caption = _digits(entry, "tgt_image_id"), entry.text("relative_cap"), entry.text("tgt_cap")
        triplets.append(Triplet(f"{int(reference):07d}", text, target, target_caption=caption))
    return triplets


def _digits(entry: Entry, field: str) -> str:
    """Image id as files are named: seven digits."""
    return f"{int(entry.image_number(field)):07d}"


def _read_captions(path: Path) -> dict[str, str]:
    content = read_json(path)
    if not isinstance(content, Mapping) or not all(isinstance(caption, str) for caption in content.values()):
        raise InputError(f"{path} is no object from picture file names to captions; give one such as {{'0306448.png': 'a bed'}}")
    return {Path(name).stem: first_sentence(caption) for name, caption in content.items()}


def _find_picture(folder: PictureFolder, image_id: str) -> Path:
    """The file of a picture; both parts may have a copy, and copies must be equal."""
    paths = folder.paths.get(image_id, ())
    for other in paths[1:]:
        if not filecmp.cmp(paths[0], other, shallow=False):
            raise InputError(f"picture {image_id!r} is there twice, {paths[0]} and {other}, with different content; keep one")
    return paths[0] if paths else folder.find(image_id)
