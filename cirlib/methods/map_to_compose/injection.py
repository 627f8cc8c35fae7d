"""Visual semantic injection: after some text blocks the pseudo-word's state asks the picture's patches for detail and adds the answer.

    V = Wh F + bh                              every projected patch token F, mapped to the text width, one map for all blocks
    K = MLP2(ReLU(BN(Conv3x3(grid(V)))))       keys: of the picture alone, so they are computed once per picture
    q = MLP1(h),  u = MLP3(e)                  h: the placeholder's state, e: the end token's state of the same block
    twice: a = attention(q + u, K, K),  q = LayerNorm(q + Drop(W2 Drop(GELU(W1 a))))
    h <- h + MLP4(q)                           no other row changes

The end token has read the modification text, so the detail that is fetched depends on it. Source: the released code.
"""

import copy
import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from cirlib.backbones.clip_text import AfterBlock
from cirlib.types import InputError

AnswerInit = Literal["zero", "released"]


def two_layers(inputs: int, hidden: int, outputs: int, dropout: float) -> nn.Sequential:
    """The released code's MLP: twice Linear, Dropout, ReLU; its output is never negative."""
    parts = [nn.Linear(inputs, hidden), nn.Dropout(dropout), nn.ReLU(), nn.Linear(hidden, outputs), nn.Dropout(dropout), nn.ReLU()]
    return nn.Sequential(*parts)


def square_grid(patches: Float[Tensor, "b p t"]) -> Float[Tensor, "b t r r"]:
    """Patches in reading order as a square picture with t channels.

    Raises:
        InputError: If their number is no square.
    """
    side = math.isqrt(patches.shape[1])
    if side * side != patches.shape[1]:
        raise InputError(f"{patches.shape[1]} patches make no square grid; use a CLIP that reads square pictures")
    return patches.transpose(1, 2).unflatten(2, (side, side))


class PatchAttention(nn.Module):
    """One query attends to the patches; the residual passes over attention and feed-forward together (released code)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width), nn.Dropout(dropout)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, query: Float[Tensor, "b 1 h"], asked: Float[Tensor, "b 1 h"], keys: Float[Tensor, "b p h"]) -> Float[Tensor, "b 1 h"]:
        """The query after reading the patches; `asked` is added to it for the attention only."""
        answer, _ = self.attention(query + asked, keys, keys, need_weights=False)
        return self.norm(query + self.feed_forward(answer))


class InjectionAdapter(nn.Module):
    """The injection after one text block.

    Args:
        width: Of the text tower, t.
        hidden: Width h that attention works in; a multiple of `heads`.
        heads: Of the attention.
        dropout: In every part.
        answer: "zero": the last layer is plain and starts at zero, so that training starts at the mapper alone (our choice). "released":
            the default start, ending in a ReLU, so that a random vector without negative entries is added at first.
    """

    def __init__(self, width: int, hidden: int = 128, heads: int = 8, dropout: float = 0.1, answer: AnswerInit = "zero") -> None:
        super().__init__()
        if hidden % heads:
            raise InputError(f"{heads} attention heads do not divide a width of {hidden}; choose a multiple")
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv_norm = nn.BatchNorm2d(width)
        self.to_query, self.to_keys, self.to_asked = (two_layers(width, hidden, hidden, dropout) for _ in range(3))
        first = PatchAttention(hidden, heads, dropout)
        self.attention = nn.ModuleList([first, copy.deepcopy(first)])  # both start from the same weights (released code)
        self.to_answer = two_layers(hidden, width, width, dropout)
        if answer == "zero":
            last = self.to_answer[3]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.to_answer = self.to_answer[:4]

    def keys(self, patches: Float[Tensor, "b p t"]) -> Float[Tensor, "b p h"]:
        """What the patches of a picture offer. `patches` are mapped ones, without the class token, of a square grid in reading order."""
        seen = torch.relu(self.conv_norm(self.conv(square_grid(patches))))  # (b, t, r, c)
        return self.to_keys(seen.flatten(2).transpose(1, 2))

    def forward(self, placeholder: Float[Tensor, "b t"], end: Float[Tensor, "b t"], keys: Float[Tensor, "b p h"]) -> Float[Tensor, "b t"]:
        """What is added to the placeholder's state, given it and the end token's state."""
        query, asked = self.to_query(placeholder)[:, None], self.to_asked(end)[:, None]  # (b, 1, h)
        for attention in self.attention:
            query = attention(query, asked, keys)
        return self.to_answer(query[:, 0])


class VisualInjection(nn.Module):
    """The patch-to-text map and one adapter per chosen block.

    Args:
        dim: Width d of CLIP's joint space.
        width: Width t of the text tower.
        blocks: Text blocks that an adapter follows; see `layers.injection_blocks`.
        hidden: Width h of the attention.
        heads: Of the attention.
        dropout: In every part.
        answer: How the adapters' answers start; see `InjectionAdapter`.
        grid: Side of the grid that patches are averaged to first; 0 leaves them as they are (our addition: 8 x 8 to 4 x 4 is a quarter of
            the work).
    """

    def __init__(
        self,
        dim: int,
        width: int,
        blocks: Sequence[int],
        hidden: int = 128,
        heads: int = 8,
        dropout: float = 0.1,
        answer: AnswerInit = "zero",
        grid: int = 0,
    ) -> None:
        super().__init__()
        self.settings = {"dim": dim, "width": width, "blocks": list(blocks), "hidden": hidden, "heads": heads}
        self.settings |= {"dropout": dropout, "answer": answer, "grid": grid}
        self.blocks, self.grid = tuple(blocks), grid
        self.projection = nn.Linear(dim, width)  # Wh
        self.adapters = nn.ModuleList(InjectionAdapter(width, hidden, heads, dropout, answer) for _ in self.blocks)

    def keys(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b a p h"]:
        """Keys of every adapter from the projected image tokens, the class token first; it takes no part."""
        patches = square_grid(tokens[:, 1:])  # (b, d, r, c)
        if self.grid:
            patches = adaptive_avg_pool2d(patches, self.grid)
        patches = self.projection(patches.flatten(2).transpose(1, 2))  # (b, p, t)
        keys = torch.stack([adapter.keys(patches) for adapter in self.adapters], dim=1)
        return keys.float()  # the text tower decides about mixed precision on its own

    def after_block(self, keys: Float[Tensor, "b a p h"], columns: Int[Tensor, " b"], ends: Int[Tensor, " b"]) -> AfterBlock:
        """The change for `clip_text.encode_token_sequence`.

        Args:
            keys: Of the picture behind each sentence.
            columns: Column of the placeholder in each sentence. The released code takes row 0's for all; here every row has its own.
            ends: Column of the end token in each sentence.
        """
        rows = torch.arange(len(columns), device=columns.device)

        def change(block: int, hidden: Tensor) -> Tensor:
            if block not in self.blocks:
                return hidden
            place = self.blocks.index(block)
            added = self.adapters[place](hidden[rows, columns].float(), hidden[rows, ends].float(), keys[:, place])  # (b, t)
            return hidden.index_put((rows, columns), added.to(hidden), accumulate=True)

        return change
