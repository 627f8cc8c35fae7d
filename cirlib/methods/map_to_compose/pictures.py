"""Frozen CLIP features of pictures by row, for batches: image embeddings, and every projected token while memory allows."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.pseudo_words.features import clip_tokens, image_features
from cirlib.types import ImageSet

HELD_BYTES = 2**32  # tokens (float16) of a set up to this size stay in memory; those of larger ones are read from disk batch by batch


class Pictures:
    """Features of a set of pictures on the encoder's device, computed once per content and kept on disk.

    Args:
        encoder: CLIP with its cache.
        images: Pictures.
        tokens: Whether patch tokens are wanted too.
    """

    def __init__(self, encoder: ClipEncoder, images: ImageSet, tokens: bool = True) -> None:
        self.ids, self.place, self.device = images.ids, images.rows, encoder.clip.device
        self.features: Float[Tensor, "n d"] = image_features(encoder, images).to(self.device)
        self._read, self._held = None, None
        if tokens:
            self._read = clip_tokens(encoder.clip, images, transform=encoder.transform, progress=encoder.progress)
            one = self._read.rows(self.ids[:1])
            if one.nbytes * len(self.ids) <= HELD_BYTES:
                self._held = self._read.rows(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def tokens(self, rows: Sequence[int] | Int[Tensor, " b"]) -> Float[Tensor, "b n d"]:
        """Every projected token of some pictures, the class token first; kept in float16, handed out in float32."""
        rows = torch.as_tensor(rows)
        found = self._held[rows] if self._held is not None else self._read.rows([self.ids[row] for row in rows.tolist()])
        return found.to(self.device).float()
