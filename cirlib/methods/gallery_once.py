"""A method asked many times over the same gallery: the gallery is encoded at the first time and kept."""

from typing import Any

from cirlib.types import Embeddings, ImageSet, Method


class GalleryOnce:
    """The method itself, but for `encode_gallery`, which answers from memory for a set of pictures that it has met.

    Args:
        method: Any; what it has beside the two encoders, such as `rerank`, is passed through.

    Example:
        >>> from cirlib.data.atelier import load_pictures
        >>> from cirlib.methods.baselines import Chance
        >>> once, pictures = GalleryOnce(Chance()), load_pictures("val", 4)
        >>> once.encode_gallery(pictures) is once.encode_gallery(load_pictures("val", 4)), once.name
        (True, 'chance')
    """

    def __init__(self, method: Method) -> None:
        self.method = method
        self._kept: dict[tuple[str, ...], Embeddings] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.method, name)

    def encode_gallery(self, images: ImageSet) -> Embeddings:
        """Rows of the pictures; sets with the same ids in the same order are taken to be the same pictures."""
        if images.ids not in self._kept:
            self._kept[images.ids] = self.method.encode_gallery(images)
        return self._kept[images.ids]
