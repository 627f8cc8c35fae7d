"""Encode many pictures: batched, shared among processes, resumable, and no unreadable picture lost from sight.

Under Accelerate's launcher, process i of n encodes every n-th picture and all of them return the same whole. With a cache folder every
finished shard is kept: a run that was killed goes on where it stopped, and pictures that were encoded before are never opened again.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from cirlib.backbones.cache import EmbeddingCache
from cirlib.backbones.clip import Clip
from cirlib.data.transforms import ImageTransform
from cirlib.types import Embeddings, ImageSet, InputError

SHARD_SIZE = 256  # pictures between two writes: at most this many are encoded again after a kill


@dataclass(frozen=True)
class Unreadable:
    """A picture that could not be read, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class EncodedImages:
    """What encoding a set of pictures gave.

    Attributes:
        ids: Ids of the pictures that could be read, in the order of the set.
        hashes: Their content hashes.
        rows: (n, d) image embeddings, float32, not normalised.
        unreadable: The others, in the order of the set.
        n_encoded: How many went through the encoder now; the rest came from the cache or were copies.
    """

    ids: tuple[str, ...]
    hashes: tuple[str, ...]
    rows: Tensor
    unreadable: tuple[Unreadable, ...]
    n_encoded: int

    @property
    def embeddings(self) -> Embeddings:
        """The same rows at unit length, as a gallery."""
        return Embeddings(self.ids, normalize(self.rows, dim=-1))


def encode_image_set(
    clip: Clip,
    images: ImageSet,
    *,
    transform: ImageTransform | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    on_unreadable: Literal["raise", "report"] = "raise",
    batch_size: int = 64,
    shard_size: int = SHARD_SIZE,
    workers: int = 0,
    progress: bool = True,
) -> EncodedImages:
    """Image embeddings of a whole set. Equal pictures (by content) are encoded once.

    Args:
        clip: Encoder; its `precision` decides about autocast.
        images: Pictures.
        transform: Preprocessing; the checkpoint's own by default.
        cache_dir: Where finished shards are kept; without it nothing is kept.
        on_unreadable: "raise" after all others are encoded (and cached), or "report" in the result.
        batch_size: Pictures per forward pass. Changes memory and speed; rows only by rounding.
        shard_size: Pictures per cache file.
        workers: Processes that read pictures beside the encoder; 0 reads in this one.
        progress: Show a bar (first process only).

    Raises:
        InputError: If pictures cannot be read and `on_unreadable` is "raise"; the first ones are named.
    """
    transform = transform or clip.transform
    hash_of, unreadable = _hash_all(images)
    first_id = {content: image_id for image_id, content in reversed(hash_of.items())}
    state = PartialState(cpu=clip.device.type == "cpu")
    mine = list(first_id)[::-1][state.process_index :: state.num_processes]
    cache = None if cache_dir is None else EmbeddingCache(Path(cache_dir), clip.fingerprint(transform))
    rows = {} if cache is None else cache.lookup(mine)
    pending = [content for content in mine if content not in rows]
    pictures = _Pictures(images, [first_id[content] for content in pending], transform)
    loader = DataLoader(pictures, batch_size=batch_size, num_workers=workers, collate_fn=list)
    bar = tqdm(total=len(mine), initial=len(rows), desc="Encoding", unit="picture", disable=not progress or not state.is_main_process)
    refused: dict[str, str] = {}
    with bar:
        stream = _encode_batches(clip, loader, pending, refused, bar)
        while shard := list(islice(stream, shard_size)):
            hashes, shard_rows = [content for content, _ in shard], torch.stack([row for _, row in shard])
            if cache is not None:
                cache.add(hashes, shard_rows)
            rows.update(zip(hashes, shard_rows, strict=True))
    result = _merge(images, hash_of, unreadable, gather_object([(rows, refused, len(pending) - len(refused))]), clip.embedding_dim)
    if result.unreadable and on_unreadable == "raise":
        bad = result.unreadable
        names = ", ".join(item.id for item in bad[:3]) + (", ..." if len(bad) > 3 else "")
        raise InputError(f"{len(bad)} of {len(images)} pictures cannot be read ({names}): {bad[0].reason}; replace or remove them")
    return result


def _merge(
    images: ImageSet, hash_of: dict[str, str], unreadable: dict[str, str], parts: list[tuple[dict, dict, int]], dim: int
) -> EncodedImages:
    """Join what all processes found and put it in the order of the set."""
    rows = {content: row for part, _, _ in parts for content, row in part.items()}
    refused = {content: reason for _, part, _ in parts for content, reason in part.items()}
    unreadable = unreadable | {image_id: refused[content] for image_id, content in hash_of.items() if content in refused}
    ids = tuple(image_id for image_id in images.ids if image_id not in unreadable)
    table = torch.stack([rows[hash_of[image_id]] for image_id in ids]) if ids else torch.empty(0, dim)
    bad = tuple(Unreadable(image_id, unreadable[image_id]) for image_id in images.ids if image_id in unreadable)
    return EncodedImages(ids, tuple(hash_of[image_id] for image_id in ids), table, bad, sum(count for _, _, count in parts))


def _hash_all(images: ImageSet) -> tuple[dict[str, str], dict[str, str]]:
    """Content hash per id, and the reason per id where there is none."""
    hashes, unreadable = {}, {}
    for image_id in images.ids:
        try:
            hashes[image_id] = images.content_hash(image_id)
        except InputError as error:
            unreadable[image_id] = str(error)
    return hashes, unreadable


class _Pictures(Dataset):
    """Transformed pictures, or the reason why there is none."""

    def __init__(self, images: ImageSet, ids: list[str], transform: ImageTransform) -> None:
        self.images, self.ids, self.transform = images, ids, transform

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, number: int) -> tuple[int, Tensor | str]:
        try:
            return number, self.transform(self.images.open(self.ids[number]))
        except InputError as error:
            return number, str(error)


@torch.no_grad()
def _encode_batches(
    clip: Clip, loader: Iterable[list[tuple[int, Tensor | str]]], hashes: list[str], refused: dict[str, str], bar: tqdm
) -> Iterator[tuple[str, Float[Tensor, " d"]]]:
    """Content hash and row of each readable picture; the others go to `refused`."""
    for batch in loader:
        refused |= {hashes[number]: item for number, item in batch if isinstance(item, str)}
        readable = [(hashes[number], item) for number, item in batch if not isinstance(item, str)]
        if readable:
            rows = clip.encode_pixels(torch.stack([pixels for _, pixels in readable])).cpu()
            yield from zip((content for content, _ in readable), rows, strict=True)
        bar.update(len(batch))
