"""A lexicon: which keys describe a garment, which words mean which value, and in what order values stand.

Dictionaries are made canonical with it, and the rule-based parser reads edits with it. The words are our own choice and lie beside this
module as JSON, so an installed package has them: every word of atelier, and the usual ones of captions about clothes. Fields of a key:

* `group`: what the key speaks about, one of `GROUPS`.
* `aliases`: other names of the key. `nouns`: words in a sentence that point at it ("sleeves").
* `values`: value -> phrases that mean it anywhere. `things`: phrases that name it as a thing that has a colour ("stripes").
  `bare`: phrases that mean it beside one of the nouns only ("long" beside "sleeves").
* `phrases`: makes it a detail that is there or not; its value is "yes".
* `absent`: the value that remains when the thing is taken away (no stripes: solid).
* `needs`: another key and the value of it under which this key says nothing (a solid pattern has no second colour).
* `values_from`: the key whose values, modifiers and scale this one shares; a sentence's words mean that other key unless it says more.
* `scale`: words for more and less, a level per value (ties allowed), the extreme words, and whether a noun must stand beside.
* `modifiers`: words that refine a value ("light" blue). `vague`: values that say nothing. `kin`: value -> others that people also call so.
"""

import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from importlib import resources

from cirlib.types import InputError

GROUPS = ("category", "color", "texture", "shape", "detail", "style", "general")
YES = "yes"
_ARTICLES = {"a", "an", "the"}


@dataclass(frozen=True)
class Scale:
    """An order of values.

    Attributes:
        more: Words for a step up ("longer").
        less: Words for a step down.
        levels: Level of each value that has one; equal levels are ties.
        most: Value meant by "more" where there is no value to start from; `least` by "less".
        least: See `most`.
        with_noun: The words mean this key only where one of its nouns stands beside them.
    """

    more: tuple[str, ...]
    less: tuple[str, ...]
    levels: Mapping[str, int]
    most: str
    least: str
    with_noun: bool = False

    def step(self, value: str, up: bool) -> tuple[str, ...]:
        """Values one level further, in the order of the lexicon; empty at the end of the scale or for an unknown value.

        Example:
            >>> load_lexicon().keys["length"].scale.step("short", up=True)[0]
            'medium'
        """
        if value not in self.levels:
            return ()
        start = self.levels[value]
        further = [level for level in self.levels.values() if (level > start if up else level < start)]
        if not further:
            return ()
        goal = min(further) if up else max(further)
        return tuple(name for name, level in self.levels.items() if level == goal)


@dataclass(frozen=True)
class Key:
    """One key of the lexicon; the fields are told at the head of this module."""

    name: str
    group: str
    aliases: tuple[str, ...] = ()
    nouns: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    things: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bare: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    phrases: tuple[str, ...] = ()
    absent: str = ""
    needs: tuple[str, str] | None = None
    scale: Scale | None = None
    values_from: str = ""
    modifiers: tuple[str, ...] = ()
    vague: tuple[str, ...] = ()
    kin: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def presence(self) -> bool:
        """Whether it is a detail that is there or not."""
        return bool(self.phrases)

    @cached_property
    def by_phrase(self) -> Mapping[str, str]:
        """Loose phrase -> value, for text that is known to speak of this key."""
        found: dict[str, str] = {}
        for table in (self.values, self.things, self.bare):
            for value, phrases in table.items():
                found |= {loose(phrase): value for phrase in phrases if loose(phrase) not in found}
        return found | {loose(value): value for value in self.values}


class Lexicon:
    """Keys in order of importance, with lookups that forgive case, hyphens and aliases.

    Args:
        version: Version of the words; caches and reports name it.
        keys: The keys, most important first.
    """

    def __init__(self, version: str, keys: tuple[Key, ...]) -> None:
        self.version = version
        self.keys: Mapping[str, Key] = {key.name: key for key in keys}
        self._names = {loose(name): key.name for key in keys for name in (*key.aliases, key.name)}
        self._details = {loose(phrase): key.name for key in keys for phrase in key.phrases}
        self._places = {name: place for place, name in enumerate(self.keys)}

    def key(self, name: str) -> str:
        """Canonical name of a key; one that the lexicon does not know is only cleaned.

        Example:
            >>> load_lexicon().key("Sleeve_Length"), load_lexicon().key("Mood!")
            ('sleeve', 'mood')
        """
        cleaned = clean(name)
        return self._names.get(loose(cleaned), cleaned)

    def value(self, key: str, text: str) -> str:
        """Canonical form of one value of a canonical key; unknown values are only cleaned.

        Example:
            >>> load_lexicon().value("pattern", "Polka-Dots")
            'dotted'
        """
        cleaned = clean(text)
        known = self.keys.get(key)
        if known is None:
            return cleaned
        if known.presence:
            return YES if loose(cleaned) in {loose(phrase) for phrase in known.phrases} else cleaned
        return known.by_phrase.get(loose(cleaned), cleaned)

    def detail(self, text: str) -> str | None:
        """The detail that a phrase names ("star badge" -> "star print"), or None."""
        return self._details.get(loose(text))

    def place(self, key: str) -> tuple[int, str]:
        """Sort key: keys of the lexicon in its order, then all others by alphabet."""
        return self._places.get(key, len(self._places)), key

    def group(self, key: str) -> str:
        """Group of a key; "general" for one that the lexicon does not know."""
        return self.keys[key].group if key in self.keys else "general"

    def moot(self, key: str, value: str) -> Iterator[str]:
        """Keys that say nothing once `key` has `value`.

        Example:
            >>> list(load_lexicon().moot("pattern", "solid"))
            ['second color']
        """
        return (name for name, known in self.keys.items() if known.needs == (key, value))


