"""Composing adapters: a residual low-rank map after some text blocks, applied to every token. Stage 2 trains nothing else.

`H <- H + (H A) B` with A (t, r) and B (r, t). The released code calls it LoRA, but it adapts the states between blocks, no weight matrix:
there is no scale, no bias and no activation.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cirlib.backbones.clip_text import AfterBlock

ComposingInit = Literal["zero", "released"]
SPREAD = 0.01  # standard deviation at the start (released code)


class ComposingAdapters(nn.Module):
    """One low-rank map per chosen block.

    Args:
        width: Of the text tower, t.
        blocks: Text blocks that a map follows; see `layers.composing_blocks`.
        rank: r.
        init: "zero": B starts at zero, so that stage 2 starts exactly at stage 1 (our choice). "released": A and B are both drawn.
    """

    def __init__(self, width: int, blocks: Sequence[int], rank: int = 128, init: ComposingInit = "zero") -> None:
        super().__init__()
        self.settings = {"width": width, "blocks": list(blocks), "rank": rank, "init": init}
        self.blocks = tuple(blocks)
        self.down = nn.ParameterList(nn.Parameter(SPREAD * torch.randn(width, rank)) for _ in self.blocks)  # A
        self.up = nn.ParameterList(
            nn.Parameter(torch.zeros(rank, width) if init == "zero" else SPREAD * torch.randn(rank, width)) for _ in self.blocks
        )  # B

    def after_block(self, block: int, hidden: Float[Tensor, "b l t"]) -> Float[Tensor, "b l t"]:
        """The change for `clip_text.encode_token_sequence`."""
        if block not in self.blocks:
            return hidden
        place = self.blocks.index(block)
        return hidden + ((hidden.float() @ self.down[place]) @ self.up[place]).to(hidden)


def in_turn(*changes: AfterBlock | None) -> AfterBlock | None:
    """Several changes after the same block, the first one first; None changes nothing.

    Example:
        >>> in_turn(None, lambda block, hidden: hidden + 1, lambda block, hidden: 2 * hidden)(0, 3)
        8
    """
    present = [change for change in changes if change is not None]
    if not present:
        return None

    def change(block: int, hidden: Tensor) -> Tensor:
        for step in present:
            hidden = step(block, hidden)
        return hidden

    return change
