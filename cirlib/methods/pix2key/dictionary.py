"""Image dictionaries: short facts (key, value) about a picture, read from a language model's text, made canonical, written as one string.

The paper's D_img(I) = {(k, v)} (Eq. 2), serialised to a short string (Eq. 5). It says nothing about canonical forms, several objects, or
what lies beyond CLIP's 77 tokens; all of that is our own choice: names and values go through the lexicon of `cirlib.data.lexicon`, values
of one key are joined by " and ", several objects put their names before their keys, and whole pairs are dropped from the end.
"""

import json
import logging
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from cirlib.data.lexicon import YES, clean, load_lexicon

CATEGORY = "category"
_NOTHING = {"", "unknown", "none", "na", "n", "null", "unclear", "not visible", "not applicable", "not specified", "unspecified"}
NO = {"no", "false", "absent", "without", "not present"}
_TRUE = {"yes", "true", "present", "visible"}
_LONGEST_KEY = 4  # words; a longer "key" before a colon is a sentence, not a key
_TRIES = 64  # places at which a broken text is cut, from its end
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One fact.

    Attributes:
        key: Canonical key ("color").
        value: Canonical value; several are joined by " and ".
        object: Which object it is about; empty where the picture has one object only.
    """

    key: str
    value: str
    object: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """The single values: "black and white" has two."""
        return tuple(self.value.split(" and "))

    @property
    def text(self) -> str:
        """The fact as it is written: "color: red", and "shoes color: red" where there are several objects."""
        scoped = self.object and self.key != CATEGORY
        return f"{self.object} {self.key}: {self.value}" if scoped else f"{self.key}: {self.value}"


Dictionary = tuple[Entry, ...]
Triple = tuple[str, str, str]  # object, key, value, as found


@dataclass(frozen=True)
class Parsed:
    """What could be read from a text. `how`: "json", "repaired" (JSON after repair), "lines" (`key: value` lines) or "empty"."""

    entries: Dictionary
    how: Literal["json", "repaired", "lines", "empty"]


@dataclass(frozen=True)
class Serialised:
    """A dictionary as one string, and the entries for which there was no room."""

    text: str
    dropped: Dictionary = ()


def parse_dictionary(text: str) -> Parsed:
    """Read the answer of a language model; any text is accepted, and one that holds nothing gives an empty dictionary.

    Tried in turn: strict JSON; JSON after repair (code fences and text around it, single quotes, commas too many, an end that was cut off);
    lines of `key: value`. The JSON is an object -> key -> value (or a list of values), one flat key -> value, or a list of
    {"object", "key", "value"}.

    Example:
        >>> parse_dictionary('{"dress": {"Colour": "Red", "sleeves": ["long"], "belt": "no"}}').entries[1:]
        (Entry(key='color', value='red', object=''), Entry(key='sleeve', value='long', object=''))
        >>> parse_dictionary("Here it is: {'skirt': {'color': 'blu").how
        'repaired'
    """
    for how, candidate in (("json", text.strip()), ("repaired", None)):
        data = _load(candidate) if candidate is not None else load_repaired(text)
        entries = canonical(triples(data))
        if entries:
            return Parsed(entries, how)
    entries = canonical(_line_triples(text))
    return Parsed(entries, "lines" if entries else "empty")


def load_repaired(text: str) -> object:
    """The JSON in a text that is not strict JSON, or None. Repairs what language models do: fences, chatter, quotes, commas, a cut end."""
    start = min((place for place in (text.find("{"), text.find("[")) if place >= 0), default=-1)
    if start < 0:
        return None
    body = text[start:]
    try:
        return json.JSONDecoder().raw_decode(body)[0]
    except (ValueError, RecursionError):
        pass
    body = re.sub(r"[‘’]", "'", re.sub(r"[“”]", '"', body))
    body = re.sub(r"(?<=[{\[,:])(\s*)'|'(?=\s*[}\],:]|\s*$)", r'\1"', body)
    marks = [place for place, mark in enumerate(body) if mark in ",{["]
    for end in (len(body), *(place + 1 for place in reversed(marks[-_TRIES:]))):  # what follows the last good mark cannot be used
        data = _load(_close(body[:end]))
        if data is not None:
            return data
    return None


def _close(body: str) -> str:
    """JSON up to where it ends, open strings and brackets closed, commas too many taken out."""
    closers: list[str] = []
    quoted = escaped = False
    end = len(body)
    for place, mark in enumerate(body):
        if quoted:
            escaped, quoted = mark == "\\" and not escaped, mark != '"' or escaped
        elif mark == '"':
            quoted = True
        elif mark in "{[":
            closers.append("}" if mark == "{" else "]")
        elif mark in "}]" and closers and closers.pop() and not closers:
            end = place + 1
            break
    closed = body[:end] + ('"' if quoted else "") + "".join(reversed(closers))
    return re.sub(r",(\s*[}\]])", r"\1", closed)


def _load(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def triples(data: object) -> Iterator[Triple]:
    """(object, key, value) of decoded JSON in any of the three forms, as found; other data gives none."""
    if isinstance(data, list):
        for item in data:
            if isinstance(item, dict) and "key" in item and "value" in item:
                name = str(item.get("object") or "")
                yield name, CATEGORY, name
                yield from _values(name, str(item["key"]), item["value"])
            elif isinstance(item, dict):
                yield from triples(item)
    elif isinstance(data, dict):
        nested = all(isinstance(inner, dict) for inner in data.values())
        for name, inner in data.items():
            known = load_lexicon().key(name) in load_lexicon().keys
            if isinstance(inner, dict) and (nested or not known):
                yield name, CATEGORY, name
                for key, value in inner.items():
                    yield from _values(name, key, value)
            else:
                yield from _values("", str(name), inner)


def _values(name: str, key: str, value: object) -> Iterator[Triple]:
    if isinstance(value, dict):
        for part, inner in value.items():
            yield from _values(name, f"{key} {part}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _values(name, key, inner)
    elif value is not None:
        yield name, key, {True: YES, False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _line_triples(text: str) -> Iterator[Triple]:
    for line in re.split(r"[\n;]|,(?=[^,:]*:)", text):
        key, colon, value = line.partition(":")
        if colon and 0 < len(clean(key).split()) <= _LONGEST_KEY:
            yield "", key, value


def canonical(found: Iterable[Triple], join: bool = True) -> Dictionary:
    """Canonical entries of (object, key, value) triples, in the order in which they are written.

    Keys and values go through the lexicon. Values that say nothing ("unknown", "none", "n/a") are dropped, and so is "no" for a detail: an
    absent detail has no entry. Where one object remains, it is the category and the entries carry no object; several keep theirs, in the
    order in which they came. Within an object: the lexicon's order, then the alphabet.

    Args:
        found: Triples as found.
        join: Join the values of one key; False keeps one entry per value.

    Example:
        >>> canonical([("", "fabric", "Silk, wool"), ("", "colour", "n/a")])
        (Entry(key='material', value='silk and wool', object=''),)
    """
    lexicon = load_lexicon()
    facts = list(dict.fromkeys(fact for triple in found for fact in _facts(*triple)))
    objects = list(dict.fromkeys(name for name, _, _ in facts if name))
    if len(objects) < 2:
        facts = list(dict.fromkeys(("", key, value) for _, key, value in facts))
    else:  # an object's name is its category
        facts = [fact for fact in facts if not fact[0] or fact[1] != CATEGORY] + [(name, CATEGORY, name) for name in objects]
    grouped: dict[tuple[str, str], list[str]] = {}
    for name, key, value in facts:
        grouped.setdefault((name, key), []).append(value)
    order = {name: place for place, name in enumerate(["", *objects])}
    slots = sorted(grouped, key=lambda slot: (order[slot[0]], lexicon.place(slot[1])))
    if join:
        return tuple(Entry(key, " and ".join(grouped[name, key]), name) for name, key in slots)
    return tuple(Entry(key, value, name) for name, key in slots for value in grouped[name, key])


def _facts(name: str, key: str, value: str) -> Iterator[Triple]:
    """The single facts of one triple, canonical; none where it says nothing."""
    lexicon = load_lexicon()
    names, key = list(_parts(CATEGORY, name)), lexicon.key(key)
    scope = " and ".join(names)
    if not key:
        return
    for part in _parts(key, value):
        detail = lexicon.detail(part) if key == "detail" else None
        yield (scope, detail, YES) if detail else (scope, key, part)


def _parts(key: str, value: str) -> Iterator[str]:
    """The single values of a text, canonical."""
    known = load_lexicon().keys.get(key)
    text = re.sub(r"[,;&+]|(?<!\d)/|/(?!\d)", " and ", unicodedata.normalize("NFKC", value))
    for words in re.split(r"\band\b", clean(text)):
        part = clean(words)
        if known and known.presence and part in _TRUE:
            yield YES
        elif part and (part := load_lexicon().value(key, part)) not in _NOTHING | NO and part not in (known.vague if known else ()):
            yield part


def dictionary_json(entries: Dictionary) -> str:
    """The nested JSON of a dictionary, without spaces; `parse_dictionary` reads the same dictionary back.

    Example:
        >>> dictionary_json(parse_dictionary("category: dress; color: red").entries)
        '{"dress":{"color":"red"}}'
    """
    objects = list(dict.fromkeys(entry.object for entry in entries if entry.object))
    category = next((entry.value for entry in entries if entry.key == CATEGORY), None)
    data: object
    if objects and any(not entry.object for entry in entries):  # facts about the whole picture beside several objects
        data = [{"object": entry.object, "key": entry.key, "value": entry.value} for entry in entries]
    elif objects:
        data = {name: _pairs(entry for entry in entries if entry.object == name) for name in objects}
    else:
        data = _pairs(entries) if category is None else {category: _pairs(entries)}
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _pairs(entries: Iterable[Entry]) -> dict[str, str]:
    return {entry.key: entry.value for entry in entries if entry.key != CATEGORY}


def serialise(entries: Dictionary, fits: Callable[[str], bool] | None = None, separator: str = "; ") -> Serialised:
    """Write a dictionary as one string, as the paper does before it embeds one (Eq. 5).

    Args:
        entries: In the order in which they are written.
        fits: Whether a text fits the encoder's context; None takes everything. While it does not, the last pair goes. One that is too long
            even alone goes too, and the text is empty.
        separator: Between pairs.

    Example:
        >>> entries = parse_dictionary("color: red; sleeve: long").entries
        >>> serialise(entries, fits=lambda text: len(text) < 20)
        Serialised(text='color: red', dropped=(Entry(key='sleeve', value='long', object=''),))
    """
    kept = len(entries)
    text = separator.join(entry.text for entry in entries)
    while kept and fits is not None and not fits(text):
        kept -= 1
        text = separator.join(entry.text for entry in entries[:kept])
    if kept < len(entries):
        _log.info("dropped %d of %d pairs that the context has no room for: %s", len(entries) - kept, len(entries), entries[kept:])
    return Serialised(text, entries[kept:])
