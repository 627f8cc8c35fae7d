"""Words that name an attribute in a modification text: colour and shape, the two attributes that DQE-CIR speaks of, and texture, our own.

The paper's word lists, if it has any, could not be read; all three are our choice and lie beside this module as JSON. "color" and "shape"
were counted on the public captions: 85.4 % of FashionIQ's training texts hold a colour word and 62.7 % a shape word, but 56.5 % of CIRR's
val texts neither. "texture" (patterns and surfaces) is an extension beyond the paper. A word belongs to one group at most.
"""

import json
from functools import cache
from importlib import resources

from cirlib.types import InputError

GROUPS = ("color", "shape", "texture")
_FILE = json.loads((resources.files("cirlib.data") / "lexicons" / "attribute_words.json").read_text(encoding="utf-8"))
VERSION: str = _FILE["version"]
_BLANKS = str.maketrans(dict.fromkeys(_FILE["punctuation"], " "))


@cache
def attribute_words(group: str) -> frozenset[str]:
    """The words of one group, in lower case.

    Raises:
        InputError: If there is no such group.

    Example:
        >>> "v-neck" in attribute_words("shape"), "v-neck" in attribute_words("color")
        (True, False)
    """
    if group not in GROUPS:
        raise InputError(f"attribute group {group!r} asked for; there are {', '.join(GROUPS)}")
    return frozenset(_FILE["groups"][group].split())


def word_spans(text: str) -> list[tuple[str, int, int]]:
    """Words of a text in lower case, punctuation but hyphens and quotes as blanks, with first character and the one after the last in it.

    Example:
        >>> word_spans("Red/blue, v-neck")
        [('red', 0, 3), ('blue', 4, 8), ('v-neck', 10, 16)]
    """
    spans, start, blanked = [], 0, text.lower().translate(_BLANKS)
    for word in blanked.split():
        start = blanked.index(word, start)
        spans.append((word, start, start + len(word)))
        start += len(word)
    return spans


def named_groups(text: str) -> tuple[str, ...]:
    """Groups of which the text holds a word, in the order of `GROUPS`.

    Example:
        >>> named_groups("is Red; with stripes."), named_groups("has two dogs")
        (('color', 'texture'), ())
    """
    words = {word for word, _, _ in word_spans(text)}
    return tuple(group for group in GROUPS if words & attribute_words(group))
