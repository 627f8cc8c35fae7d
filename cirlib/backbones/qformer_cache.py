"""Frozen vision tokens on disk: computed once per picture content, read again bit for bit, in the type that `QFormer` hands them on in.

With a frozen tower and a fixed preprocessing a picture's tokens never change, so training a Q-Former needs no vision tower. What that costs
for FashionIQ's 25,136 pictures in float16: 257 x 1408 x 2 bytes = 0.72 MB a picture and 18.2 GB with ViT-g, 13.2 GB with ViT-L (width
1024); for CIRR's 16,939 training pictures 12.3 GB and 8.9 GB. The miniature keeps 65 x 160 x 2 bytes = 21 kB a picture. Hence nothing is
held in memory: rows are read from memory-mapped shards, and the operating system keeps what fits.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import PartialState
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from cirlib._atomic import atomic_path, atomic_write_text
from cirlib._cache import cache_dir
from cirlib.backbones.cache import EmbeddingCache
from cirlib.backbones.qformer import QFormer
from cirlib.types import ImageSet, InputError


class VisionTokens:
    """The vision tokens of a set of pictures, read from disk row by row.

    Args:
        cache: Shards that hold every picture of the set.
        images: The set; two ids with one content share their tokens.
    """

    def __init__(self, cache: "VisionTokenCache", images: ImageSet) -> None:
        self.ids = images.ids
        self._cache = cache
        self._hashes = {image_id: images.content_hash(image_id) for image_id in images.ids}

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, ids: Sequence[str]) -> Float[Tensor, "b v w"]:
        """Tokens of some pictures, in the order given, on the CPU; an id may come more than once.

        Raises:
            InputError: If a picture is not in the set, or its shard is gone.
        """
        for image_id in ids:
            if image_id not in self._hashes:
                raise InputError(f"image {image_id!r} is not among the {len(self)} pictures with vision tokens")
        return self._cache.read([self._hashes[image_id] for image_id in ids])


class VisionTokenCache(EmbeddingCache):
    """Vision tokens by content hash, for one tower, preprocessing and type; see `EmbeddingCache`."""

    def known(self) -> set[str]:
        """Content hashes that are here."""
        self._scan()
        return set(self._places)

    def read(self, hashes: Sequence[str]) -> Float[Tensor, "b v w"]:
        """Tokens by content hash, only the rows asked for.

        Raises:
            InputError: If one is not here.
        """
        by_shard: dict[Path, list[tuple[int, int]]] = {}
        for position, content in enumerate(hashes):
            if content not in self._places:
                raise InputError(f"vision tokens of picture {content[:12]} are not in {self.folder}; encode the pictures again")
            path, row = self._places[content]
            by_shard.setdefault(path, []).append((position, row))
        found: list[Tensor] = [torch.empty(0)] * len(hashes)
        for path, places in by_shard.items():
            with safe_open(path, framework="pt") as shard:
                rows = shard.get_slice("rows")
                for position, row in places:
                    found[position] = rows[row : row + 1]
        return torch.cat(found)

    def add(self, hashes: Sequence[str], rows: Float[Tensor, "n v w"]) -> None:
        """Write one shard in the type of `rows`; its name is the hash of its first picture."""
        atomic_write_text(self.folder / "fingerprint.json", json.dumps(self.fingerprint, indent=2) + "\n")
        with atomic_path(self.folder / f"{hashes[0]}-{len(hashes)}.safetensors") as draft:
            save_file({"rows": rows.cpu().contiguous()}, draft, metadata={"hashes": json.dumps(list(hashes))})


def encode_vision_tokens(
    qformer: QFormer,
    images: ImageSet,
    folder: str | os.PathLike[str] | None = None,
    *,
    batch_size: int = 64,
    progress: bool = True,
) -> VisionTokens:
    """Vision tokens of a whole set. Every batch is written when it is done: a run that was killed goes on where it stopped.

    Under Accelerate's launcher each process encodes its share; equal pictures (by content) are encoded once.

    Args:
        qformer: Its frozen tower, preprocessing and `token_dtype` decide, and nothing that training changes.
        images: Pictures.
        folder: Where shards are kept; None: the user's cache folder.
        batch_size: Pictures per forward pass and per shard.
        progress: Show a bar (first process only).

    Raises:
        InputError: If a picture cannot be read; those before it are kept.
    """
    cache = VisionTokenCache(folder or cache_dir("vision_tokens"), qformer.vision_fingerprint)
    known = cache.known()
    id_of = {images.content_hash(image_id): image_id for image_id in images.ids}
    missing = [content for content in id_of if content not in known]
    state = PartialState(cpu=qformer.device.type == "cpu")
    mine = missing[state.process_index :: state.num_processes]
    with tqdm(total=len(mine), desc="Vision tokens", unit="picture", disable=not progress or not state.is_main_process) as bar:
        for start in range(0, len(mine), batch_size):
            batch = mine[start : start + batch_size]
            cache.add(batch, qformer.vision_tokens([images.open(id_of[content]) for content in batch]))
            bar.update(len(batch))
    state.wait_for_everyone()
    cache.known()
    return VisionTokens(cache, images)
