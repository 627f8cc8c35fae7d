"""Sentences for a Q-Former: cleaned as LAVIS does, cut at its context with a word about it, and traceable from word to word pieces.

BLIP-2, and every method on its Q-Former (SPRC, QuRe), reads at most 32 BERT word pieces of a text without capitals and most punctuation.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from cirlib.types import InputError

LAVIS_CONTEXT = 32  # word pieces, [CLS] and [SEP] included: max_txt_len of BLIP-2 in LAVIS
BERT_POSITIONS = 512  # size of BERT's table of positions, which says nothing about what BLIP-2 was trained to read
MOST_WORDS = 50  # of a cleaned text, as LAVIS' BlipCaptionProcessor

OnLong = Literal["raise", "truncate"]


@dataclass(frozen=True)
class TextTokens:
    """Word pieces of a batch of texts, padded to the longest of them: masks keep padding out of every result.

    Attributes:
        ids: (b, l) word pieces, [CLS] first.
        mask: (b, l) 1 for a word piece, 0 for padding.
        spans: (b, l, 2) first character and the one after the last of each piece in `texts`; both 0 for [CLS], [SEP] and padding.
        texts: The cleaned texts. Words are what stands between blanks; BERT's own pieces split "v-neck" into three.
    """

    ids: Tensor
    mask: Tensor
    spans: Tensor
    texts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def select(self, rows: Int[Tensor, " k"]) -> "TextTokens":
        """Some of the texts, in the order given; a row may come more than once."""
        numbers = rows.cpu()
        texts = tuple(self.texts[number] for number in numbers.tolist())
        return TextTokens(self.ids[rows.to(self.ids.device)], self.mask[rows.to(self.mask.device)], self.spans[numbers], texts)

    def words(self) -> Int[Tensor, "b l"]:
        """Which blank-separated word of its text each piece belongs to, from 0; -1 for [CLS], [SEP] and padding.

        Example:
            >>> spans = torch.tensor([[[0, 0], [0, 1], [1, 2], [2, 6], [7, 12], [0, 0]]])
            >>> TextTokens(torch.ones(1, 6), torch.ones(1, 6), spans, ("v-neck shirt",)).words().tolist()
            [[-1, 0, 0, 0, 1, -1]]
        """
        numbers = torch.full(self.spans.shape[:2], -1, dtype=torch.long)
        for row, (text, spans) in enumerate(zip(self.texts, self.spans.tolist(), strict=True)):
            for column, (first, after) in enumerate(spans):
                if after > first:
                    numbers[row, column] = text.count(" ", 0, first)
        return numbers.to(self.ids.device)


def clean_text(text: str) -> str:
    """LAVIS' BlipCaptionProcessor without a prompt: lower case, . ! " ( ) * # : ; ~ become blanks, runs of blanks one, 50 words at most.

    Example:
        >>> clean_text('Is RED; and  "shorter".')
        'is red and shorter'
    """
    return " ".join(_words(text)[:MOST_WORDS])


def _words(text: str) -> list[str]:
    return re.sub(r"[.!\"()*#:;~]", " ", text.lower()).split()


def tokenize(tokenizer: Any, texts: Sequence[str], context_length: int, on_long: OnLong = "truncate") -> TextTokens:
    """Clean and tokenize texts.

    Args:
        tokenizer: A fast BERT tokenizer of transformers.
        texts: Sentences as the user or the benchmark wrote them; an empty one is [CLS] [SEP].
        context_length: Most word pieces of one text, [CLS] and [SEP] included.
        on_long: A longer text is cut with one warning that counts them ("truncate", what LAVIS does without a word), or refused ("raise").

    Raises:
        InputError: If a text is too long and `on_long` is "raise", or there is no text.
    """
    if isinstance(texts, str) or not texts:
        raise InputError(f"{texts!r} is no list of texts; give one text per picture")
    cleaned = tuple(clean_text(text) for text in texts)
    counts = [len(ids) for ids in tokenizer(list(cleaned), verbose=False)["input_ids"]]
    long = [text for text, count in zip(texts, counts, strict=True) if count > context_length or len(_words(text)) > MOST_WORDS]
    if long:
        limit = f"{context_length} word pieces or {MOST_WORDS} words"
        said = f"{len(long)} of {len(texts)} texts are longer than {limit}, the first is {long[0][:60]!r}..."
        if on_long == "raise":
            raise InputError(f"{said}; shorten them")
        warnings.warn(f"{said}; what is beyond is not read", stacklevel=3)
    batch = tokenizer(
        list(cleaned),
        padding="longest",
        truncation=True,
        max_length=context_length,
        return_offsets_mapping=True,
        return_token_type_ids=False,
        return_tensors="pt",
    )
    return TextTokens(batch["input_ids"], batch["attention_mask"], batch["offset_mapping"], cleaned)
