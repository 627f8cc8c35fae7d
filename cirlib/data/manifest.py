"""What a benchmark consists of: files with checksums, expected counts, and where its pictures are to be had under which terms.

The manifests are JSON files beside this module, so that an installed package has them too.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

from cirlib.types import InputError

NAMES = ("fashioniq", "cirr", "circo", "genecis", "dfmm")


@dataclass(frozen=True)
class AnnotationFile:
    """One official annotation file.

    Attributes:
        path: Path in the official repository; the path below `root` as well.
        also: Other places below `root` where people keep it.
        sha256: Checksum, or None where none is known.
        bytes: Size, or None where unknown.
        optional: Not needed for the evaluation splits.
    """

    path: str
    also: tuple[str, ...] = ()
    sha256: str | None = None
    bytes: int | None = None
    optional: bool = False

    def find(self, root: Path) -> Path | None:
        """Where the file lies below `root`, or None."""
        return next((root / place for place in (self.path, *self.also) if (root / place).is_file()), None)


@dataclass(frozen=True)
class Manifest:
    """One benchmark's manifest.

    Attributes:
        name: Name on the command line.
        title: Name in prose.
        version: Version of the data as its authors call it.
        source: Official repository.
        licence: Licence of the annotations.
        base_url: Where the annotation files are downloaded from; empty where their owners want to be asked first.
        checksums: Where the checksums come from.
        files: Every annotation file.
        picture_folders: Usual names of the picture folder below the annotation folder.
        pictures: "what", "where" and "terms" of the pictures.
        counts: "split/group" to {"queries": n, "gallery": n}.
    """

    name: str
    title: str
    version: str
    source: str
    licence: str
    base_url: str
    checksums: str
    files: tuple[AnnotationFile, ...]
    picture_folders: tuple[str, ...]
    pictures: Mapping[str, str]
    counts: Mapping[str, Mapping[str, int]]

    @property
    def where(self) -> str:
        """One sentence for a user who has no pictures."""
        return f"The pictures of {self.title} ({self.pictures['what']}): {self.pictures['where']}. Terms: {self.pictures['terms']}."

    def picture_folder(self, root: str | os.PathLike[str], images: str | os.PathLike[str] | bool | None = None) -> Path | None:
        """The folder of pictures: `images` if given, else the first usual folder below `root`, else None; None too if `images` is False.

        Raises:
            InputError: If `images` is given and is no folder.
        """
        if images is False:
            return None
        if images is not None:
            if not Path(images).is_dir():
                raise InputError(f"picture folder {images} does not exist; give the folder that holds the pictures of {self.title}")
            return Path(images)
        return next((Path(root, folder) for folder in self.picture_folders if Path(root, folder).is_dir()), None)

    def check_count(self, split: str, group: str, what: str, found: int, path: Path) -> None:
        """Raise InputError if the manifest states another count; silent where it states none."""
        expected = self.counts.get(f"{split}/{group}", {}).get(what)
        if expected is not None and found != expected:
            noun = "gallery pictures" if what == "gallery" else what
            part = f"{self.title} {split} {group}".rstrip()
            raise InputError(
                f"{path}: {found:,} {noun} of {part}, the official file has {expected:,}; "
                "fetch the file again, or turn the check of counts off"
            )


@cache
def load_manifest(name: str) -> Manifest:
    """Read a manifest that the package ships.

    Raises:
        InputError: If there is no benchmark of that name.

    Example:
        >>> load_manifest("cirr").counts["val/"]
        {'queries': 4181, 'gallery': 2297}
    """
    if name not in NAMES:
        raise InputError(f"benchmark {name!r} is unknown; choose one of {', '.join(NAMES)}")
    fields = json.loads(resources.files("cirlib.data").joinpath("manifests", f"{name}.json").read_text(encoding="utf-8"))
    fields["files"] = tuple(
        AnnotationFile(f["path"], tuple(f.get("also", ())), f["sha256"], f["bytes"], f.get("optional", False)) for f in fields["files"]
    )
    fields["picture_folders"] = tuple(fields["picture_folders"])
    return Manifest(**fields)


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
