"""Reading what the miniature vision-language model wrote, strictly and in atelier's words only, so that it can be compared with the truth.

What methods do with answers of any model (repair, aliases, fallbacks) is not done here: a card counts what is there.
"""

import json
from typing import Any

from cirlib.data.atelier import words
from cirlib.data.atelier.schema import COLORS, DETAILS, YES

Pairs = frozenset[tuple[str, str]]

_NOUNS = {noun: ("category", category) for category, nouns in words.NOUNS.items() for noun in nouns}
_HEAD = {
    **{phrase: (name, value) for name, table in words.ADJECTIVES.items() for value, phrases in table.items() for phrase in phrases},
    **{color: ("color", color) for color in COLORS},
}
_FEATURES = {
    **{phrase: ("sleeve", value) for value, phrases in words.SLEEVE.items() for phrase in phrases},
    **{phrase: ("neckline", value) for value, phrases in words.NECKLINE.items() for phrase in phrases},
    **{phrase: (detail, YES) for detail in DETAILS for phrase in words.DETAIL[detail]},
}
_PATTERNS = {phrase: pattern for pattern, phrases in words.PATTERN_NOUNS.items() for phrase in phrases}


def read_dictionary(text: str) -> Pairs | None:
    """Pairs of a dictionary, the object as the value of "category"; None where the text is not one object with keys and words.

    Example:
        >>> sorted(read_dictionary('{"top":{"color":"red"}}'))
        [('category', 'top'), ('color', 'red')]
    """
    found = _json(text)
    if not isinstance(found, dict) or len(found) != 1:
        return None
    ((name, inner),) = found.items()
    pairs = _pairs(inner)
    return None if pairs is None else pairs | {("category", name)}


def read_updates(text: str) -> dict[str, Pairs] | None:
    """Pairs of the three parts of an edit answer ("open" with empty values); None where they are not all there."""
    found = _json(text)
    if not isinstance(found, dict) or set(found) != {"positive", "negative", "open"} or not isinstance(found["open"], list):
        return None
    positive, negative = _pairs(found["positive"]), _pairs(found["negative"])
    if positive is None or negative is None or not all(isinstance(key, str) for key in found["open"]):
        return None
    return {"positive": positive, "negative": negative, "open": frozenset((key, "") for key in found["open"])}


def read_caption(text: str) -> Pairs:
    """What a caption says, attribute and value; a phrase that is none of atelier's gives a pair with the attribute "?".

    Example:
        >>> sorted(read_caption("a red dress with white dots and wings"))
        [('?', 'wings'), ('category', 'dress'), ('color', 'red'), ('pattern', 'dotted'), ('second_color', 'white')]
    """
    head, _, rest = text.partition(" with ")
    for article in ("a ", "an "):
        head = head.removeprefix(article)
    noun = next((noun for noun in sorted(_NOUNS, key=len, reverse=True) if head == noun or head.endswith(f" {noun}")), "")
    said = [_NOUNS[noun]] if noun else []
    said += [_HEAD.get(word, ("?", word)) for word in _words(head.removesuffix(noun))]
    for phrase in filter(None, rest.replace(" and ", ", ").split(", ")):
        color, _, thing = phrase.partition(" ")
        if color in COLORS and thing in _PATTERNS:
            said += [("second_color", color), ("pattern", _PATTERNS[thing])]
        else:
            said.append(_FEATURES.get(phrase, ("?", phrase)))
    return frozenset(said)


def _words(head: str) -> list[str]:
    """Adjectives of a noun phrase; those of two words are kept together."""
    for phrase in (phrase for phrase in _HEAD if " " in phrase):
        head = head.replace(phrase, phrase.replace(" ", "_"))
    return [word.replace("_", " ") for word in head.split()]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _pairs(found: Any) -> Pairs | None:
    flat = isinstance(found, dict) and all(isinstance(value, str) for value in found.values())
    return frozenset(found.items()) if flat else None
