"""Signed query dictionaries: what a query wants, keeps and avoids.

The paper's D_q = Merge(D_ref, updates) (Eq. 4) with its three stated rules: an edit replaces the reference entry of the same key, negatives
stay as constraints of their own, and what the edit does not touch anchors the context. Polarity +1, 0, -1 are `wants`, `anchors`, `avoids`.
The rest is our own choice: avoided values are written affirmatively, a want beats an avoid of the same entry, opened keys are no anchors,
keys that a change makes pointless (the second colour of a pattern that goes) leave with it, and a pure removal wants the category.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from cirlib.data.lexicon import load_lexicon, loose
from cirlib.methods.pix2key.dictionary import CATEGORY, Dictionary, Entry, canonical


@dataclass(frozen=True)
class Updates:
    """What an edit asks for.

    Attributes:
        wants: Entries that the result must show.
        avoids: Entries that it must not show, written affirmatively ("belt: yes" for "without the belt").
        open: Keys whose value may be anything.
    """

    wants: Dictionary = ()
    avoids: Dictionary = ()
    open: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.wants or self.avoids or self.open)


@dataclass(frozen=True)
class SignedDictionary:
    """A query's dictionary by polarity: +1 `wants`, 0 `anchors`, -1 `avoids`."""

    wants: Dictionary
    anchors: Dictionary
    avoids: Dictionary


class EditParser(Protocol):
    """Turns modification texts into signed updates."""

    name: str

    def parse(self, texts: Sequence[str], references: Sequence[Dictionary]) -> list[Updates]:
        """One `Updates` per text; `references` holds the dictionary of each reference image, for "longer" and "any other colour"."""
        ...


def merge(reference: Dictionary, updates: Updates, implicit_negatives: bool = False) -> SignedDictionary:
    """Join the reference's dictionary and an edit's updates into a signed dictionary.

    Names and values are made canonical first, so that "colour" in one and "color" in the other meet. Objects meet where they are equal or
    one of them is empty. Of a reference entry go: all of it where its key is wanted, opened or made pointless; the values that an
    avoided value of its key equals or shares a word with, and any value of a detail that is avoided. The rest is an anchor.

    Args:
        reference: Dictionary of the reference image.
        updates: From an `EditParser`.
        implicit_negatives: Also avoid the reference values that a want replaces.

    Returns:
        The signed dictionary. Where nothing is wanted (a pure removal), the anchored category is wanted; without one, `wants` stays empty.

    Example:
        >>> reference = (Entry("category", "dress"), Entry("color", "red"), Entry("belt", "yes"))
        >>> signed = merge(reference, Updates(wants=(Entry("color", "blue"),), avoids=(Entry("belt", "yes"),)))
        >>> [entry.text for entry in signed.anchors]
        ['category: dress']
    """
    reference, wants = _scoped(reference, join=True), _scoped(updates.wants, join=True)
    wanted = {(want.object, want.key, part) for want in wants for part in want.parts}
    avoids = [entry for entry in _scoped(updates.avoids, join=False) if (entry.object, entry.key, entry.value) not in wanted]
    opened = {load_lexicon().key(key) for key in updates.open}
    anchors, replaced = [], []
    for entry in reference:
        if rivals := [want for want in wants if want.key == entry.key and _meet(want, entry)]:
            kept = {part for want in rivals for part in want.parts}
            replaced += [Entry(entry.key, part, entry.object) for part in entry.parts if part not in kept]
        elif entry.key not in opened:
            against = [avoid.value for avoid in avoids if avoid.key == entry.key and _meet(avoid, entry)]
            parts = [part for part in entry.parts if not any(_clash(entry.key, part, value) for value in against)]
            anchors += [Entry(entry.key, " and ".join(parts), entry.object)] if parts else []
    anchored, gone = {entry.key for entry in anchors}, {entry.key for entry in avoids}
    anchors = [entry for entry in anchors if not _pointless(entry, wants, anchored, gone)]
    if implicit_negatives:
        avoids += [entry for entry in replaced if entry not in avoids]
    wants = wants or tuple(entry for entry in anchors if entry.key == CATEGORY)[:1]
    return SignedDictionary(wants, tuple(anchors), tuple(avoids))


def _scoped(entries: Iterable[Entry], join: bool) -> Dictionary:
    """Canonical entries with their objects as they are: an update may speak of one object of several."""
    entries = tuple(entries)
    names = dict.fromkeys(entry.object for entry in entries)
    found = {name: canonical([("", e.key, e.value) for e in entries if e.object == name], join) for name in names}
    return tuple(Entry(entry.key, entry.value, name) for name, part in found.items() for entry in part)


def _meet(one: Entry, other: Entry) -> bool:
    """Whether two entries may speak of the same object."""
    return not one.object or not other.object or one.object == other.object


def _clash(key: str, value: str, avoided: str) -> bool:
    """Whether a value is meant by an avoided one: equal, a detail whatever its description, or a common word that the key does not hold."""
    known = load_lexicon().keys.get(key)
    if value == avoided or (known is not None and known.presence):
        return True
    shared = set(loose(value).split()) & set(loose(avoided).split())
    return any(word.rstrip("s") not in key for word in shared)


def _pointless(entry: Entry, wants: Dictionary, anchored: set[str], gone: set[str]) -> bool:
    """Whether an entry says nothing any more: the value it lives by is replaced by one without it, or was taken away."""
    known = load_lexicon().keys.get(entry.key)
    if known is None or known.needs is None:
        return False
    key, unless = known.needs
    if wanted := [part for want in wants if want.key == key and _meet(want, entry) for part in want.parts]:
        return wanted == [unless]
    return key in gone and key not in anchored
