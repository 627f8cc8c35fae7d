"""Embeddings on disk, by the content of what was encoded and by everything that decided the encoder's output.

A folder holds one subfolder per fingerprint (checkpoint, configuration, transform, precision); each of its shards is a safetensors file
with rows and the content hashes that they stand for. Shards are written whole and never changed, so writers may run side by side or be
killed, and a picture that moved or was copied is found again.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cirlib._atomic import atomic_path, atomic_write_text
from cirlib.types import InputError


class EmbeddingCache:
    """Rows by content hash, for one encoder.

    Args:
        folder: Folder of all caches; made when the first rows are added.
        fingerprint: Everything that decides the rows; another fingerprint is another cache.
    """

    def __init__(self, folder: str | os.PathLike[str], fingerprint: Mapping[str, str]) -> None:
        self.fingerprint = dict(fingerprint)
        text = json.dumps(self.fingerprint, sort_keys=True)
        self.folder = Path(folder) / hashlib.sha256(text.encode()).hexdigest()[:16]
        self._places: dict[str, tuple[Path, int]] = {}  # content hash -> shard and row
        self._known: set[Path] = set()

    def lookup(self, hashes: Iterable[str]) -> dict[str, Float[Tensor, " d"]]:
        """The rows that are here, by content hash; what is not here is left out.

        Raises:
            InputError: If a shard is damaged.
        """
        self._scan()
        wanted: dict[Path, dict[str, int]] = {}
        for content in hashes:
            if content in self._places:
                path, row = self._places[content]
                wanted.setdefault(path, {})[content] = row
        found = {}
        for path, places in wanted.items():
            with safe_open(path, framework="pt") as shard:
                rows = shard.get_tensor("rows")
            found.update((content, rows[row]) for content, row in places.items())
        return found

    def add(self, hashes: Sequence[str], rows: Float[Tensor, "n d"]) -> None:
        """Write one shard. The same rows written twice, even at the same moment, are one shard."""
        if len(hashes) != len(rows):
            raise ValueError(f"{len(hashes)} hashes for {len(rows)} rows")
        if not hashes:
            return
        label = self.folder / "fingerprint.json"
        if not label.exists():
            atomic_write_text(label, json.dumps(self.fingerprint, indent=2) + "\n")
        name = hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:32]
        with atomic_path(self.folder / f"{name}.safetensors") as draft:
            save_file({"rows": rows.detach().to("cpu", torch.float32).contiguous()}, draft, metadata={"hashes": json.dumps(list(hashes))})

    def _scan(self) -> None:
        for path in sorted(self.folder.glob("*.safetensors")):
            if path in self._known:
                continue
            try:
                with safe_open(path, framework="pt") as shard:
                    hashes = json.loads(shard.metadata()["hashes"])
            except (SafetensorError, KeyError, TypeError, ValueError) as error:
                raise InputError(f"cache file {path} is damaged ({error}); delete it and run again") from error
            self._places.update((content, (path, row)) for row, content in enumerate(hashes))
            self._known.add(path)
