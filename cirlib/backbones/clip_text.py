"""Inside CLIP's text tower: the one way for every method to put pseudo-words and features into a sentence.

    embeddings   a photo of $ that is red       token rows, some replaced by pseudo-words
    block 0..L-1 causal self-attention           `after_block(l, hidden)` may change the hidden states after any block
    output       ln_final at the end token, times the text projection

With nothing injected the result is `model.encode_text` to the last bit. Gradients flow to whatever was injected.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cirlib.backbones.clip import Clip
from cirlib.types import InputError

PLACEHOLDER = "$"  # the character that a pseudo-word replaces in a template
PLACEHOLDER_WORD = (
    "dollar "  # what the same character becomes in a user's own words, so that "$50" is not taken for a pseudo-word (our choice)
)

AfterBlock = Callable[[int, Tensor], Tensor]


def fill_template(template: str, modification_text: str) -> str:
    """Put a modification text into a template, keeping the template's placeholders the only ones.

    Example:
        >>> fill_template("a photo of $ that {modification_text}", "costs $50")
        'a photo of $ that costs dollar 50'
    """
    return template.replace("{modification_text}", modification_text.replace(PLACEHOLDER, PLACEHOLDER_WORD))


def placeholder_id(clip: Clip) -> int:
    """Token id of PLACEHOLDER standing alone, asked from the tokenizer.

    Raises:
        InputError: If the tokenizer splits it into several tokens, or is not a byte pair tokenizer.
    """
    ids = clip.tokenizer.encode(PLACEHOLDER) if hasattr(clip.tokenizer, "encode") else []
    if len(ids) != 1:
        raise InputError(f"the tokenizer of {clip.name} gives {len(ids)} tokens for {PLACEHOLDER!r}; pseudo-words need exactly one")
    return ids[0]


def tokenize_with_placeholders(
    clip: Clip, texts: Sequence[str], count: int = 1, *, on_long: Literal["raise", "truncate"] = "raise"
) -> tuple[Int[Tensor, "b l"], Int[Tensor, "b k"]]:
    """Token ids and the columns of the placeholders.

    Args:
        clip: The model whose tokenizer is used.
        texts: Filled templates, each with exactly `count` placeholders, each standing between spaces.
        count: Placeholders per text.
        on_long: As in `Clip.tokenize`; a cut never takes a placeholder along silently.

    Returns:
        Ids (b, context length), and columns (b, count) in reading order.

    Raises:
        InputError: If a text has another number of placeholders, or the context limit cuts one off.
    """
    wanted = placeholder_id(clip)
    ids = clip.tokenize(texts, on_long=on_long)
    found = (ids == wanted).sum(dim=1).tolist()
    for text, number in zip(texts, found, strict=True):
        before_cut = clip.tokenizer.encode(text).count(wanted)
        if before_cut != count:
            raise InputError(f"{text[:80]!r} has {before_cut} placeholders; give {count} {PLACEHOLDER!r} standing between spaces")
        if number != count:
            raise InputError(
                f"{text[:80]!r}... loses its placeholder at the limit of {clip.context_length} tokens; move {PLACEHOLDER!r} forward"
            )
    columns = (ids == wanted).nonzero()[:, 1].reshape(len(ids), count)  # (b, k)
    return ids, columns


def token_embeddings(clip: Clip, token_ids: Int[Tensor, "b l"]) -> Float[Tensor, "b l t"]:
    """The input embeddings of tokens, before positions are added."""
    return text_tower(clip).token_embedding(token_ids)


def end_positions(clip: Clip, token_ids: Int[Tensor, "b l"]) -> Int[Tensor, " b"]:
    """Column of the token that the sentence is read off: CLIP's end token."""
    tower = text_tower(clip)
    pool, end_id = _pooling(tower)
    columns = {
        "argmax": lambda: token_ids.argmax(dim=-1),  # the end token has the highest id
        "eos": lambda: (token_ids == end_id).int().argmax(dim=-1),
        "first": lambda: torch.zeros_like(token_ids[:, 0]),
        "last": lambda: torch.full_like(token_ids[:, 0], token_ids.shape[1] - 1),
    }
    return columns[pool]()


