"""The score of Pix2Key: what is wanted, plus what should stay, less what is to be avoided. One inner product in the end.

    p = cos(q+, e)     o = cos(q0, e)     n = cos(q-, e)                       e: gallery row, q+ q0 q-: wants, anchors, avoids
    R = alpha p + beta o - (1 - alpha) n                                       Pix2Key, Eq. 8-9
      = <q*, e>   with   q* = alpha q+ + beta q0 - (1 - alpha) q-              all rows of unit length

R is linear in e, so one search with the fused q* gives the ranking of the three terms (our remark; the paper writes three). A positive
factor changes no ranking, so a method may hand q* over at unit length. The terms themselves are kept for explanations.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cirlib.types import InputError


@dataclass(frozen=True)
class SignedRows:
    """Embeddings of the three parts of each query: unit rows, or zeros where a part is empty, so that it contributes nothing.

    Attributes:
        wants: (q, d) what the result must show.
        anchors: (q, d) what should stay as it is on the reference image.
        avoids: (q, d) what the result must not show, written affirmatively: the minus sign is in the score.
    """

    wants: Tensor
    anchors: Tensor
    avoids: Tensor


@dataclass(frozen=True)
class Terms:
    """Cosines p, o and n of every query with every gallery row, (q, g) each, in [-1, 1]; 0 where the query's part is empty."""

    wants: Tensor
    anchors: Tensor
    avoids: Tensor

    def relevance(self, alpha: float, beta: float) -> Float[Tensor, "q g"]:
        """R = alpha p + beta o - (1 - alpha) n, in [-1 - beta, 1 + beta]."""
        return alpha * self.wants + beta * self.anchors - (1 - alpha) * self.avoids


def score_terms(rows: SignedRows, gallery: Float[Tensor, "g d"]) -> Terms:
    """The three terms of every query with every gallery row (Pix2Key, Eq. 8). Memory O(q g): for a few candidates, or chunk by chunk."""
    return Terms(rows.wants @ gallery.T, rows.anchors @ gallery.T, rows.avoids @ gallery.T)


def fuse(rows: SignedRows, alpha: float, beta: float) -> Float[Tensor, "q d"]:
    """q* = alpha q+ + beta q0 - (1 - alpha) q-, not normalised: its inner product with a unit row is that row's relevance.

    Args:
        rows: The parts of the queries.
        alpha: Weight of the wants in [0, 1]; the avoids have the rest. 1 ignores them.
        beta: Weight of the anchors, 0 or more.

    Raises:
        InputError: If a weight is out of range.

    Example:
        >>> rows = SignedRows(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.zeros(1, 2))
        >>> fuse(rows, 0.75, 0.5)
        tensor([[0.7500, 0.5000]])
    """
    check_weights(alpha, beta)
    return alpha * rows.wants + beta * rows.anchors - (1 - alpha) * rows.avoids


def join_image(text: Float[Tensor, "n d"], image: Float[Tensor, "n d"], weight: float) -> Float[Tensor, "n d2"]:
    """Unit rows [sqrt(1 - w) text ; sqrt(w) image]: their inner products are (1 - w) cos(text) + w cos(image).

    Beyond the paper: CLIP's image similarity joins the score, and the search stays one inner product. The image query is the reference
    image (our choice). With `weight` 0 the text rows come back as they are.

    Args:
        text: Unit rows of dictionaries, or of fused queries.
        image: Unit rows of pictures, or of reference images.
        weight: Share w of the image in [0, 1].

    Example:
        >>> join_image(torch.tensor([[1.0]]), torch.tensor([[1.0]]), 0.36)
        tensor([[0.8000, 0.6000]])
    """
    if not 0 <= weight <= 1:
        raise InputError(f"image weight {weight} given; it is a share between 0 and 1")
    return torch.cat([(1 - weight) ** 0.5 * text, weight**0.5 * image], dim=1) if weight else text


def check_weights(alpha: float, beta: float) -> None:
    """Raise InputError unless alpha lies in [0, 1] and beta is 0 or more."""
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha {alpha} given; it lies between 0 (avoids alone) and 1 (wants alone)")
    if not 0 <= beta < float("inf"):
        raise InputError(f"beta {beta} given; it is 0 (anchors ignored) or more")
