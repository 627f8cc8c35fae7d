"""Queries without any training: one modality, their sum, or a point on the arc between them. All search plain CLIP image features.

With x the unit embedding of the reference image and t that of the modification text:

    image only   q = x            text only    q = t
    sum          q = (w x + (1 - w) t) / |w x + (1 - w) t|
    slerp        q = (sin((1 - s) a) x + sin(s a) t) / sin a,   a = angle between x and t

The sum is every paper's baseline; its weight is usually 1/2 or unsaid, here it is tuned on val. Slerp follows Jang et al. (2024), who call
it spherical linear interpolation of composed queries.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.types import Embeddings, ImageSet, InputError, Query


def weighted_sum(image: Float[Tensor, "q d"], text: Float[Tensor, "q d"], weight: float) -> Float[Tensor, "q d"]:
    """Unit rows of `weight * image + (1 - weight) * text`.

    Args:
        image: Unit rows of reference images.
        text: Unit rows of modification texts.
        weight: Share of the image in [0, 1]; 0 is text only, 1 is image only.

    Raises:
        InputError: If the weight lies outside [0, 1].

    Example:
        >>> weighted_sum(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 0.5)
        tensor([[0.7071, 0.7071]])
    """
    _check_share("weight", weight)
    return normalize(weight * image + (1 - weight) * text, dim=-1)


def slerp(image: Float[Tensor, "q d"], text: Float[Tensor, "q d"], share: float) -> Float[Tensor, "q d"]:
    """Unit rows on the great circle from image (`share` 0) to text (`share` 1).

    Where the two are parallel the arc has no length and the image is returned; where they are opposite the arc is undefined and the rows
    are those of a weighted sum.

    Args:
        image: Unit rows of reference images.
        text: Unit rows of modification texts.
        share: How far along the arc, in [0, 1].

    Raises:
        InputError: If the share lies outside [0, 1].

    Example:
        >>> slerp(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), 1 / 3)
        tensor([[0.8660, 0.5000]])
    """
    _check_share("share", share)
    chords = torch.linalg.vector_norm(image - text, dim=-1, keepdim=True), torch.linalg.vector_norm(image + text, dim=-1, keepdim=True)
    angle = 2 * torch.atan2(*chords)  # exact near 0 and pi, where the arc cosine loses half the digits
    sine = angle.sin()
    flat = sine.abs() < 1e-5
    safe = torch.where(flat, torch.ones_like(sine), sine)
    on_arc = (((1 - share) * angle).sin() * image + (share * angle).sin() * text) / safe
    straight = torch.where(chords[0] < chords[1], image, (1 - share) * image + share * text)
    return normalize(torch.where(flat, straight, on_arc), dim=-1)


def _check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InputError(f"{name} = {value} given; it is a share between 0 and 1")


class ImageOnly:
    """The reference image alone: how far a system gets that does not read."""

    name = "image only"

    def __init__(self, encoder: ClipEncoder) -> None:
        self.encoder = encoder

    def encode_gallery(self, images: ImageSet) -> Embeddings:
        """Plain CLIP image embeddings, (g, d) unit rows."""
        return self.encoder.images(images)

    def compose(self, queries: Sequence[Query], images: ImageSet) -> Embeddings:
        """Query rows (q, d): see the class."""
        return Embeddings(tuple(query.id for query in queries), self._rows(queries, images))

    def _rows(self, queries: Sequence[Query], images: ImageSet) -> Float[Tensor, "q d"]:
        return self.encoder.references(queries, images)


class TextOnly(ImageOnly):
    """The modification text alone: how far a system gets that does not look."""

    name = "text only"

    def _rows(self, queries: Sequence[Query], images: ImageSet) -> Float[Tensor, "q d"]:
        return self.encoder.texts([query.text for query in queries])


class WeightedSum(ImageOnly):
    """The weighted sum of both; see `weighted_sum`."""

    name = "sum"

    def __init__(self, encoder: ClipEncoder, weight: float = 0.5) -> None:
        super().__init__(encoder)
        _check_share("weight", weight)
        self.weight = weight

    def _rows(self, queries: Sequence[Query], images: ImageSet) -> Float[Tensor, "q d"]:
        return weighted_sum(super()._rows(queries, images), self.encoder.texts([query.text for query in queries]), self.weight)


class Slerp(ImageOnly):
    """A point on the arc from image to text; see `slerp`."""

    name = "slerp"

    def __init__(self, encoder: ClipEncoder, share: float = 0.5) -> None:
        super().__init__(encoder)
        _check_share("share", share)
        self.share = share

    def _rows(self, queries: Sequence[Query], images: ImageSet) -> Float[Tensor, "q d"]:
        return slerp(super()._rows(queries, images), self.encoder.texts([query.text for query in queries]), self.share)
