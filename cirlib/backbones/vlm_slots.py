"""Inputs of a Qwen2.5-VL language tower in which given vectors stand where the image tokens would.

The rows at the image tokens may be the model's own merged patches or slots that something else pooled from them. Slots have no grid, so
they get text-like positions on all three axes of M-RoPE, at training and at inference alike (our choice; the paper does not say).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cirlib.types import InputError


@dataclass(frozen=True)
class SlotInputs:
    """One batch, ready for the language tower; every row has the same prompt, so nothing is padded.

    Attributes:
        embeds: (b, l, h) input embeddings.
        positions: (3, b, l) M-RoPE positions: time, height, width.
        span: Where the slots lie among the l tokens.
    """

    embeds: Float[Tensor, "b l h"]
    positions: Int[Tensor, "3 b l"]
    span: slice


def rope_positions(length: int, start: int, grid: tuple[int, int] | None) -> Int[Tensor, "3 l"]:
    """M-RoPE positions of a row of tokens with one picture from token `start` on, counted as transformers' `get_rope_index` does.

    Args:
        length: Tokens of the row.
        start: First image token.
        grid: Rows and columns of the image tokens; None gives every token its own place, as for text.

    Example:
        >>> rope_positions(6, 1, (2, 2)).tolist()
        [[0, 1, 1, 1, 1, 3], [0, 1, 1, 2, 2, 3], [0, 1, 2, 1, 2, 3]]
    """
    positions = torch.arange(length).expand(3, -1).clone()
    if grid is not None:
        rows, columns = grid
        stop = start + rows * columns
        positions[0, start:stop] = start
        positions[1, start:stop] = start + torch.arange(rows).repeat_interleave(columns)
        positions[2, start:stop] = start + torch.arange(columns).repeat(rows)
        positions[:, stop:] -= rows * columns - max(rows, columns)
    return positions


def slot_inputs(model: Any, prompt_ids: Sequence[int], slots: Float[Tensor, "b q h"], grid: tuple[int, int] | None = None) -> SlotInputs:
    """Embed a prompt that holds exactly one image token, with the slots in that token's place. Gradients flow to the slots.

    Raises:
        InputError: If the model is not of Qwen's kind, the prompt has not one image token, or the slots have another width than the model.
    """
    config = model.config
    if not hasattr(model.model, "get_rope_index"):
        raise InputError(f"{type(model).__name__} takes no slots; use a model of the Qwen2.5-VL class")
    places = [place for place, token in enumerate(prompt_ids) if token == config.image_token_id]
    if len(places) != 1:
        raise InputError(f"the prompt holds {len(places)} image tokens and must hold one; leave chat marks out of prompts")
    width = config.text_config.hidden_size
    if slots.ndim != 3 or slots.shape[2] != width:
        raise InputError(f"slots of shape {tuple(slots.shape)} given; this model takes (pictures, slots, {width})")
    table = model.get_input_embeddings()
    ids = torch.tensor(list(prompt_ids), device=table.weight.device)
    b, count = slots.shape[:2]
    words = table(ids).expand(b, -1, -1)  # (b, l - q + 1, h)
    start = places[0]
    embeds = torch.cat([words[:, :start], slots.to(words), words[:, start + 1 :]], 1)  # (b, l, h)
    positions = rope_positions(embeds.shape[1], start, grid).to(ids.device)
    return SlotInputs(embeds, positions[:, None].expand(-1, b, -1), slice(start, start + count))


def with_answers(inputs: SlotInputs, answers: Float[Tensor, "b t h"]) -> SlotInputs:
    """The same inputs followed by embedded answers, whose positions go on from the prompt's last one."""
    following = inputs.positions[:, :, -1:] + torch.arange(1, answers.shape[1] + 1, device=answers.device)
    return SlotInputs(torch.cat([inputs.embeds, answers], 1), torch.cat([inputs.positions, following], 2), inputs.span)


def run_language_tower(model: Any, inputs: SlotInputs) -> Float[Tensor, "b l h"]:
    """Hidden states of the language tower after its final norm."""
    tower = model.model.language_model
    return tower(inputs_embeds=inputs.embeds, position_ids=inputs.positions, use_cache=False).last_hidden_state
