"""Edit parsing by rules, without a model: what the phrases of a text say, resolved against the reference's dictionary. All our own choice.

`edit_phrases` finds words of the lexicon and their signs. Here they become updates: a relative word wants the next value of the order (of
colours the plain word "dark" or "light") and avoids the reference's; "any other" opens the key and avoids the reference's; stripes that go
leave the pattern solid; red dots are a second colour where dots are there already. Captions that repeat each other end in one set of
updates; a want that either caption states stands.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from cirlib.data.lexicon import Lexicon, load_lexicon
from cirlib.methods.pix2key.dictionary import CATEGORY, Dictionary, canonical
from cirlib.methods.pix2key.edit_phrases import VERBS, Hit, PhraseFinder, clauses
from cirlib.methods.pix2key.signed import Updates
from cirlib.types import InputError

_JOINED = ("color", "style", "texture", "general")  # groups whose keys may have several values at once; of others the first stands
_ADJECTIVES = ("ed", "y")  # endings of details that describe the garment, so that a colour before them is the garment's
_WHOLE = ("length", "fit", "sheen")  # keys of the whole garment: a colour before their nouns is the garment's

Shown = Mapping[str, tuple[str, ...]]  # what the reference shows: key -> values


@dataclass
class Reading:
    """What a text says, before it is resolved. `relative`: key -> directions, True for more."""

    wants: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    avoids: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    opens: list[str] = field(default_factory=list)
    relative: dict[str, set[bool]] = field(default_factory=lambda: defaultdict(set))


class RuleParser:
    """Signed updates by rules. An `EditParser` that needs no model; any text gives updates, possibly none.

    Args:
        lexicon: Words; the package's fashion lexicon by default.
        relative_colors: What "darker" wants: "word", the plain word "dark"; or "step", the first colour on the next level, one of several
            that would do. On atelier's val with true dictionaries the word finds far more.

    Example:
        >>> reference = canonical([("", "category", "dress"), ("", "length", "short"), ("", "belt", "yes")])
        >>> updates = RuleParser().parse(["is longer and has no belt"], [reference])[0]
        >>> [entry.text for entry in updates.wants], [entry.text for entry in updates.avoids]
        (['length: medium'], ['length: short', 'belt: yes'])
    """

    name = "rules"

    def __init__(self, lexicon: Lexicon | None = None, relative_colors: Literal["word", "step"] = "word") -> None:
        if relative_colors not in ("word", "step"):
            raise InputError(f"relative_colors {relative_colors!r} given; allowed are 'word' and 'step'")
        self.lexicon = lexicon or load_lexicon()
        self.relative_colors = relative_colors
        self._finder = PhraseFinder(self.lexicon)

    def parse(self, texts: Sequence[str], references: Sequence[Dictionary]) -> list[Updates]:
        """One `Updates` per text, in order; `references` holds the dictionary of each reference image."""
        return [self._parse(text, reference) for text, reference in zip(texts, references, strict=True)]

    def _parse(self, text: str, reference: Dictionary) -> Updates:
        shown: dict[str, tuple[str, ...]] = {}
        for entry in reference:
            shown.setdefault(entry.key, entry.parts)
        reading = Reading()
        for clause in clauses(text):
            self._read(clause, shown, reading)
        return self._resolve(reading, shown)

    def _read(self, clause: list[str], shown: Shown, reading: Reading) -> None:
        """Add what one clause says to the reading."""
        hits = list(self._finder.hits(clause))
        thing = next((hit for hit in hits if hit.sense.kind == "thing"), None)
        colors = [hit for hit in hits if self.lexicon.group(hit.sense.key) == "color"]
        own = [hit for hit in colors if thing and hit.start < thing.start and hit.sense.kind == "value"][:-1]  # "black and white dots"
        spoken = {hit.sense.key for hit in hits if hit.opened or hit.sense.kind not in ("noun", "detail")}
        for place, hit in enumerate(hits):
            kind, key, value = hit.sense.kind, hit.sense.key, hit.sense.value
            if hit in colors and thing and hit not in own and (hit.negative or not thing.negative):
                key = self._color_of(thing.sense.key)
            elif hit in colors and kind != "noun":
                key = self._part_color(clause, hit, hits[place + 1 : place + 2]) or key
            if hit.opened:
                reading.opens.append(key)
            elif kind in ("more", "less"):
                if key in self.lexicon.keys:  # the colour of a part has no order of its own
                    reading.relative[key].add((kind == "more") != hit.negative)
            elif kind == "noun":
                if key not in spoken and clause[hit.end : hit.end + 1] not in ([verb] for verb in VERBS):
                    self._read_noun(hit, reading)
            elif key == CATEGORY:
                if not hit.negative and not VERBS & set(clause[hit.end :]) and self._changes_category(value, shown):
                    reading.wants[key].append(value)
            elif hit.negative:
                reading.avoids[key].append(value)
            elif not (hit is thing and colors and shown.get(key) == (value,)):  # "red dots": the dots are there already
                reading.wants[key].append(value)

    def _read_noun(self, hit: Hit, reading: Reading) -> None:
        """A thing without a word about it: "has sleeves" avoids their absence, "no pattern" wants it."""
        absent = self.lexicon.keys[hit.sense.key].absent
        if absent:
            (reading.wants if hit.negative else reading.avoids)[hit.sense.key].append(absent)

    def _color_of(self, key: str) -> str:
        """The key that holds the colour of a thing: stripes have the second colour."""
        return next(
            (name for name, known in self.lexicon.keys.items() if known.values_from and known.needs and known.needs[0] == key), "color"
        )

    def _part_color(self, clause: list[str], color: Hit, following: list[Hit]) -> str | None:
        """The key for the colour of a part that is named right behind it: "white logo" has a "logo color"."""
        if not following or following[0].start != color.end:
            return None
        sense = following[0].sense
        known = self.lexicon.keys[sense.key]
        part = sense.kind == "detail" or (sense.kind == "noun" and known.group in ("shape", "texture") and known.name not in _WHOLE)
        return self.lexicon.key(f"{sense.key} color") if part and not clause[following[0].end - 1].endswith(_ADJECTIVES) else None

    def _changes_category(self, value: str, shown: Shown) -> bool:
        """Whether a garment's name asks for another garment; people call many tops a shirt."""
        known, kin = shown.get(CATEGORY, ()), self.lexicon.keys[CATEGORY].kin.get(value, ())
        return bool(known) and not {value, *kin} & set(known)

    def _resolve(self, reading: Reading, shown: Shown) -> Updates:
        """Updates from a reading: relative and open wording against the reference, then contradictions out."""
        wants = {key: self._compatible(key, values) for key, values in reading.wants.items()}
        avoids = {key: list(values) for key, values in reading.avoids.items()}
        for key, directions in reading.relative.items():
            if len(directions) == 1:
                goal, start = self._next(key, shown.get(key, ()), directions == {True})
                wants.setdefault(key, [goal])
                avoids.setdefault(key, []).extend(start)
        for key in reading.opens:
            if not self._presence(key):
                avoids.setdefault(key, []).extend(shown.get(key, ()))
        opens = list(reading.opens)
        for key, values in avoids.items():
            others = set(shown.get(key, ())) - set(values)
            if key in wants or key in opens or others or self._presence(key):
                continue
            known = self.lexicon.keys.get(key)
            if known and known.things and known.absent not in values:
                wants[key] = [known.absent]  # without the stripes it is solid
            else:
                opens.append(key)
        kept = {key: [value for value in values if value not in wants.get(key, ())] for key, values in avoids.items()}
        free = [key for key in dict.fromkeys(opens) if key not in wants]
        return Updates(
            canonical(("", key, value) for key, values in wants.items() for value in values),
            canonical((("", key, value) for key, values in kept.items() for value in values), join=False),
            tuple(sorted(free, key=self.lexicon.place)),
        )

    def _next(self, key: str, values: tuple[str, ...], up: bool) -> tuple[str, list[str]]:
        """What a relative word wants, and the reference value that it leaves; without one the extreme word and nothing."""
        scale = self.lexicon.keys[key].scale
        start = next((value for value in values if value in scale.levels), "")
        further = scale.step(start, up)
        extreme = scale.most if up else scale.least
        if further and self.relative_colors == "word" and self.lexicon.group(key) == "color":
            return extreme, [start]
        return (further[0], [start]) if further else (extreme, [])

    def _compatible(self, key: str, values: list[str]) -> list[str]:
        """Of several wanted values those that can hold together: vague ones go beside clear ones, "solid" beside a pattern."""
        known = self.lexicon.keys.get(key)
        clear = [v for v in dict.fromkeys(values) if known is None or (v not in known.modifiers and v != known.absent)] or values
        clear = [v for v in clear if not any(other.endswith(f" {v}") for other in clear)]  # "light blue" says "blue" already
        return clear if self.lexicon.group(key) in _JOINED else clear[:1]

    def _presence(self, key: str) -> bool:
        return key in self.lexicon.keys and self.lexicon.keys[key].presence
