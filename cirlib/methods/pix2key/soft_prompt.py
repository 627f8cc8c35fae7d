"""Projection heads of V-Dict-AE: hidden states of the slots to rows of a soft prompt for the diffusion model's text encoder.

Paper: a continuous head u = LayerNorm(W h), and as a variant a vocabulary head u = softmax(W_V h / tau)^T E_CLIP whose temperature falls
to a floor. Which of the two is the default, the initial values, the temperatures and the masked tokens are our choice.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cirlib.types import InputError

HeadKind = Literal["continuous", "vocabulary"]


class ContinuousHead(nn.Module):
    """u = LayerNorm(W h), with the LayerNorm started at the statistics of the frozen token table.

    CLIP's token embeddings are small, and a plain LayerNorm has unit spread: started there, the text encoder would see inputs far from any
    that it was trained on.

    Args:
        width: Hidden size h of the vision-language model.
        table: Token embeddings of the text encoder.
    """

    def __init__(self, width: int, table: Float[Tensor, "v d"]) -> None:
        super().__init__()
        self.project = nn.Linear(width, table.shape[1], bias=False)
        self.norm = nn.LayerNorm(table.shape[1])
        with torch.no_grad():
            self.norm.weight.copy_(table.float().std(0, correction=0))
            self.norm.bias.copy_(table.float().mean(0))

    def forward(self, states: Float[Tensor, "b q h"]) -> Float[Tensor, "b q d"]:
        """Rows of the soft prompt."""
        return self.norm(self.project(states))


class VocabularyHead(nn.Module):
    """u = softmax(W_V h / tau)^T E: each row is a mixture of real token embeddings, without noise or rounding.

    Args:
        width: Hidden size h.
        table: Token embeddings E, kept frozen and not stored with the weights.
        banned: Ids that must have no share, such as punctuation (`punctuation_ids`).
        start: First temperature.
        floor: Lowest temperature.
        steps: Training steps; `cool` reaches the floor after 60 % of them.

    Raises:
        InputError: If the temperatures are not 0 < floor <= start, or every token is banned.
    """

    def __init__(
        self, width: int, table: Float[Tensor, "v d"], banned: Sequence[int] = (), start: float = 1.0, floor: float = 0.1, steps: int = 1
    ) -> None:
        super().__init__()
        if not 0 < floor <= start or steps < 1:
            raise InputError(f"temperature from {start} to {floor} in {steps} steps asked for; use 0 < floor <= start and 1 step or more")
        allowed = torch.ones(len(table), dtype=torch.bool)
        allowed[list(banned)] = False
        if not allowed.any():
            raise InputError(f"all {len(table)} tokens are banned from the vocabulary head; leave at least one")
        self.project = nn.Linear(width, len(table), bias=False)
        self.floor, self.decay = floor, (floor / start) ** (1 / (0.6 * steps))
        self.register_buffer("tau", torch.tensor(start))
        self.register_buffer("allowed", allowed, persistent=False)
        self.register_buffer("table", table.detach().float(), persistent=False)

    def mixture(self, states: Float[Tensor, "b q h"]) -> Float[Tensor, "b q v"]:
        """Share of every token in every row; rows sum to 1, banned tokens have 0."""
        return (self.project(states) / self.tau).masked_fill(~self.allowed, float("-inf")).softmax(-1)

    def forward(self, states: Float[Tensor, "b q h"]) -> Float[Tensor, "b q d"]:
        """Rows of the soft prompt."""
        return self.mixture(states) @ self.table

    @torch.no_grad()
    def cool(self) -> None:
        """One step of tau <- max(floor, decay * tau)."""
        self.tau.mul_(self.decay).clamp_(min=self.floor)


def punctuation_ids(tokenizer) -> tuple[int, ...]:
    """Ids of special tokens and of tokens without a letter or a digit.

    Args:
        tokenizer: A Hugging Face tokenizer.
    """
    special = set(tokenizer.all_special_ids)
    return tuple(sorted(i for i in tokenizer.get_vocab().values() if i in special or not any(c.isalnum() for c in tokenizer.decode([i]))))


def make_head(kind: HeadKind, width: int, diffusion, steps: int = 1) -> ContinuousHead | VocabularyHead:
    """The head of a recipe.

    Args:
        kind: "continuous" or "vocabulary".
        width: Hidden size of the vision-language model.
        diffusion: A `LatentDiffusion`; its token table and tokenizer are read.
        steps: Training steps, for the fall of the temperature.

    Raises:
        InputError: If the kind is unknown.
    """
    table = diffusion.token_embeddings()
    if kind == "continuous":
        return ContinuousHead(width, table)
    if kind == "vocabulary":
        return VocabularyHead(width, table, punctuation_ids(diffusion.tokenizer), steps=steps)
    raise InputError(f"head {kind!r} asked for; it is continuous or vocabulary")
