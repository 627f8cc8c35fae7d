"""Pieces of the miniature's pretraining: lessons as token rows, the vision tower over a whole batch at once, and the losses."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from cirlib.backbones.vlm_lessons import Lesson
from cirlib.backbones.vlm_miniature import IMAGE_TOKENS
from cirlib.backbones.vlm_slots import rope_positions
from cirlib.data.atelier.schema import ATTRIBUTES
from cirlib.data.atelier.truth import NAMES

IGNORE = -100


def patch_rows(rows: Float[Tensor, "b p *d"], merge: int) -> Float[Tensor, "b p *d"]:
    """Patches from row-major order to Qwen's, in which the patches that are merged into one token stand together."""
    b, p = rows.shape[:2]
    side = round(p**0.5) // merge
    grid = rows.reshape(b, side, merge, side, merge, *rows.shape[2:])
    return grid.transpose(2, 3).reshape(rows.shape)  # (b, side, side, merge, merge, ...) -> (b, p, ...)


def batched_vision(visual: nn.Module, pixels: Float[Tensor, "b 3 s s"]) -> tuple[Float[Tensor, "b p w"], Float[Tensor, "b n h"]]:
    """Qwen's vision tower on equally large square pictures: its own numbers, without its loop over pictures in every block.

    Returns:
        Patch rows after the last block in Qwen's order, and the merged tokens.
    """
    b, channels, side, _ = pixels.shape
    patch, merge = visual.patch_size, visual.spatial_merge_size
    count = side // patch
    grid = pixels.reshape(b, channels, count, patch, count, patch).permute(0, 2, 4, 1, 3, 5)  # (b, rows, columns, 3, patch, patch)
    flat = patch_rows(grid.reshape(b, count * count, -1), merge)
    x = F.linear(flat, visual.patch_embed.proj.weight.flatten(1))
    place = torch.stack(torch.meshgrid(torch.arange(count), torch.arange(count), indexing="ij"), -1).reshape(1, -1, 2)
    cos, sin = visual.rotary_pos_emb(x, patch_rows(place, merge)[0].to(pixels.device))  # (p, head)
    for block in visual.blocks:
        x = x + _attention(block.attn, block.norm1(x), cos, sin)
        x = x + block.mlp(block.norm2(x))
    return x, visual.merger(x).reshape(b, count * count // merge**2, -1)


def _attention(attn: nn.Module, x: Float[Tensor, "b p w"], cos: Tensor, sin: Tensor) -> Float[Tensor, "b p w"]:
    b, p, _ = x.shape
    q, k, v = attn.qkv(x).reshape(b, p, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)  # each (b, heads, p, head)
    out = F.scaled_dot_product_attention(_rotate(q, cos, sin).to(v.dtype), _rotate(k, cos, sin).to(v.dtype), v)
    return attn.proj(out.transpose(1, 2).reshape(b, p, -1))


def _rotate(x: Float[Tensor, "b heads p head"], cos: Float[Tensor, "p head"], sin: Float[Tensor, "p head"]) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


def token_rows(processor: Any, lessons: Sequence[Lesson]) -> dict[str, Tensor]:
    """Lessons of one kind (all with a picture or all without) as padded rows.

    Returns:
        ids (b, l), positions (3, b, l), and labels (b, l): the next token where it belongs to the answer, else IGNORE.
    """
    tokenizer, image_token = processor.tokenizer, processor.image_token_id
    side = round(IMAGE_TOKENS**0.5)
    rows = []
    for lesson in lessons:
        parts = [{"type": "text", "text": lesson.prompt}] + [{"type": "image"}] * lesson.picture
        chat = processor.apply_chat_template([{"role": "user", "content": parts}], add_generation_prompt=True, tokenize=False)
        chat = chat.replace(processor.image_token, processor.image_token * IMAGE_TOKENS)
        rows.append(tokenizer([chat, lesson.answer + tokenizer.eos_token]).input_ids)
    length = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids = torch.full((len(rows), length), tokenizer.pad_token_id)
    labels = torch.full((len(rows), length), IGNORE)
    positions = torch.zeros(3, len(rows), length, dtype=torch.long)
    for row, (prompt, answer) in enumerate(rows):
        stop = len(prompt) + len(answer)
        ids[row, :stop] = torch.tensor(prompt + answer)
        labels[row, len(prompt) - 1 : stop - 1] = torch.tensor(answer)
        grid, start = ((side, side), prompt.index(image_token)) if lesson.picture else (None, 0)
        positions[:, row, :stop] = rope_positions(stop, start, grid)
    return {"ids": ids, "labels": labels, "positions": positions}


def answer_loss(vlm: nn.Module, batch: dict[str, Tensor], merged: Float[Tensor, "b n h"]) -> tuple[Tensor, Tensor]:
    """Sum of the cross-entropy over the answers' tokens, and how many they are."""
    ids, labels = batch["ids"], batch["labels"]
    embeds = vlm.get_input_embeddings()(ids)
    image = ids == vlm.config.image_token_id
    if image.any():
        embeds = embeds.masked_scatter(image[..., None], merged.to(embeds.dtype))
    # Padding follows the answer, where the causal mask lets nothing look at it; so no mask is needed.
    hidden = vlm.model.language_model(inputs_embeds=embeds, position_ids=batch["positions"], use_cache=False).last_hidden_state
    used = labels != IGNORE
    logits = vlm.lm_head(hidden[used]).float()
    return F.cross_entropy(logits, labels[used], reduction="sum"), used.sum()


def truth_loss(logits: Float[Tensor, "b v"], codes: Int[Tensor, "b a"]) -> Tensor:
    """Mean over attributes of the cross-entropy among an attribute's values; codes of -1 are left out."""
    losses, start = [], 0
    for column, name in enumerate(NAMES):
        stop = start + len(ATTRIBUTES[name].values)
        if (codes[:, column] >= 0).any():
            losses.append(F.cross_entropy(logits[:, start:stop].float(), codes[:, column], ignore_index=-1))
        start = stop
    return torch.stack(losses).mean()
