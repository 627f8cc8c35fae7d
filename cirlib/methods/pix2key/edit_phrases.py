"""Words of a modification text: cut into clauses, looked up in the lexicon, signed by the cues before them. All our own choice.

Cues are "no", "without", "loses", "instead of", "from ... to", "any ... but" and "removed"; "different" and "any other" open what follows.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from cirlib.data.lexicon import YES, Key, Lexicon, loose

BREAKS = {",", "and", "but", "with", "also", "plus", "yet", "while"}
NEGATE = {"no", "not", "without", "minus", "than"}
NEGATE |= {"lose", "loses", "losing", "remove", "removes", "removing", "lack", "lacks"}
NEGATE_NEXT = {"less", "fewer"}  # these reach to the next phrase only
INSTEAD = (("in", "place", "of"), ("instead", "of"))
REMOVED = {"removed", "gone", "missing"}
OPEN = {"different", "another", "other", "any", "new"}
SAME = {"same", "keep", "keeps", "similar", "identical", "exactly"}
VERBS = {"is", "are", "has"}
REACH = 3  # words between "different" and the noun that it opens


@dataclass(frozen=True)
class Sense:
    """One meaning of a phrase. `kind`: "value", "thing" (of a pattern), "bare" (beside a noun only), "noun", "detail", "more" or "less"."""

    kind: str
    key: str
    value: str = ""


@dataclass(frozen=True)
class Hit:
    """A phrase of the lexicon in a clause, from word `start` to before `end`.

    Attributes:
        sense: What it means there.
        start: First word.
        end: After its last word.
        negative: Its sign.
        opened: It follows "different" or "any other".
    """

    sense: Sense
    start: int
    end: int
    negative: bool = False
    opened: bool = False


def clauses(text: str) -> list[list[str]]:
    """The words of each clause; clauses that say "same" or "keep" are left out, for they ask for nothing.

    Example:
        >>> clauses("The same dress but is red, and in any colour but blue")
        [['is', 'red'], ['in', 'any', 'color', 'except', 'blue']]
    """
    text = re.sub(r"[;.!?&]", ",", text.casefold().replace("’", "'").replace("n't", " not").replace("'", "").replace("colour", "color"))
    found: list[list[str]] = [[]]
    for word in re.findall(r"\w+|,", text):
        if word == "but" and "any" in found[-1]:
            found[-1].append("except")
        elif word in BREAKS:
            found.append([])
        elif word not in ("a", "an", "the"):
            found[-1].append(word)
    return [clause for clause in found if clause and not SAME & set(clause)]


class PhraseFinder:
    """Finds the phrases of a lexicon in clauses."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon

    def hits(self, clause: list[str]) -> Iterator[Hit]:
        """Phrases in a clause with their signs, left to right; the longest at each place wins.

        Example:
            >>> from cirlib.data.lexicon import load_lexicon
            >>> [(hit.sense.value, hit.negative) for hit in PhraseFinder(load_lexicon()).hits("is red instead of navy blue".split())]
            [('red', False), ('navy', True)]
        """
        found = {start: (end, senses) for start, end, senses in self._scan(clause)}
        nouns = {sense.key for _, senses in found.values() for sense in senses if sense.kind == "noun"}
        removed = bool(REMOVED & set(clause))
        negative, once, opened, place = False, False, -REACH - 1, 0
        while place < len(clause):
            if place not in found:
                word = clause[place]
                negative = _negates(clause, place) or (negative and word not in VERBS and word != "to")
                once = once or word in NEGATE_NEXT
                opened = place if word in OPEN else opened
                place += 1
                continue
            end, senses = found[place]
            if sense := self._choose(senses, nouns):
                follows = place - opened <= REACH and sense.kind in ("noun", "detail")
                yield Hit(sense, place, end, negative or once or removed, follows)
                once, opened = False, -REACH - 1 if follows else opened
            place = end

    def _scan(self, clause: list[str]) -> Iterator[tuple[int, int, tuple[Sense, ...]]]:
        place = 0
        while place < len(clause):
            ends = range(min(len(clause), place + self._longest), place, -1)
            end = next((end for end in ends if tuple(clause[place:end]) in self._senses), None)
            if end is not None:
                yield place, end, self._senses[tuple(clause[place:end])]
            place = place + 1 if end is None else end

    def _choose(self, senses: tuple[Sense, ...], nouns: set[str]) -> Sense | None:
        """The meaning that fits the clause: one that needs its noun where the noun is there, else one that needs none."""
        needing = [sense for sense in senses if self._needs_noun(sense)]
        return next((sense for sense in needing if sense.key in nouns), None) or next((s for s in senses if s not in needing), None)

    def _needs_noun(self, sense: Sense) -> bool:
        scale = self.lexicon.keys[sense.key].scale
        return sense.kind == "bare" or (sense.kind in ("more", "less") and scale is not None and scale.with_noun)

    @cached_property
    def _senses(self) -> Mapping[tuple[str, ...], tuple[Sense, ...]]:
        table: dict[tuple[str, ...], tuple[Sense, ...]] = {}
        for key in self.lexicon.keys.values():
            if not key.values_from:
                for phrase, sense in _key_senses(key):
                    words = tuple(loose(phrase).split())
                    table[words] = (*table.get(words, ()), sense)
        return table

    @cached_property
    def _longest(self) -> int:
        return max(len(words) for words in self._senses)


def _negates(clause: list[str], place: int) -> bool:
    starts = any(tuple(clause[place : place + len(cue)]) == cue for cue in INSTEAD)
    return starts or clause[place] in NEGATE or clause[place] in ("from", "except")


def _key_senses(key: Key) -> Iterator[tuple[str, Sense]]:
    """(phrase, meaning) of everything that one key lists."""
    phrases = {phrase for words in key.values.values() for phrase in words}
    for kind, table in (("value", key.values), ("thing", key.things), ("bare", key.bare)):
        for value, words in table.items():
            yield from ((phrase, Sense(kind, key.name, value)) for phrase in words)
            if kind == "value" and value not in key.modifiers:
                refined = ((f"{modifier} {phrase}", f"{modifier} {value}") for phrase in words for modifier in key.modifiers)
                yield from ((phrase, Sense(kind, key.name, name)) for phrase, name in refined if phrase not in phrases)
    yield from ((noun, Sense("noun", key.name)) for noun in key.nouns)
    yield from ((phrase, Sense("detail", key.name, YES)) for phrase in key.phrases)
    if key.scale:
        yield from ((word, Sense("more", key.name)) for word in key.scale.more)
        yield from ((word, Sense("less", key.name)) for word in key.scale.less)