def encode_token_sequence(
    clip: Clip,
    token_ids: Int[Tensor, "b l"],
    *,
    columns: Int[Tensor, "b k"] | None = None,
    pseudo_words: Float[Tensor, "b k t"] | None = None,
    after_block: AfterBlock | None = None,
) -> Float[Tensor, "b d"]:
    """Text embeddings (not normalised, float32) of sentences with pseudo-words and with hidden states changed on the way.

    Args:
        clip: Frozen CLIP.
        token_ids: As `Clip.tokenize` gives them; the end token is found by its id, so ids stay as they are where rows are replaced.
            May be shorter than the context.
        columns: Which tokens to replace, per sentence.
        pseudo_words: What replaces them, before positions are added. (b, t) is read as one per sentence.
        after_block: Called as `after_block(l, hidden)` after each block l = 0..L-1 with hidden states (b, l, t); returns those to go on
            with. What it changes after the last block matters at the end token only.

    Raises:
        InputError: If the text tower is not OpenCLIP's own transformer.
        ValueError: If columns and pseudo-words do not fit each other.
    """
    tower = text_tower(clip)
    length = token_ids.shape[1]
    with clip.autocast():
        dtype = tower.transformer.get_cast_dtype()
        hidden = tower.token_embedding(token_ids).to(dtype)  # (b, l, t)
        if columns is not None or pseudo_words is not None:
            hidden = _replace(hidden, columns, pseudo_words)
        hidden = hidden + tower.positional_embedding[:length].to(dtype)
        mask = None if tower.attn_mask is None else tower.attn_mask[:length, :length]
        hidden = tower.ln_final(_run_blocks(tower.transformer, hidden, mask, after_block))
        pooled = hidden[torch.arange(len(hidden), device=hidden.device), end_positions(clip, token_ids)]  # (b, t)
        return _project(tower, pooled).float()


def text_tower(clip: Clip) -> Any:
    """The module that holds the text transformer: the model itself (`CLIP`) or its `text` (`CustomTextCLIP`).

    Raises:
        InputError: If the tower is not OpenCLIP's plain text transformer (Hugging Face towers, CoCa's class token).
    """
    tower = getattr(clip.model, "text", clip.model)
    plain = isinstance(getattr(getattr(tower, "transformer", None), "resblocks", None), nn.ModuleList)
    if not plain or getattr(tower, "cls_emb", None) is not None or getattr(tower, "use_pad_mask", False):
        raise InputError(f"the text tower of {clip.name} is not OpenCLIP's plain transformer, so nothing can be injected; use another CLIP")
    if _pooling(tower)[0] not in ("argmax", "eos", "first", "last"):
        raise InputError(f"the text tower of {clip.name} pools by {_pooling(tower)[0]!r}, so it has no end token; use another CLIP")
    return tower


def _pooling(tower: Any) -> tuple[str, int]:
    prefix = "text_" if hasattr(tower, "text_pool_type") else ""
    return getattr(tower, f"{prefix}pool_type"), getattr(tower, f"{prefix}eos_id")


def _replace(hidden: Tensor, columns: Tensor | None, pseudo_words: Tensor | None) -> Tensor:
    if columns is None or pseudo_words is None:
        raise ValueError("columns and pseudo_words belong together; one of them is missing")
    if pseudo_words.ndim == 2:
        pseudo_words = pseudo_words[:, None]  # (b, 1, t)
    if pseudo_words.shape != (*columns.shape, hidden.shape[2]) or len(columns) != len(hidden):
        raise ValueError(f"pseudo-words {tuple(pseudo_words.shape)} do not fit columns {tuple(columns.shape)} in {tuple(hidden.shape)}")
    index = columns[:, :, None].expand_as(pseudo_words)  # (b, k, t)
    return hidden.scatter(1, index, pseudo_words.to(hidden))


def _run_blocks(transformer: nn.Module, hidden: Tensor, mask: Tensor | None, after_block: AfterBlock | None) -> Tensor:
    for number, block in enumerate(transformer.resblocks):
        hidden = hidden if transformer.batch_first else hidden.transpose(0, 1)
        hidden = block(hidden, attn_mask=mask)
        hidden = hidden if transformer.batch_first else hidden.transpose(0, 1)  # (b, l, t)
        if after_block is not None:
            hidden = after_block(number, hidden)
    return hidden


def _project(tower: Any, pooled: Tensor) -> Tensor:
    projection = tower.text_projection
    if projection is None:
        return pooled
    return projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection
