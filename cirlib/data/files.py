"""Pictures on disk as an `ImageSet`: found by name, read as RGB, hashed by content.

Whatever the file holds, a reader gets upright 8-bit RGB: EXIF orientation applied, transparency laid on white (our choice: product cut-outs
stand on white), palettes and CMYK converted, 16-bit greys scaled. A file that cannot be read is an `InputError` with its name, never
a crash of PIL and never a grey half of a picture.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from cirlib.types import ImageSet, InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)

Crop = Callable[[Image.Image], Image.Image]


def read_picture(path: str | os.PathLike[str], image_id: str = "") -> Image.Image:
    """Read one file as upright 8-bit RGB.

    Args:
        path: File in any format that PIL reads; of an animation the first frame.
        image_id: Name for the error message; the path is always in it.

    Raises:
        InputError: If the file is absent, truncated, no picture, or holds floating-point values, whose range nobody states.
    """
    name = f"picture {image_id!r}" if image_id else "picture"
    try:
        with Image.open(path) as image:
            return upright_rgb(image)
    except FileNotFoundError:
        raise InputError(f"{name} is not at {path}; put the file there or name the folder that has it") from None
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{name} at {path} cannot be read ({reason}); replace the file or leave it out") from error


def upright_rgb(image: Image.Image) -> Image.Image:
    """An opened picture as every reader of cirlib sees it: decoded whole, turned upright, 8-bit RGB.

    Raises:
        ValueError: For floating-point pixels; errors of PIL where the file is damaged.
    """
    image.load()
    return _as_rgb(ImageOps.exif_transpose(image))


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels have no stated range")
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.int64)
        # PIL would clip 16-bit greys at 255, which turns most of the picture white.
        eight_bit = grey // 257 if image.mode != "I" or grey.max(initial=0) > 255 else grey
        return Image.fromarray(eight_bit.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        coloured = image.convert("RGBA")
        paper = Image.new("RGBA", coloured.size, "white")
        return Image.alpha_composite(paper, coloured).convert("RGB")
    return image.convert("RGB")


@dataclass(frozen=True)
class PictureFolder:
    """A folder of pictures, searched to its leaves once, on first use. Names are file names without their suffix.

    Attributes:
        root: The folder; None means that no folder was given, and every look-up then says so.
        wanted: What to tell the user who has no folder: which pictures, and where they are to be had.
    """

    root: Path | None
    wanted: str = ""

    @cached_property
    def paths(self) -> Mapping[str, tuple[Path, ...]]:
        """Every picture below the folder by its name; sorted, so that a listing never depends on the file system."""
        if self.root is None:
            return {}
        found: dict[str, list[Path]] = {}
        for path in list_pictures(self.root):
            found.setdefault(path.stem, []).append(path)
        return {name: tuple(paths) for name, paths in found.items()}

    def find(self, *names: str, image_id: str = "") -> Path:
        """Path of the picture with one of these names, the first that exists.

        Raises:
            InputError: If there is none, or if two files share the name (then nobody can say which is meant).
        """
        image_id = image_id or names[0]
        for name in names:
            paths = self.paths.get(name, ())
            if len(paths) > 1:
                raise InputError(f"picture {image_id!r} is there twice, {paths[0]} and {paths[1]}; keep one or name a narrower folder")
            if paths:
                return paths[0]
        if self.root is None:
            raise InputError(f"picture {image_id!r} cannot be opened: no folder of pictures was given or found. {self.wanted}".rstrip())
        raise InputError(f"picture {image_id!r} is not below {self.root} (looked for {' or '.join(names)} with .jpg, .png, ...)")

    def has(self, *names: str) -> bool:
        """Whether a picture with one of these names exists."""
        return any(name in self.paths for name in names)


def list_pictures(root: str | os.PathLike[str]) -> list[Path]:
    """Every picture file below `root`, sorted by path; hidden files and folders (a leading dot) are passed over.

    Raises:
        InputError: If `root` is no folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"folder {root} does not exist; give the folder that holds the pictures")
    found = []
    for folder, subfolders, files in os.walk(root, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        found += [Path(folder, name) for name in files if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES]
    return sorted(found)


def picture_set(
    ids: Iterable[str], locate: Callable[[str], Path], crops: Mapping[str, Crop] | None = None, crop_keys: Mapping[str, str] | None = None
) -> ImageSet:
    """`ImageSet` over files. Nothing is read until a picture is opened or hashed.

    Args:
        ids: Image ids, in gallery order.
        locate: File of an id; raises InputError where there is none.
        crops: Per id, what to cut from the upright RGB picture; ids that are absent stay whole.
        crop_keys: Per id, text that names the cut, so that two cuts of one file have different content hashes. Same keys as `crops`.
    """
    crops, crop_keys = crops or {}, crop_keys or {}

    def open_picture(image_id: str) -> Image.Image:
        image = read_picture(locate(image_id), image_id)
        return crops[image_id](image) if image_id in crops else image

    def hash_picture(image_id: str) -> str:
        path = locate(image_id)
        try:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256")
        except OSError as error:
            raise InputError(
                f"picture {image_id!r} at {path} cannot be read ({error.strerror}); replace the file or leave it out"
            ) from error
        digest.update(crop_keys.get(image_id, "").encode())
        return digest.hexdigest()

    return ImageSet(tuple(ids), open_picture, hash_picture)
