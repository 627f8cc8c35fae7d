"""Where a caption names an attribute: the phrases of the lexicon, found in running text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from cirlib.data.lexicon import YES, Lexicon, load_lexicon, loose

_DENIED = re.compile(r"\b(?:no|not|without)(?: the| a| an| any)?\s+$", re.IGNORECASE)
_PAIR_KEY = re.compile(r"([A-Za-z ]+):\s*$")
_ANSWER = re.compile(r"\s*:\s*(yes|no)\b", re.IGNORECASE)
_PHRASE_ENDS = re.compile(r"\s*(?:$|[.,;]|and\b|with\b|on\b|at\b|in\b)", re.IGNORECASE)
_ARTICLE = re.compile(r"\b(?:a|an|the)\s+$", re.IGNORECASE)


NO = "no"


@dataclass(frozen=True)
class Mention:
    """One attribute that a caption names.

    Attributes:
        key: Canonical key ("color").
        value: Canonical value ("red"); "yes" or "no" for a detail that the caption affirms or denies.
        kind: "value" ("striped"), "thing" ("stripes"), "colored" (the colour of a thing, with the thing: "red stripes") or "detail".
        text: The phrase as the caption has it; a detail's article belongs to it ("a belt"), and so does its answer ("belt: yes").
        start: Position of its first character.
        end: Position after its last character.
    """

    key: str
    value: str
    kind: Literal["value", "thing", "colored", "detail"]
    text: str
    start: int
    end: int


def find_mentions(caption: str, lexicon: Lexicon | None = None) -> list[Mention]:
    """Every attribute that a caption names, from left to right; longer phrases go before the shorter ones within them.

    Left out: what the garment is (a dress that becomes a coat is another garment), and in a caption of "key: value" pairs whatever does
    not stand beside its own key.

    Args:
        caption: Any sentence.
        lexicon: The words; default is the one for clothes.

    Example:
        >>> [(m.key, m.value, m.text) for m in find_mentions("a red dress with white dots, no belt and a lace hem")][1:]
        [('second color', 'white', 'white dots'), ('pattern', 'dotted', 'dots'), ('belt', 'no', 'belt'), ('lace trim', 'yes', 'a lace hem')]
    """
    lexicon = lexicon or load_lexicon()
    matches = list(_pattern(lexicon).finditer(caption))
    found: list[Mention] = []
    for place, match in enumerate(matches):
        key, value, kind = _meanings(lexicon)[loose(match.group())]
        if kind == "other":
            continue
        if kind == "detail":
            found.append(_detail(key, caption, match))
            continue
        pair = _PAIR_KEY.search(caption[: match.start()])
        if (pair and lexicon.key(pair.group(1)) != key) or caption[match.end() :].startswith(":"):
            continue
        end = match.end()
        if key == "color" and (thing := _thing_after(lexicon, matches, place, caption)):
            key, kind, end = "second color", "colored", thing.end()
        found.append(Mention(key, value, kind, caption[match.start() : end], match.start(), end))
    return found


def _detail(key: str, caption: str, match: re.Match) -> Mention:
    before, after = caption[: match.start()], caption[match.end() :]
    start, end, value = match.start(), match.end(), YES
    if answer := _ANSWER.match(after):
        end, value = end + answer.end(), answer.group(1).lower()
    elif _DENIED.search(before):
        value = NO
    elif (article := _ARTICLE.search(before)) and _PHRASE_ENDS.match(after):  # "a belt", and not the article of "a belted dress"
        start = article.start()
    return Mention(key, value, "detail", caption[start:end], start, end)


def _thing_after(lexicon: Lexicon, matches: list[re.Match], place: int, caption: str) -> re.Match | None:
    """The thing that stands right after a colour, or None."""
    if place + 1 == len(matches) or caption[matches[place].end() : matches[place + 1].start()].strip():
        return None
    following = matches[place + 1]
    return following if _meanings(lexicon)[loose(following.group())][2] == "thing" else None


@cache
def _meanings(lexicon: Lexicon) -> dict[str, tuple[str, str, str]]:
    """Loose phrase to key, value and kind; "other" for phrases that are matched only so that no shorter one is found in them."""
    return {phrase: meaning for phrase, meaning in _all_meanings(lexicon)}


def _all_meanings(lexicon: Lexicon) -> Iterator[tuple[str, tuple[str, str, str]]]:
    vague = [phrase for key in lexicon.keys.values() for phrase in key.vague]
    for key in lexicon.keys.values():
        if key.values_from:
            continue
        other = key.group == "category"
        for kind, table in (("value", key.values), ("thing", key.things)):
            for value, phrases in table.items():
                yield from ((loose(phrase), (key.name, value, "other" if other else kind)) for phrase in phrases)
        yield from ((loose(phrase), (key.name, YES, "detail")) for phrase in key.phrases)
    yield from ((loose(phrase), ("", "", "other")) for phrase in vague)  # "a photo of": no detail of the garment


@cache
def _pattern(lexicon: Lexicon) -> re.Pattern:
    phrases = sorted(_meanings(lexicon), key=lambda phrase: (-len(phrase), phrase))
    return re.compile(r"\b(?:" + "|".join(re.escape(phrase).replace(r"\ ", r"[\s-]+") for phrase in phrases) + r")\b", re.IGNORECASE)
