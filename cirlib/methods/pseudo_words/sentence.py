"""The one way to put pseudo-words into sentences, for every method: rows of token embeddings are replaced where the placeholder stands.

    a photo of $ that is red          tokens; `columns` says where "$" stands, `ends` where the sentence is read off
    a photo of W that is red          W: the pseudo-word, put in before positions are added
    after_block(l, hidden)            optional: changes hidden states on the way (visual injection, composing adapters)

What follows the end token cannot reach it under a causal mask, so sentences are cut after the longest one of a batch, and those of mixed
lengths run in groups of similar length: a batch of "a photo of $" runs through 6 columns, and not 77.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from cirlib.backbones.clip import Clip
from cirlib.backbones.clip_text import (
    PLACEHOLDER,
    AfterBlock,
    encode_token_sequence,
    end_positions,
    placeholder_id,
    text_tower,
)
from cirlib.types import InputError

GROUPS = 4  # that a batch of mixed lengths is split into


@dataclass(frozen=True)
class SentenceTokens:
    """Sentences with placeholders as token ids.

    Attributes:
        ids: (b, l), cut after the longest sentence where the text tower is causal.
        columns: (b, k) where the placeholders stand, in reading order. A sentence with fewer than k names its first one again.
        repeated: (b, k) bool, True where `columns` names the first one again.
        ends: (b,) column of the token that the sentence is read off.
    """

    ids: Int[Tensor, "b l"]
    columns: Int[Tensor, "b k"]
    repeated: Bool[Tensor, "b k"]
    ends: Int[Tensor, " b"]

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: Tensor | slice) -> "SentenceTokens":
        """Some of the sentences."""
        return SentenceTokens(self.ids[index], self.columns[index], self.repeated[index], self.ends[index])

    def repeat(self, count: int) -> "SentenceTokens":
        """The first sentence, `count` times, without another tokenisation."""
        return self.rows(torch.zeros(count, dtype=torch.long, device=self.ids.device))


def sentence_tokens(clip: Clip, texts: Sequence[str]) -> SentenceTokens:
    """Tokenise sentences, each with one placeholder or more, standing between spaces. A text beyond the context is cut, with one warning.

    Raises:
        InputError: If a sentence has no placeholder, or the cut takes its last one.
    """
    if not texts:
        raise InputError("no sentences to put pseudo-words into; give at least one")
    ids = clip.tokenize(texts, on_long="truncate")
    found = ids == placeholder_id(clip)  # (b, l)
    counts = found.sum(1)
    if (counts == 0).any():
        text = texts[int((counts == 0).int().argmax())]
        raise InputError(
            f"{text[:80]!r} has no placeholder within {clip.context_length} tokens; put {PLACEHOLDER!r} between spaces near its beginning"
        )
    columns = found.int().argsort(dim=1, descending=True, stable=True)[:, : int(counts.max())]  # placeholders first, in reading order
    repeated = torch.arange(columns.shape[1], device=ids.device) >= counts[:, None]  # (b, k)
    columns = torch.where(repeated, columns[:, :1], columns)
    ends = end_positions(clip, ids)
    if text_tower(clip).attn_mask is not None:
        ids = ids[:, : int(ends.max()) + 1]
    return SentenceTokens(ids, columns, repeated, ends)


def encode_sentences(
    clip: Clip, tokens: SentenceTokens, words: Float[Tensor, "b t"], *, after_block: AfterBlock | None = None
) -> Float[Tensor, "b d"]:
    """Text embeddings, not normalised, of sentences with every placeholder replaced by the sentence's one pseudo-word.

    Gradients flow to the pseudo-words (and to what `after_block` holds), never to CLIP.

    Args:
        clip: Frozen CLIP.
        tokens: Sentences, see `sentence_tokens`.
        words: One pseudo-word per sentence.
        after_block: As in `clip_text.encode_token_sequence`; `tokens.columns` and `tokens.ends` say where placeholder and end token are.
    """
    words = words.to(clip.device)[:, None].expand(-1, tokens.columns.shape[1], -1)  # (b, k, t)
    # A row that is written twice would receive its gradient twice.
    words = torch.where(tokens.repeated[:, :, None], words.detach(), words)
    if after_block is not None:  # which counts on the rows and columns of `tokens`
        return encode_token_sequence(clip, tokens.ids, columns=tokens.columns, pseudo_words=words, after_block=after_block)

    def encode(rows: Tensor, length: int) -> Tensor:
        return encode_token_sequence(clip, tokens.ids[rows, :length], columns=tokens.columns[rows], pseudo_words=words[rows])

    return _by_length(clip, tokens.ids, tokens.ends, encode)


def pseudo_sentences(
    clip: Clip, texts: Sequence[str], words: Float[Tensor, "b t"], *, after_block: AfterBlock | None = None
) -> Float[Tensor, "b d"]:
    """Text embeddings, not normalised, of sentences such as "a photo of $ that is red" with the pseudo-word in the place of "$".

    Args:
        clip: Frozen CLIP.
        texts: One per pseudo-word, or a single one for all of them.
        words: Pseudo-words.
        after_block: See `encode_sentences`.

    Raises:
        InputError: As `sentence_tokens`, or if the numbers of texts and pseudo-words differ.
    """
    if len(texts) not in (1, len(words)):
        raise InputError(f"{len(texts)} sentences for {len(words)} pseudo-words; give one each, or one for all")
    tokens = sentence_tokens(clip, texts)
    return encode_sentences(clip, tokens if len(texts) == len(words) else tokens.repeat(len(words)), words, after_block=after_block)


@torch.no_grad()
def plain_sentences(clip: Clip, texts: Sequence[str]) -> Float[Tensor, "n d"]:
    """Text embeddings, not normalised, of sentences without pseudo-words; `Clip.encode_texts` without the columns after the longest one.

    A text beyond the context is cut, with one warning.
    """
    ids = clip.tokenize(texts, on_long="truncate")
    return _by_length(clip, ids, end_positions(clip, ids), lambda rows, length: encode_token_sequence(clip, ids[rows, :length]))


def _by_length(clip: Clip, ids: Tensor, ends: Tensor, encode: Callable[[Tensor, int], Tensor]) -> Float[Tensor, "b d"]:
    """Encode sentences in groups of similar length, each through no more columns than its longest one needs; rows keep their order."""
    order = ends.argsort(stable=True)
    if text_tower(clip).attn_mask is None:
        return encode(torch.arange(len(ids), device=ids.device), ids.shape[1])
    mixed = len(ids) >= 4 * GROUPS and int(ends.max()) > 1.25 * float(ends.float().mean())
    groups = order.chunk(GROUPS) if mixed else [order]
    rows = torch.cat([encode(group, int(ends[group].max()) + 1) for group in groups])
    return rows[order.argsort()]


def word_embedding(clip: Clip, word: str) -> Float[Tensor, " t"]:
    """The row of the token table that stands for a word: a pseudo-word that says what the word says.

    Raises:
        InputError: If the tokenizer splits the word into several tokens.
    """
    ids = clip.tokenizer.encode(word)
    if len(ids) != 1:
        raise InputError(f"{word!r} is {len(ids)} tokens for {clip.name}; give a word that is one")
    return text_tower(clip).token_embedding.weight[ids[0]].detach().clone()
