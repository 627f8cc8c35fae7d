"""The attention pooler of V-Dict-AE: a plain transformer encoder over [queries; patches] whose first outputs are the slots.

Paper, Eq. 13-14: X = Enc([Q0; P]), Z = the first Q rows of X, with self-attention among queries and patches alike and depth 5. Heads,
normalisation, type embedding and initial values are our choice.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cirlib.types import InputError

MAX_SLOTS = 75  # the soft prompt is BOS, the slots and EOS within the 77 tokens of CLIP's text encoder
HEAD_WIDTH = 128  # channels a head, our choice


class PoolerBlock(nn.Module):
    """One pre-norm encoder layer: self-attention, then a GELU network of four times the width; no dropout.

    Args:
        width: Channels.
        heads: Attention heads; must divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_network = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Float[Tensor, "b n h"], rows: int | None = None) -> Float[Tensor, "b r h"]:
        """The layer's output at the first `rows` places (all by default); every place is attended to in either case."""
        query, key, value = self._split(x)
        mixed = F.scaled_dot_product_attention(query[:, :, :rows], key, value)  # (b, heads, r, h / heads)
        x = x[:, :rows] + self.out(mixed.transpose(1, 2).flatten(2))  # (b, r, h)
        return x + self.network(self.norm_network(x))

    def attention(self, x: Float[Tensor, "b n h"]) -> Float[Tensor, "b n n"]:
        """Attention weights, averaged over heads; row i says where place i looks, and sums to 1."""
        query, key, _ = self._split(x)
        return (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1).mean(1)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.query_key_value(self.norm_attention(x)).unflatten(-1, (3, self.heads, -1))  # (b, n, 3, heads, h / heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (b, heads, n, h / heads)
        return query, key, value


class AttentionPooler(nn.Module):
    """Any number of patches to `slots` slots of the same width.

    Patches carry their place already, so no position is added: the slots do not depend on the order of the patches.

    Args:
        width: Channels h of patches and slots, the hidden size of the vision-language model.
        slots: Number of slots Q, 1 to 75.
        depth: Layers; the paper finds 5 best among 3, 5, 9.
        heads: Attention heads; by default one per 128 channels, and at least one.

    Raises:
        InputError: If the slots do not fit the text context, or the heads do not divide the width.

    Example:
        >>> AttentionPooler(width=32, slots=4, depth=1)(torch.zeros(2, 9, 32)).shape
        torch.Size([2, 4, 32])
    """

    def __init__(self, width: int, slots: int = MAX_SLOTS, depth: int = 5, heads: int | None = None) -> None:
        super().__init__()
        heads = max(1, width // HEAD_WIDTH) if heads is None else heads
        if not 1 <= slots <= MAX_SLOTS:
            raise InputError(f"{slots} slots asked for; the text context of 77 has room for 1 to {MAX_SLOTS} between BOS and EOS")
        if depth < 1 or heads < 1 or width % heads:
            raise InputError(
                f"a pooler {width} wide, {depth} deep, with {heads} heads asked for; use 1 or more, and heads that divide the width"
            )
        self.width = width
        self.queries = nn.Parameter(0.02 * torch.randn(slots, width))
        self.types = nn.Parameter(torch.zeros(2, width))  # what marks a query, what marks a patch
        self.blocks = nn.ModuleList(PoolerBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    @property
    def slots(self) -> int:
        """Number of slots."""
        return len(self.queries)

    @torch.no_grad()
    def match_statistics(self, patches: Float[Tensor, "b n h"]) -> None:
        """Start the last affine at the mean and spread of each channel of real patches, so that slots begin where the tower expects inputs.

        Args:
            patches: Merged patch features of a few dozen pictures.

        Raises:
            InputError: If their width differs from the pooler's.
        """
        self._check(patches)
        rows = patches.flatten(0, 1).float()
        self.norm.weight.copy_(rows.std(0, correction=0))
        self.norm.bias.copy_(rows.mean(0))

    def forward(self, patches: Float[Tensor, "b n h"]) -> Float[Tensor, "b q h"]:
        """Slots Z of each picture (Eq. 13-14).

        Raises:
            InputError: If the width of the patches differs from the pooler's.
        """
        x = self._join(patches)
        for block in self.blocks[:-1]:
            x = block(x)
        return self.norm(self.blocks[-1](x, rows=self.slots))

    @torch.no_grad()
    def attention(self, patches: Float[Tensor, "b n h"]) -> Float[Tensor, "b q n"]:
        """Where each slot looks: attention rollout through the layers, rows sum to 1.

        Each layer contributes half its attention and half the identity, for the residual path (Abnar and Zuidema, 2020); what reaches a
        slot from the queries themselves is left out, and the rest is scaled to 1. For figures.
        """
        x = self._join(patches)
        flow = torch.eye(x.shape[1], dtype=x.dtype, device=x.device).expand(len(x), -1, -1)  # (b, q + n, q + n)
        for block in self.blocks:
            flow = (block.attention(x) + torch.eye(x.shape[1], dtype=x.dtype, device=x.device)) / 2 @ flow
            x = block(x)
        seen = flow[:, : self.slots, self.slots :]  # (b, q, n)
        return seen / seen.sum(-1, keepdim=True)

    def _join(self, patches: Tensor) -> Tensor:
        self._check(patches)
        queries = (self.queries + self.types[0]).expand(len(patches), -1, -1)
        return torch.cat([queries, patches + self.types[1]], 1)  # (b, q + n, h)

    def _check(self, patches: Tensor) -> None:
        if patches.ndim != 3 or patches.shape[-1] != self.width:
            raise InputError(f"patches of shape {tuple(patches.shape)} given; the pooler takes (pictures, patches, {self.width})")
