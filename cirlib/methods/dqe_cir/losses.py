"""The losses: which picture a query should prefer, by how much, and the same for each attribute alone.

c is cosine relevance in [-1, 1], the best of a picture's vectors; t the target, n the one negative of this step.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cross_entropy, softplus

LEAST_TAU, MOST_TAU = 0.01, 0.5  # bounds of the learned temperature, our choice
START_TAU = 0.07


def preference_loss(positive: Float[Tensor, " b"], negative: Float[Tensor, " b"], tau: float | Tensor) -> Float[Tensor, ""]:
    """Mean of -log sigmoid((c_t - c_n) / tau): the KL divergence between [1, 0] and the softmax over the two logits.

    QuRe's equations 2 and 3 and its code; that DQE-CIR's "KL divergence" is this one is inferred.

    Args:
        positive: c_t.
        negative: c_n.
        tau: Temperature, above 0.

    Example:
        >>> round(preference_loss(torch.tensor([0.5]), torch.tensor([0.5]), 0.07).item(), 4)
        0.6931
    """
    return softplus((negative - positive) / tau).mean()


def margin_loss(positive: Float[Tensor, " b"], negative: Float[Tensor, " b"], margin: float) -> Float[Tensor, ""]:
    """Mean of max(0, margin - (c_t - c_n)), on cosines without temperature. That there is one is the paper's; its form is inferred.

    With the margin at the upper bound of the mid-zone (our choice) it pulls on every mined negative until that has left the zone.

    Example:
        >>> round(margin_loss(torch.tensor([0.5, 0.5]), torch.tensor([0.46, 0.3]), 0.1).item(), 4)
        0.03
    """
    return (margin - (positive - negative)).clamp(min=0).mean()


def attribute_loss(
    positive: Float[Tensor, "b a"], negative: Float[Tensor, "b a"], present: Bool[Tensor, "b a"], tau: float = START_TAU
) -> Float[Tensor, ""]:
    """The preference of each attribute feature alone, mean over the attributes that are present; 0 where none is.

    That there is an attribute-aware loss is the paper's, all else our choice: pairwise, so that it cannot push related pictures away, and
    not through the weights w_a, so that it cannot inflate them.

    Args:
        positive: c(z_a, t) with z_a at unit length.
        negative: c(z_a, n).
        present: Attributes that count.
        tau: Fixed temperature.

    Example:
        >>> attribute_loss(torch.zeros(2, 1), torch.zeros(2, 1), torch.zeros(2, 1, dtype=torch.bool)).item()
        0.0
    """
    each = softplus((negative - positive) / tau)
    return (each * present).sum() / present.sum().clamp(min=1)


def in_batch_loss(scores: Float[Tensor, "b b"], tau: float | Tensor, same: Bool[Tensor, "b b"] | None = None) -> Float[Tensor, ""]:
    """InfoNCE: every query against the targets of the whole batch, its own on the diagonal. The contrast to the preference losses.

    Args:
        scores: c of every query with every target.
        tau: Temperature, above 0.
        same: Pairs of queries with one and the same target, which is no negative (our choice); the diagonal may be set too.

    Example:
        >>> round(in_batch_loss(torch.zeros(4, 4), 0.07).item(), 4)
        1.3863
    """
    logits = scores / tau
    if same is not None:
        other = same & ~torch.eye(len(same), dtype=torch.bool, device=same.device)
        logits = logits.masked_fill(other, -torch.inf)
    return cross_entropy(logits, torch.arange(len(logits), device=logits.device))
