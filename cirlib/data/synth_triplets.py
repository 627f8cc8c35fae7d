"""SynthTriplets18M (CompoDiff, Gu et al. 2024): pairs of pictures drawn by a diffusion from a caption and its edited form.

The set is published as webdataset shards: tar files, in which the members of a sample share a name up to the first dot of the file name.
The released code of Map-to-Compose reads such members out of one folder:

* `KEY.source_image.jpg`, `KEY.target_image.jpg`: the reference and the target;
* `KEY.json`: an object with `source_caption` and `target_caption`;
* a text file with the keys of the subset that it trains on (87 thousand), one per line.

A key is the path below the folder, or within the shard, up to that dot. That code puts the target's caption where other sets have an
instruction, and so do we by default. Its author asked CompoDiff's authors for the instructions, so the release may lack them; that their
field would be called `instruction` is inferred.
"""

import hashlib
import json
import os
import posixpath
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from cirlib.data.assemble import check_choice
from cirlib.data.files import SUFFIXES, read_picture
from cirlib.data.triplets import Triplet, TripletSet, keep_present
from cirlib.types import ImageSet, InputError

TEXTS = ("target_caption", "instruction")
_SIDES = {"source_image": "source", "target_image": "target"}


@dataclass(frozen=True)
class _Member:
    """A file, or a file's place within a shard."""

    path: Path
    name: str = ""
    offset: int = 0
    size: int | None = None  # None: the whole file

    def __str__(self) -> str:
        return f"{self.path}, member {self.name}" if self.name else str(self.path)

    def read(self) -> bytes:
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                return file.read() if self.size is None else file.read(self.size)
        except OSError as error:
            raise InputError(f"{self} cannot be read ({error.strerror}); fetch it again") from None


def load_synth_triplets(
    root: str | os.PathLike[str],
    *,
    keys: str | os.PathLike[str] | None = None,
    text: str = "target_caption",
    allow_missing: bool = False,
) -> TripletSet:
    """Load the triplets below a folder, sorted by key; image ids are "KEY/source" and "KEY/target". No picture is opened.

    Args:
        root: Folder of tar shards, of their extracted members, or of both; searched to its leaves.
        keys: Text file with one key per line; only these are loaded. None loads everything, which needs memory for every caption.
        text: "target_caption" (released code) or "instruction" (field name inferred).
        allow_missing: Leave out triplets whose pictures or whose whole sample is not there, with a warning that counts them; else that
            is an error.

    Raises:
        InputError: If there are no samples, a key occurs twice, a sample lacks its JSON or a caption, or something is missing.
    """
    check_choice("text of SynthTriplets18M", text, TEXTS)
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"folder {root} does not exist; give the folder that holds the shards of SynthTriplets18M")
    wanted = None if keys is None else _read_keys(Path(keys))
    samples = _index(root, wanted)
    if not samples:
        raise InputError(f"{root} holds no samples of SynthTriplets18M; give the folder with its .tar shards or their KEY.json files")
    annotated = [_triplet(key, samples[key], text) for key in sorted(samples)]
    # A key without a sample has no captions to show, yet it counts as missing.
    annotated += [Triplet(f"{key}/source", "", f"{key}/target") for key in sorted((wanted or set()) - set(samples))]
    pictures = {f"{key}/{side}": member for key, sample in samples.items() for side, member in sample.items() if side != "json"}
    triplets, missing = keep_present("SynthTriplets18M", annotated, pictures.__contains__, root, allow_missing)
    ids = tuple(image_id for triplet in triplets for image_id in (triplet.reference, triplet.target))
    return TripletSet("synth-triplets", triplets, _picture_set(ids, pictures), missing)


def _read_keys(path: Path) -> set[str]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); give a text file with one key per line") from None
    return {line.strip() for line in lines if line.strip()}


def _index(root: Path, wanted: set[str] | None) -> dict[str, dict[str, _Member]]:
    """Key to the members of its sample, by "json", "source" and "target"."""
    samples: dict[str, dict[str, _Member]] = {}
    for name, member in _members(root):
        key, part = _split(name)
        if part is None or (wanted is not None and key not in wanted):
            continue
        if part in samples.setdefault(key, {}):
            raise InputError(f"{part} of {key!r} is there twice, {samples[key][part]} and {member}; keep one")
        samples[key][part] = member
    return samples


def _members(root: Path) -> Iterator[tuple[str, _Member]]:
    """Every file below the folder and every file within a shard, with its name; sorted by path."""
    for folder, subfolders, files in os.walk(root, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(files):
            path = Path(folder, name)
            if path.suffix == ".tar":
                yield from _shard(path)
            else:
                yield path.relative_to(root).as_posix(), _Member(path)


def _shard(path: Path) -> Iterable[tuple[str, _Member]]:
    try:
        with tarfile.open(path, "r:") as shard:
            return [(m.name.removeprefix("./"), _Member(path, m.name, m.offset_data, m.size)) for m in shard if m.isfile()]
    except (OSError, tarfile.TarError) as error:
        raise InputError(f"{path} is no readable tar shard ({error}); fetch it again") from None


def _split(name: str) -> tuple[str, str | None]:
    """Key of a file name, and which part of the sample it is; None for other files.

    Example:
        >>> _split("000012.source_image.jpg"), _split("part/000012.json"), _split("notes.txt")
        (('000012', 'source'), ('part/000012', 'json'), ('notes', None))
    """
    folder, file = posixpath.split(name)
    stem, _, rest = file.partition(".")
    key = posixpath.join(folder, stem)
    if rest == "json":
        return key, "json"
    side, suffix = posixpath.splitext(rest)
    return key, _SIDES.get(side) if suffix.lower() in SUFFIXES else None


def _triplet(key: str, sample: Mapping[str, _Member], text: str) -> Triplet:
    if "json" not in sample:
        raise InputError(f"sample {key!r} at {next(iter(sample.values()))} has no {key}.json; fetch it again or name the keys to load")
    fields = _read_fields(sample["json"])
    caption = _text(sample["json"], fields, "target_caption")
    said = caption if text == "target_caption" else _text(sample["json"], fields, text)
    return Triplet(f"{key}/source", said, f"{key}/target", _text(sample["json"], fields, "source_caption"), caption)


def _read_fields(member: _Member) -> Mapping[str, Any]:
    try:
        fields = json.loads(member.read().decode("utf-8"))
    except ValueError as error:  # neither UTF-8 nor JSON
        raise InputError(f"{member} is not JSON ({error}); fetch it again") from None
    if not isinstance(fields, Mapping):
        raise InputError(f"{member} holds {type(fields).__name__}; it must be an object with source_caption and target_caption")
    return fields


def _text(member: _Member, fields: Mapping[str, Any], field: str) -> str:
    value = fields.get(field)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{member}: field {field!r} is {value!r}; it must be a text that is not empty")
    return value.strip()


def _picture_set(ids: tuple[str, ...], pictures: Mapping[str, _Member]) -> ImageSet:
    def open_picture(image_id: str) -> Image.Image:
        member = pictures[image_id]
        if member.size is None:
            return read_picture(member.path, image_id)
        try:
            return read_picture(BytesIO(member.read()), image_id)
        except InputError as error:
            raise InputError(f"{member}: {error}") from None

    return ImageSet(ids, open_picture, lambda image_id: hashlib.sha256(pictures[image_id].read()).hexdigest())
