"""One step of a DQE-CIR training: a batch in, its losses out."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from cirlib.backbones.qformer_text import TextTokens
from cirlib.methods.dqe_cir.losses import LEAST_TAU, MOST_TAU, attribute_loss, in_batch_loss, margin_loss, preference_loss
from cirlib.methods.dqe_cir.query import ComposedQuery, cross_relevance, relevance
from cirlib.methods.dqe_cir.recipe import IN_BATCH, Recipe


@dataclass(frozen=True)
class Batch:
    """Queries with their pictures.

    Attributes:
        reference: (b, v, w) vision tokens of the references.
        texts: The modification texts.
        pictures: (2b, v, w) of the targets, then of one negative each; (b, v, w) of the targets alone for "in_batch".
        same: (b, b) pairs of queries with one target; "in_batch" alone reads it.
        warm: Whether negative sets are still those of the first interval, in which the margin is off (unless nothing else ranks).
        margin: Of the margin loss, in cosine.
    """

    reference: Tensor
    texts: TextTokens
    pictures: Tensor
    same: Bool[Tensor, "b b"]
    warm: bool
    margin: float


class Lesson(nn.Module):
    """The composer and the temperature, trained together; `lesson(batch)` returns the weighted losses by name.

    Losses of weight 0 are not computed. The temperature is learned as a plain number (QuRe) and kept in [0.01, 0.5] (our choice).

    Args:
        composer: Its Q-Former should be unfrozen.
        recipe: Weights and numbers of the losses.
    """

    def __init__(self, composer: ComposedQuery, recipe: Recipe) -> None:
        super().__init__()
        self.composer = composer
        self.recipe = recipe
        self.tau = nn.Parameter(torch.tensor(recipe.tau, device=composer.qformer.device))

    def temperature(self) -> Float[Tensor, ""]:
        """The temperature; outside its bounds it counts as the nearest of them, and gradients still pass."""
        return self.tau + (self.tau.clamp(LEAST_TAU, MOST_TAU) - self.tau).detach()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Losses of a batch."""
        recipe, tau = self.recipe, self.temperature()
        composed = self.composer(batch.reference, batch.texts)
        pictures = self.composer.qformer.image_tokens(batch.pictures)  # one pass for targets and negatives
        if recipe.negatives == IN_BATCH:
            return {"in_batch": recipe.preference_weight * in_batch_loss(cross_relevance(composed.query, pictures), tau, batch.same)}
        target, negative = pictures.chunk(2)
        wanted, other = relevance(composed.query, target), relevance(composed.query, negative)
        losses = {}
        if recipe.preference_weight:
            losses["preference"] = recipe.preference_weight * preference_loss(wanted, other, tau)
        if recipe.margin_weight and not (batch.warm and recipe.preference_weight):
            losses["margin"] = recipe.margin_weight * margin_loss(wanted, other, batch.margin)
        if recipe.attribute_weight and composed.present.shape[1]:
            each = (relevance(composed.attributes, side) for side in (target, negative))
            losses["attribute"] = recipe.attribute_weight * attribute_loss(*each, composed.present, recipe.attribute_tau)
        return losses
