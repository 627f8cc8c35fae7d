"""The composed query: QuRe's, and what the attributes that the text names add to it.

    z0 = mean over query tokens of text_projection(H_q)                     released code of QuRe
    q  = norm(z0 + sum_a p_a w_a z_a)                                       inferred: the additive form; our choice: z_a and w_a

p_a is 1 where the text names attribute a. A text that names none has QuRe's query, bit for bit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from cirlib.backbones.qformer import JointStates, QFormer
from cirlib.backbones.qformer_text import TextTokens
from cirlib.methods.dqe_cir.attributes import AttributeParts, AttributeWeights, word_masks


@dataclass(frozen=True)
class Composed:
    """A batch of composed queries and what went into them.

    Attributes:
        query: (b, d) of unit length.
        base: (b, d) QuRe's query of the same weights, norm(z0).
        attributes: (b, a, d) features z_a, each of unit length; meaningless where `present` is False.
        present: (b, a) whether an attribute acts on the query.
        weights: (b, a) its weight in (0, 1); meaningless where `present` is False.
    """

    query: Tensor
    base: Tensor
    attributes: Tensor
    present: Tensor
    weights: Tensor


class ComposedQuery(nn.Module):
    """Reference picture and text to a query.

    Args:
        qformer: The model; trained along where it is unfrozen.
        attributes: Weights of the attributes; mode "none" makes this QuRe's composed query.
    """

    def __init__(self, qformer: QFormer, attributes: AttributeWeights) -> None:
        super().__init__()
        self.qformer = qformer
        self.attributes = attributes

    def forward(self, vision_tokens: Float[Tensor, "b v w"], texts: Sequence[str] | TextTokens) -> Composed:
        """Compose a batch.

        Args:
            vision_tokens: Of the reference pictures, before the vision norm.
            texts: One per picture.
        """
        projection = self.qformer.model.text_projection
        joint = self.qformer.joint_states(vision_tokens, texts)
        masks = word_masks(joint.tokens, self.attributes.groups)
        parts = self.attributes(joint, masks, projection)
        base = projection(joint.queries).mean(dim=1)  # z0 (b, d)
        if self.attributes.mode == "token":
            query = self._louder(base, vision_tokens, joint, masks, parts)
        else:
            query = base + ((parts.present * parts.weights).unsqueeze(2) * parts.features).sum(dim=1)
        unit = (normalize(rows, dim=-1) for rows in (query, base, parts.features))
        return Composed(*unit, parts.present, parts.weights)

    def _louder(
        self, base: Float[Tensor, "b d"], vision_tokens: Tensor, joint: JointStates, masks: Bool[Tensor, "b a l"], parts: AttributeParts
    ) -> Float[Tensor, "b d"]:
        """Mode "token": H_t times 1 + w_a at the words of group a is the text of a second pass; only texts that name a group have one.

        The scaled states take the place of the embedded words behind the norm of the embeddings, which would undo the scaling.
        """
        rows = parts.present.any(dim=1).nonzero().squeeze(1)
        if len(rows) == 0:
            return base
        scale = 1 + (masks[rows] * parts.weights[rows].unsqueeze(2)).sum(dim=1)  # (k, l): a word belongs to one group at most
        with _text_states(self.qformer, joint.text[rows] * scale.unsqueeze(2)):
            second = self.qformer.joint_states(vision_tokens[rows.to(vision_tokens.device)], joint.tokens.select(rows))
        return base.index_copy(0, rows, self.qformer.model.text_projection(second.queries).mean(dim=1))


@contextmanager
def _text_states(qformer: QFormer, states: Float[Tensor, "b l h"]) -> Iterator[None]:
    """Within, the joint branch reads these states in place of its embedded words, behind the norm of the embeddings."""

    def replace(module: nn.Module, inputs: tuple, normed: Tensor) -> Tensor:
        return torch.cat([normed[:, : -states.shape[1]], states.to(normed.dtype)], dim=1)

    handle = qformer.model.qformer.layernorm.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


def relevance(query: Float[Tensor, "b *a d"], image_tokens: Float[Tensor, "b m d"]) -> Float[Tensor, "b *a"]:
    """c(q, x): the largest of the m inner products of each query with its own picture, as in BLIP-2 and QuRe.

    Example:
        >>> relevance(torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.6, 0.8], [0.8, 0.6]]])).tolist()
        [0.800000011920929]
    """
    if query.ndim == 2:
        return torch.einsum("bd,bmd->bm", query, image_tokens).amax(dim=-1)
    return torch.einsum("bad,bmd->bam", query, image_tokens).amax(dim=-1)


def cross_relevance(query: Float[Tensor, "q d"], image_tokens: Float[Tensor, "p m d"]) -> Float[Tensor, "q p"]:
    """c(q, x) of every query with every picture of a batch. Holds q * p * m scores, so it is for batches only."""
    return torch.einsum("qd,pmd->qpm", query, image_tokens).amax(dim=-1)