@lru_cache(maxsize=1 << 16)
def clean(text: str) -> str:
    """NFKC, folded case, no punctuation but inner hyphens, no articles, single spaces. Cleaning twice changes nothing.

    Example:
        >>> clean("  The V-Neck, (a) Colour_ ")
        'v-neck colour'
    """
    while (once := _clean(text)) != text:
        text = once
    return text


def _clean(text: str) -> str:
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = "".join(_plain(character) for character in text)
    words = (word.strip("-") for word in kept.split())
    return " ".join(word for word in words if word and word not in _ARTICLES)


def _plain(character: str) -> str:
    kind = unicodedata.category(character)
    if kind == "Pd":
        return "-"
    if character in "'’":
        return ""
    return character if kind[0] in "LMN" else " "


@lru_cache(maxsize=1 << 16)
def loose(text: str) -> str:
    """Cleaned text with hyphens as spaces: the form in which phrases are compared.

    Example:
        >>> loose("T-Shirt")
        't shirt'
    """
    return clean(clean(text).replace("-", " "))


@cache
def load_lexicon(name: str = "fashion") -> Lexicon:
    """A lexicon of the package, checked.

    Raises:
        InputError: If there is none of that name.
    """
    path = resources.files("cirlib.data") / "lexicons" / f"{name}.json"
    if not path.is_file():
        raise InputError(f"lexicon {name!r} asked for; the package has: fashion")
    return read_lexicon(json.loads(path.read_text(encoding="utf-8")))


def read_lexicon(data: Mapping) -> Lexicon:
    """A lexicon from its JSON form, checked.

    Raises:
        InputError: If a field or group is unknown, a reference points nowhere, or a name or phrase is claimed twice.
    """
    keys = tuple(_key(name, fields, data["keys"]) for name, fields in data["keys"].items())
    _check(keys)
    return Lexicon(data["version"], keys)


def _key(name: str, fields: Mapping, others: Mapping) -> Key:
    """One key from its JSON fields."""
    unknown = set(fields) - set(Key.__dataclass_fields__)
    if unknown or fields.get("group") not in GROUPS:
        raise InputError(
            f"key {name!r} of the lexicon: unknown fields {sorted(unknown)} or group {fields.get('group')!r}; groups: {GROUPS}"
        )
    source = fields.get("values_from")
    if source and source not in others:
        raise InputError(f"key {name!r} of the lexicon takes its values from {source!r}, which is not a key")
    borrowed = {part: others[source][part] for part in ("values", "modifiers", "scale") if part in others[source]} if source else {}
    parts = {**fields, **borrowed}
    tables = {
        part: {value: tuple(words) for value, words in parts[part].items()} for part in ("values", "things", "bare", "kin") if part in parts
    }
    lists = {part: tuple(parts[part]) for part in ("aliases", "nouns", "phrases", "modifiers", "vague") if part in parts}
    scale = Scale(**{**parts["scale"], **{part: tuple(parts["scale"][part]) for part in ("more", "less")}}) if "scale" in parts else None
    needs = (parts["needs"]["key"], parts["needs"]["unless"]) if "needs" in parts else None
    fixed = {"absent": parts.get("absent", ""), "values_from": source or "", "needs": needs, "scale": scale}
    return Key(name, parts["group"], **fixed, **lists, **tables)


def _check(keys: tuple[Key, ...]) -> None:
    """Raise InputError where the lexicon contradicts itself."""
    names = [loose(name) for key in keys for name in {key.name, *key.aliases}]
    own = [key for key in keys if not key.values_from]
    free = [loose(phrase) for key in own for table in (key.values, key.things) for phrases in table.values() for phrase in phrases]
    free += [loose(phrase) for key in own for phrase in key.phrases]
    for kind, words in (("name", names), ("phrase", free)):
        if twice := sorted({word for word in words if words.count(word) > 1}):
            raise InputError(f"the lexicon gives one {kind} two meanings: {', '.join(twice)}; keep one of each")
    values = {key.name: set(key.values) for key in keys}
    for key in keys:
        named = {
            *key.things,
            *key.bare,
            *(key.scale.levels if key.scale else ()),
            *key.kin,
            *(word for group in key.kin.values() for word in group),
        }
        named |= {key.absent} - {""} | ({key.scale.most, key.scale.least} if key.scale else set())
        if unknown := sorted(named - values[key.name]):
            raise InputError(f"key {key.name!r} of the lexicon speaks of {', '.join(unknown)}, which are none of its values")
        if key.needs and key.needs[1] not in values.get(key.needs[0], ()):
            raise InputError(f"key {key.name!r} of the lexicon needs {key.needs}, which is no key and value of it")
        if joined := [value for value in key.values if clean(value) != value or "and" in value.split()]:
            raise InputError(f"key {key.name!r} of the lexicon has values that are not clean: {', '.join(joined)}")
