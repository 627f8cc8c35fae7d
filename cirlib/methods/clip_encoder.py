"""What every method on plain CLIP features shares: the gallery, the reference images and the texts, encoded once and cached."""

import os
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from cirlib._cache import cache_dir
from cirlib.backbones.clip import Clip
from cirlib.backbones.encode import encode_image_set
from cirlib.data.transforms import ImageTransform
from cirlib.types import Embeddings, ImageSet, Query


class ClipEncoder:
    """CLIP embeddings of images and texts at unit length, remembered on disk by content.

    Args:
        clip: The frozen model.
        transform: Preprocessing of images; the checkpoint's own by default.
        cache: Folder for image embeddings; default is under the user's cache folder. Texts are remembered in memory only.
        progress: Show bars.
    """

    def __init__(
        self, clip: Clip, transform: ImageTransform | None = None, cache: str | os.PathLike[str] | None = None, progress: bool = True
    ) -> None:
        self.clip = clip
        self.transform = transform or clip.transform
        self._cache = cache
        self.progress = progress
        self._texts: dict[str, Tensor] = {}

    @property
    def cache(self) -> str | os.PathLike[str]:
        """Folder for image embeddings; looked up at each use, so that `cirlib._cache.scratch_cache` reaches it."""
        return self._cache if self._cache is not None else cache_dir("clip")

    @property
    def fingerprint(self) -> dict[str, str]:
        """What decides an embedding, for reports."""
        return self.clip.fingerprint(self.transform)

    def images(self, images: ImageSet) -> Embeddings:
        """Unit rows (g, d) of every picture, in the order of `images.ids`. Raises InputError naming pictures that cannot be read."""
        return encode_image_set(self.clip, images, transform=self.transform, cache_dir=self.cache, progress=self.progress).embeddings

    def references(self, queries: Sequence[Query], images: ImageSet) -> Float[Tensor, "q d"]:
        """Unit rows of the reference image of each query; a picture that several queries share is encoded once."""
        ids = list(dict.fromkeys(query.reference for query in queries))
        rows = self.images(images.select(ids)).rows
        place = {image_id: row for row, image_id in enumerate(ids)}
        return rows[torch.tensor([place[query.reference] for query in queries])]

    def texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Unit rows of texts, each encoded once in the life of this encoder. A text beyond the context is cut, with one warning."""
        new = list(dict.fromkeys(text for text in texts if text not in self._texts))
        if new:
            self._texts |= zip(new, normalize(self.clip.encode_texts(new, on_long="truncate"), dim=-1), strict=True)
        return torch.stack([self._texts[text] for text in texts])
