"""Edits: from two designs to a structured edit, and from the edit to sentences. Truth follows from the structure alone."""

from collections.abc import Mapping

import numpy as np

from cirlib.data.atelier import words
from cirlib.data.atelier.captions import join_phrases, pick
from cirlib.data.atelier.schema import ATTRIBUTES, DETAILS, YES, Design, allowed_values
from cirlib.types import Change, Edit

MAX_CHANGES = 2  # attributes that one edit changes; a pattern and the second colour it brings count as one


def differing(before: Design, after: Design) -> tuple[str, ...]:
    """Attributes in which two designs differ, a pattern that comes or goes together with its second colour counted once."""
    names = [name for name in ATTRIBUTES if before.get(name) != after.get(name)]
    if "pattern" in names and "second_color" in names and "solid" in (before["pattern"], after["pattern"]):
        names.remove("second_color")
    return tuple(names)


def build_edit(rng: np.random.Generator, before: Design, after: Design) -> Edit | None:
    """The edit that leads from one design to another, or None when they differ too much, not at all, or in category.

    Relative and open kinds are drawn at random where they hold, so the same pair of designs can be asked for in several ways.
    """
    names = differing(before, after)
    if not names or len(names) > MAX_CHANGES or "category" in names:
        return None
    changes = []
    for name in names:
        changes.append(_change(rng, name, before, after))
        if name == "pattern" and before["pattern"] == "solid":  # the new pattern's colour is said, so it is part of the edit
            changes.append(Change("second_color", "set", "", after["second_color"], (after["second_color"],)))
    return Edit(tuple(changes))


def _change(rng: np.random.Generator, name: str, before: Design, after: Design) -> Change:
    attribute, old, new = ATTRIBUTES[name], before[name], after[name]
    if name in DETAILS:
        return Change(name, "add" if new == YES else "remove", old, new, (new,))
    options: list[Change] = [Change(name, "set", old, new, (new,))] * 3
    if attribute.ordered and attribute.level(new) != attribute.level(old):
        up = attribute.level(new) > attribute.level(old)
        further = tuple(
            v for v in attribute.values if (attribute.level(v) > attribute.level(old)) == up and attribute.level(v) != attribute.level(old)
        )
        options += [Change(name, "relative", old, new, further)] * 2
    if name in ("color", "second_color", "neckline") and not (name == "second_color" and len(allowed_values(after, name)) < 3):
        options.append(Change(name, "open", old, new, tuple(v for v in attribute.values if v != old)))
    return options[int(rng.integers(len(options)))]


def satisfies(edit: Edit, reference: Design, candidate: Design) -> bool:
    """Whether a candidate is a correct answer: every change holds, and everything that no change names is as on the reference.

    When an edit takes the pattern away its second colour goes with it; that is the one unnamed attribute that may change.
    """
    changed = set(edit.attributes)
    if any(candidate.get(change.attribute) not in change.allowed for change in edit.changes):
        return False
    if "pattern" in changed and candidate["pattern"] == "solid":
        changed.add("second_color")
    return all(reference.get(name) == candidate.get(name) for name in ATTRIBUTES if name not in changed)


def phrase_changes(rng: np.random.Generator, edit: Edit, reference: Design) -> list[str]:
    """One phrase per change, in a random voice each; every phrase completes "the target ..." ("is red", "has no belt")."""
    by_name: Mapping[str, Change] = {change.attribute: change for change in edit.changes}
    phrases = []
    for change in edit.changes:
        if change.attribute == "second_color" and "pattern" in by_name:
            continue  # the pattern's own phrase says it
        second = by_name["second_color"].after if change.attribute == "pattern" and "second_color" in by_name else None
        phrases.append(pick(rng, _voices(rng, change, reference, second)))
    return phrases


def _voices(rng: np.random.Generator, change: Change, reference: Design, second: str | None) -> tuple[str, ...]:
    """Every way to say one change."""
    name, new, old = change.attribute, change.after, change.before
    attribute = ATTRIBUTES[name]
    if name in DETAILS:
        full, bare = pick(rng, words.DETAIL[name]), pick(rng, words.BARE[name])
        return (
            (f"has {full}", f"comes with {full}", f"adds {full}", f"with {full} added")
            if new == YES
            else (f"has no {bare}", f"without the {bare}", f"loses the {bare}", f"with the {bare} removed")
        )
    if change.kind == "relative":
        return _relative_voices(name, attribute.more if attribute.level(new) > attribute.level(old) else attribute.less)
    if change.kind == "open":
        return _open_voices(name, old, reference)
    return _set_voices(rng, name, new, old, reference, second)


