"""A folder of pictures as a gallery on disk: build, add to, load, search.

index.json            what made it: folder, checkpoint, fingerprint, versions; written last, so an index is whole or not there
gallery-GEN.faiss     FAISS IndexFlatIP of unit rows
pictures-GEN.json     ids (paths below the folder) and content hashes, in row order
unfinished/           shards of a build that is under way or was killed; gone when it is finished
"""

import functools
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from accelerate import PartialState
from jaxtyping import Float, Int
from torch import Tensor

from cirlib import __version__
from cirlib._atomic import atomic_path, atomic_write_text
from cirlib.backbones.clip import Clip
from cirlib.backbones.encode import SHARD_SIZE, EncodedImages, Unreadable, encode_image_set
from cirlib.backbones.miniature import miniature_path
from cirlib.data.files import list_pictures, picture_set
from cirlib.data.transforms import ImageTransform
from cirlib.kernels.search import search
from cirlib.types import Embeddings, ImageSet, InputError

METADATA_FILE = "index.json"
UNFINISHED = "unfinished"
FORMAT = 1


@dataclass(frozen=True)
class Index:
    """A gallery that was read from disk.

    Attributes:
        folder: Where the index lies.
        metadata: Contents of `index.json`.
        ids: Paths of the pictures below the indexed folder, in row order.
        hashes: Content hashes of the pictures, in row order.
        rows: FAISS index of unit rows.
    """

    folder: Path
    metadata: Mapping[str, Any]
    ids: tuple[str, ...]
    hashes: tuple[str, ...]
    rows: faiss.IndexFlatIP

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def embeddings(self) -> Embeddings:
        """All rows in memory, as the gallery of an evaluation."""
        return Embeddings(self.ids, torch.from_numpy(self.rows.reconstruct_n(0, len(self))))

    def path(self, row: int) -> Path:
        """File of a picture."""
        return Path(self.metadata["root"]) / self.ids[row]

    def images(self) -> ImageSet:
        """The indexed pictures."""
        return picture_set(self.ids, lambda image_id: Path(self.metadata["root"]) / image_id)

    def search(
        self, query: Float[Tensor, "q d"], k: int, *, exclude: Sequence[int] = ()
    ) -> tuple[Float[Tensor, "q k"], Int[Tensor, "q k"]]:
        """The k best rows of each query, best first: scores (inner products, float32) and gallery rows. Equal scores go by gallery row.

        Args:
            query: Unit rows.
            k: From 1 to the number of pictures that are not excluded.
            exclude: Gallery rows that no query may return.

        Raises:
            InputError: If k is out of range.
        """
        available = len(self) - len(set(exclude))
        if not 1 <= k <= available:
            raise InputError(f"k is {k} and {available} pictures can be returned; give a k from 1 to {available}")
        queries = query.detach().to("cpu", torch.float32)
        found = search(queries, self.embeddings.rows, k, torch.tensor([sorted(set(exclude)) or [-1]]).expand(len(queries), -1))
        return found.scores, found.rows


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        n_pictures: Pictures in the index now.
        n_added: Pictures that are new or changed.
        n_removed: Pictures that are no longer in the folder as they were.
        n_encoded: Pictures that went through the encoder.
        unreadable: Files that could not be read.
    """

    n_pictures: int
    n_added: int
    n_removed: int
    n_encoded: int
    unreadable: tuple[Unreadable, ...]


def folder_images(root: str | os.PathLike[str]) -> ImageSet:
    """Every picture below a folder, by its path below it (with "/"), sorted; hidden files and folders are passed over.

    Raises:
        InputError: If there is no such folder, or no picture in it.
    """
    root = Path(root).resolve()
    ids = [path.relative_to(root).as_posix() for path in list_pictures(root)]
    if not ids:
        raise InputError(f"folder {root} holds no pictures (.jpg, .png, .webp, ...); give the folder that holds them")
    files = picture_set(ids, lambda image_id: root / image_id)
    return ImageSet(files.ids, files.opener, functools.cache(files.hasher))  # hashed once, though asked for twice


def build_index(
    root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    clip: Clip,
    *,
    transform: ImageTransform | None = None,
    batch_size: int = 64,
    shard_size: int = SHARD_SIZE,
    workers: int = 0,
    progress: bool = True,
) -> BuildReport:
    """Index a folder, or bring its index up to date: only pictures whose content is new are encoded.

    Killed at any moment it leaves the old index, or none, and the shards that it had finished; the next run goes on from there.

    Raises:
        InputError: If the folder has no readable picture, or `out` holds an index of another folder, checkpoint or preprocessing.
    """
    transform = transform or clip.transform
    out, images = Path(out), folder_images(root)
    recipe = {"root": str(Path(root).resolve()), "fingerprint": clip.fingerprint(transform)}
    old = load_index(out) if (out / METADATA_FILE).exists() else None
    if old is not None:
        _check_same_recipe(old, recipe, clip.name)
    known = {} if old is None else {content: row for row, content in enumerate(old.hashes)}
    new = images.select(i for i in images.ids if _hash_or_none(images, i) not in known)
    encoded = encode_image_set(
        clip,
        new,
        transform=transform,
        cache_dir=out / UNFINISHED,
        on_unreadable="report",
        batch_size=batch_size,
        shard_size=shard_size,
        workers=workers,
        progress=progress and len(new) > 0,
    )
    ids, hashes, rows = _join(images, encoded, old, known)
    before = set() if old is None else set(zip(old.ids, old.hashes, strict=True))
    now = set(zip(ids, hashes, strict=True))
    if PartialState().is_main_process:
        if now != before:
            names = {"clip": str(clip.checkpoint.folder.resolve()) if clip.checkpoint.folder else clip.name, "transform": transform.name}
            _write(out, recipe | names | {"miniature": _is_miniature(clip)}, ids, hashes, rows)
        shutil.rmtree(out / UNFINISHED, ignore_errors=True)
    return BuildReport(len(ids), len(now - before), len(before - now), encoded.n_encoded, encoded.unreadable)


def load_index(folder: str | os.PathLike[str]) -> Index:
    """Read an index.

    Raises:
        InputError: If the folder holds none, an unfinished one, or files that do not belong together.
    """
    folder = Path(folder)
    path = folder / METADATA_FILE
    if not path.is_file():
        if (folder / UNFINISHED).is_dir():
            raise InputError(f"{folder} holds an unfinished index; run the same `cirlib index` command again to finish it")
        raise InputError(f"{folder} holds no index; make one with `cirlib index FOLDER --out {folder}`")
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
        if metadata["format"] != FORMAT:
            raise InputError(f"{folder} has index format {metadata['format']} and this cirlib reads {FORMAT}; index the folder again")
        generation = metadata["generation"]
        pictures = json.loads((folder / f"pictures-{generation}.json").read_text(encoding="utf-8"))
        rows = faiss.read_index(str(folder / f"gallery-{generation}.faiss"))
        ids, hashes = tuple(pictures["ids"]), tuple(pictures["hashes"])
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{folder} is not an index of cirlib, or is damaged ({type(error).__name__}); index into another folder"
        ) from error
    if not rows.ntotal == len(ids) == len(hashes):
        raise InputError(f"{folder} has {rows.ntotal} rows for {len(ids)} pictures; index into another folder")
    return Index(folder, metadata, ids, hashes, rows)


def _hash_or_none(images: ImageSet, image_id: str) -> str | None:
    try:
        return images.content_hash(image_id)
    except InputError:
        return None  # the encoder reports it


def _join(
    images: ImageSet, encoded: EncodedImages, old: Index | None, known: Mapping[str, int]
) -> tuple[list[str], list[str], Float[Tensor, "n d"]]:
    """Ids, hashes and unit rows of every readable picture, new and known, in the order of the folder."""
    fresh = dict(zip(encoded.ids, encoded.embeddings.rows, strict=True))
    unreadable = {item.id for item in encoded.unreadable}
    ids = [image_id for image_id in images.ids if image_id not in unreadable]
    if not ids:
        raise InputError(f"none of the {len(images)} pictures can be read; the first: {encoded.unreadable[0].reason}")
    hashes = [images.content_hash(image_id) for image_id in ids]
    rows = [fresh[i] if i in fresh else old.embeddings.rows[known[h]] for i, h in zip(ids, hashes, strict=True)]
    return ids, hashes, torch.stack(rows)


def _check_same_recipe(old: Index, recipe: Mapping[str, Any], clip_name: str) -> None:
    if old.metadata["root"] != recipe["root"]:
        raise InputError(f"{old.folder} is the index of {old.metadata['root']}, not of {recipe['root']}; give another --out")
    before, now = old.metadata["fingerprint"], recipe["fingerprint"]
    changed = [key for key in now if before.get(key) != now[key]]
    if changed:
        made_by = f"{old.metadata['clip']} ({old.metadata['transform']}, {before['precision']})"
        raise InputError(f"{old.folder} was made with {made_by}; {clip_name} differs in {', '.join(changed)}; give another --out")


def _is_miniature(clip: Clip) -> bool:
    try:
        return clip.checkpoint.folder is not None and clip.checkpoint.folder.resolve() == miniature_path("clip").resolve()
    except InputError:
        return False


def _write(out: Path, recipe: Mapping[str, Any], ids: Sequence[str], hashes: Sequence[str], rows: Float[Tensor, "n d"]) -> None:
    """Write a new generation beside the old one, switch to it by replacing `index.json`, remove the old one."""
    content = json.dumps([recipe, list(ids), list(hashes)], sort_keys=True)
    generation = hashlib.sha256(content.encode()).hexdigest()[:12]
    flat = faiss.IndexFlatIP(rows.shape[1])
    flat.add(np.ascontiguousarray(rows.numpy()))
    with atomic_path(out / f"gallery-{generation}.faiss") as draft:
        faiss.write_index(flat, str(draft))
    atomic_write_text(out / f"pictures-{generation}.json", json.dumps({"ids": list(ids), "hashes": list(hashes)}))
    versions = {"cirlib": __version__, "faiss": faiss.__version__} | {
        name: version(name) for name in ("torch", "open_clip_torch", "pillow")
    }
    facts = {"n_pictures": len(ids), "dim": rows.shape[1], "versions": versions, "created": datetime.now(UTC).isoformat(timespec="seconds")}
    metadata = {"format": FORMAT, "generation": generation, **recipe, **facts}
    atomic_write_text(out / METADATA_FILE, json.dumps(metadata, indent=2) + "\n")
    for path in (*out.glob("gallery-*.faiss"), *out.glob("pictures-*.json")):
        if generation not in path.name:
            path.unlink()
