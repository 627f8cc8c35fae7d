"""Keywords of a caption for LinCIR: runs of nouns, adjectives, proper nouns and determiners, each run replaced by the placeholder.

The released code asks spaCy's tagger, whose models are a download. Drawn captions are read with word lists instead (our choice): the
words of the fashion lexicon and of atelier's captions, and the determiners. `spacy_tagger` takes a loaded spaCy model where there is one.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np

from cirlib.backbones.clip_text import PLACEHOLDER, PLACEHOLDER_WORD
from cirlib.data.atelier import words
from cirlib.data.atelier.captions import caption
from cirlib.data.atelier.schema import ATTRIBUTES
from cirlib.data.atelier.splits import picture
from cirlib.data.lexicon import load_lexicon

Tagger = Callable[[str], Sequence[tuple[str, bool]]]  # caption -> its words and marks in order, and whether each is a keyword
TAGS = ("ADJ", "NOUN", "PROPN", "DET")  # parts of speech that are keywords (released code)
NOTHING_REPLACED = f"a photo of {PLACEHOLDER}"  # what stands for a caption without keywords (released code)
_DETERMINERS = ("a", "an", "the", "no")
_PICTURES = ("photo", "picture", "drawing", "product", "garment", "item", "image")  # nouns of captions' openings
_FUNCTION_WORDS = frozenset(("and", "with", "of", "is", "are", "has", "in", "on", "at", "to", "that", "this", "these", "it", "or", "for"))
_WORD = re.compile(r"\w+(?:[-'’]\w+)*|[^\w\s]")


def replace_keywords(text: str, tagger: Tagger) -> str:
    """The caption with every run of keywords replaced by one placeholder; `NOTHING_REPLACED` where there is none.

    Example:
        >>> replace_keywords("this is a slim red top with no sleeves", lexicon_tagger)
        'this is $ with $'
    """
    found: list[str] = []
    for word, keyword in tagger(text):
        if not keyword:
            found.append(word.replace(PLACEHOLDER, PLACEHOLDER_WORD.strip()))
        elif not found or found[-1] != PLACEHOLDER:
            found.append(PLACEHOLDER)
    return " ".join(found) if PLACEHOLDER in found else NOTHING_REPLACED


def lexicon_tagger(text: str) -> list[tuple[str, bool]]:
    """Keywords by word list: every word of the lexicon's and atelier's phrases that is no function word; a hyphenated word by its parts.

    Example:
        >>> lexicon_tagger("crew-neck, with")
        [('crew-neck', True), (',', False), ('with', False)]
    """
    return [(word, any(part in _keywords() for part in re.split(r"[-'’]", word.lower()))) for word in _WORD.findall(text)]


def spacy_tagger(model: Any) -> Tagger:
    """A tagger from a loaded spaCy pipeline; keywords are the parts of speech in `TAGS`."""
    return lambda text: [(token.text, token.pos_ in TAGS) for token in model(text) if token.text.strip()]


def atelier_captions(count: int, split: str = "train", seed: int = 0) -> list[str]:
    """One caption of each of the first `count` designs of a split, from atelier's grammar; no picture is drawn."""
    rng = np.random.default_rng(seed)
    return [caption(rng, picture(split, index).design) for index in range(count)]


@cache
def _keywords() -> frozenset[str]:
    phrases: list[str] = [*_DETERMINERS, *_PICTURES]
    for key in load_lexicon().keys.values():
        phrases += [key.name, *key.aliases, *key.nouns, *key.phrases, *key.modifiers]
        phrases += [phrase for table in (key.values, key.things, key.bare) for value, said in table.items() for phrase in (value, *said)]
    for table in (words.NOUNS, words.PATTERN_NOUNS, words.SLEEVE, words.NECKLINE, words.DETAIL, words.BARE, *words.ADJECTIVES.values()):
        phrases += [phrase for said in table.values() for phrase in said]
    phrases += [words.key_name(name) for name in ATTRIBUTES] + [value for kind in ATTRIBUTES.values() for value in kind.values]
    return frozenset(_parts(phrases)) - _FUNCTION_WORDS


def _parts(phrases: Iterable[str]) -> Iterable[str]:
    return (part for phrase in phrases for part in re.split(r"[^\w]+", phrase.lower()) if part)