def _relative_voices(name: str, more: str) -> tuple[str, ...]:
    if name == "sleeve":
        return (f"has {more} sleeves", f"with {more} sleeves", f"the sleeves are {more}")
    if name == "color":
        return (f"is {more}", f"in a {more} color", f"has a {more} color")
    return (f"is {more}", f"is a bit {more}", f"make it {more}")


def _open_voices(name: str, old: str, reference: Design) -> tuple[str, ...]:
    if name == "neckline":
        return ("has a different neckline", "with another neckline", f"not {words.NECKLINE[old][0]}, any other neckline")
    if name == "color":
        return ("in any other color", f"is any color but {old}", "has a different color")
    noun = words.PATTERN_NOUNS[reference["pattern"]][0]
    return (f"has {noun} in another color", f"with {noun} of any color but {old}", f"the {noun} are not {old}")


def _set_voices(rng: np.random.Generator, name: str, new: str, old: str, reference: Design, second: str | None) -> tuple[str, ...]:
    if name == "color":
        return (f"is {new}", f"in {new}", f"is {new} instead of {old}", f"changes from {old} to {new}")
    if name == "pattern":
        return _pattern_voices(rng, new, old, second)
    if name == "second_color":
        noun = words.PATTERN_NOUNS[reference["pattern"]][0]
        return (f"has {new} {noun}", f"with {new} {noun} instead of {old}", f"the {noun} are {new}")
    if name == "sleeve":
        text = pick(rng, words.SLEEVE[new])
        return (f"has {text}", f"with {text}", "is sleeveless" if new == "sleeveless" else f"changes to {text}")
    if name == "neckline":
        text = pick(rng, words.NECKLINE[new])
        return (f"has {text}", f"with {text}", f"changes to {text}")
    text = pick(rng, words.ADJECTIVES[name][new])
    return (f"is {text}", f"make it {text}", f"changes to {text}")


def _pattern_voices(rng: np.random.Generator, new: str, old: str, second: str | None) -> tuple[str, ...]:
    if new == "solid":
        noun = words.PATTERN_NOUNS[old][0]
        return (
            "is plain",
            f"has no {noun}",
            f"without the {noun}",
            f"is {pick(rng, words.PATTERN_ADJECTIVES[new])} instead of {words.PATTERN_ADJECTIVES[old][0]}",
        )
    noun, adjective = pick(rng, words.PATTERN_NOUNS[new]), pick(rng, words.PATTERN_ADJECTIVES[new])
    if second is not None:
        return (f"has {second} {noun}", f"with {second} {noun}", f"is {adjective}, with {second} {noun}")
    return (
        f"is {adjective}",
        f"has {noun} instead of {words.PATTERN_NOUNS[old][0]}",
        f"with {noun} in place of {words.PATTERN_NOUNS[old][0]}",
    )


def caption_pair(rng: np.random.Generator, edit: Edit, reference: Design) -> tuple[str, str]:
    """Two captions of one edit, as FashionIQ has two per pair.

    Either both tell the whole edit in their own words, or each tells half of it; read together they are always complete.
    """
    first, second = phrase_changes(rng, edit, reference), phrase_changes(rng, edit, reference)
    if len(first) > 1 and rng.random() < 0.5:
        return first[0], join_phrases(second[1:])
    return _sentence(rng, first, reference), _sentence(rng, second, reference)


def _sentence(rng: np.random.Generator, phrases: list[str], reference: Design) -> str:
    """The whole edit in one sentence, now and then with a reminder to keep the rest."""
    text = join_phrases(phrases)
    noun = words.NOUNS[reference["category"]][0]
    frames = ("{text}",) * 5 + ("the same {noun} but {text}", "keep the rest but {text}", "same {noun}, {text}")
    return pick(rng, frames).format(text=text, noun=noun)
