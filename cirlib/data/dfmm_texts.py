"""Edit texts of DFMM-Compose-R: from label changes to a sentence, and back.

Everything here is our choice: the wording of DFMM-Compose was not published. A text belongs to one of three families:

* "want-new" names what the result shall have ("with short sleeves").
* "avoid-old" names what it shall lose ("without stripes on the upper part"); every other value is allowed.
* "both" names one and the other ("with short sleeves instead of long sleeves", or "with a hat and without a belt").

Every value has one phrase that no other value has, so a text can be read back: `read_slots` finds what it wants and avoids, and
`write_edit` refuses to hand out a text that does not say what its structure says.
"""

import re
from collections.abc import Sequence

from cirlib.data.dfmm_labels import DIMENSIONS
from cirlib.types import Change, Edit

FAMILIES = ("want-new", "avoid-old", "both")
NONE = "no"  # the value of a dimension whose thing is not there; texts say it by avoiding the thing
_GARMENTS = {"upper": "upper part", "lower": "lower part", "outer": "outer layer"}
_PATTERNS = {
    "floral": "a floral pattern on the {garment}",
    "graphic": "a graphic pattern on the {garment}",
    "striped": "stripes on the {garment}",
    "pure color": "a plain {garment}",
    "lattice": "a lattice pattern on the {garment}",
    "color block": "color blocks on the {garment}",
}
PHRASES: dict[str, dict[str, str]] = {
    "sleeve": {"sleeveless": "a sleeveless cut", "short": "short sleeves", "medium": "medium-length sleeves", "long": "long sleeves"},
    "lower_length": {
        "three-point": "a very short lower part",
        "medium short": "a medium-short lower part",
        "three-quarter": "a three-quarter-length lower part",
        "long": "a full-length lower part",
    },
    "hat": {"yes": "a hat"},
    "glasses": {
        "eyeglasses": "eyeglasses",
        "sunglasses": "sunglasses",
        "in hand or on clothes": "glasses in the hand or on the clothes",
    },
    "neckwear": {"yes": "neckwear"},
    "waist": {"belt": "a belt", "clothing": "a garment tied around the waist"},
    "neckline": {
        "v-shape": "a v-neckline",
        "square": "a square neckline",
        "round": "a round neckline",
        "standing": "a standing collar",
        "lapel": "a lapel collar",
        "suspenders": "suspender straps",
    },
    "cardigan": {"yes": "a cardigan as outer layer"},
    **{
        f"{garment}_fabric": {value: f"a {value} {noun}" for value in DIMENSIONS["upper_fabric"] if value != "other"}
        for garment, noun in _GARMENTS.items()
    },
    **{
        f"{garment}_pattern": {value: text.format(garment=noun) for value, text in _PATTERNS.items()} for garment, noun in _GARMENTS.items()
    },
}
"""Phrase of every value that an edit may name. Its keys are the editable dimensions; "other", "hidden" and "not long" have no phrase."""

_VOICES = {
    "want": ("with {new}", "shows {new}", "comes with {new}"),
    "avoid": ("without {old}", "with no {bare}", "loses {old}"),
    "both": ("with {new} instead of {old}", "with {new} rather than {old}", "has {new} in place of {old}"),
}
_CUES = ("without", "no", "loses", "instead of", "rather than", "in place of")
_OWNERS = {phrase.removeprefix("a "): (name, value) for name, values in PHRASES.items() for value, phrase in values.items()}
_MENTION = re.compile(
    rf"(?:\b({'|'.join(_CUES)})\s+)?(?:\ban?\s+|\bthe\s+)?\b({'|'.join(sorted(map(re.escape, _OWNERS), key=len, reverse=True))})(?![\w-])"
)

Step = tuple[str, str, str]
"""Dimension, value before, value after."""
Slot = tuple[str, str, str]
""" "want" or "avoid", dimension, value."""


def is_editable(name: str, value: str) -> bool:
    """Whether an edit may lead from or to this value: it has a phrase, or says that the thing is not there."""
    return name in PHRASES and (value in PHRASES[name] or value == NONE)


def open_families(steps: Sequence[Step]) -> tuple[str, ...]:
    """Families in which these changes can be said. Something added cannot be avoided, and something taken away cannot be wanted.

    Example:
        >>> open_families([("hat", "no", "yes")]), open_families([("hat", "no", "yes"), ("waist", "belt", "no")])
        (('want-new',), ('both',))
    """
    wants = [after != NONE for _, _, after in steps]
    avoids = [before != NONE for _, before, _ in steps]
    return tuple(family for family, fits in zip(FAMILIES, (all(wants), all(avoids), any(wants) and any(avoids)), strict=True) if fits)


def write_edit(steps: Sequence[Step], family: str, draw: int) -> tuple[str, Edit]:
    """Text and structure of some changes.

    Of a change whose new value the text names, that value alone is allowed. Of one whose old value alone is named, every other value is
    allowed, but for "hidden", and for "not long" unless the old value is "long": nobody can say whether those show the old value.

    Args:
        steps: One or two changes between values that `is_editable`.
        family: One of `open_families(steps)`.
        draw: Any whole number from 0; it picks the wording.

    Raises:
        ValueError: If the text read back does not say what the structure says.

    Example:
        >>> text, edit = write_edit([("sleeve", "long", "short")], "both", 0)
        >>> text, edit.changes[0].allowed
        ('with short sleeves instead of long sleeves', ('short',))
    """
    clauses, changes, said = [], [], set()
    for name, before, after in steps:
        slots = {("want", name, after)} if family != "avoid-old" and after != NONE else set()
        if family != "want-new" and before != NONE:
            slots.add(("avoid", name, before))
        said |= slots
        voices = _VOICES["both" if len(slots) == 2 else next(iter(slots))[0]]
        old = PHRASES[name].get(before, "")
        clauses.append(voices[draw % len(voices)].format(new=PHRASES[name].get(after, ""), old=old, bare=old.removeprefix("a ")))
        changes.append(_change(name, before, after, named=("want", name, after) in slots))
        draw //= len(voices)
    text = " and ".join(clauses)
    if read_slots(text) != said:
        raise ValueError(f"{text!r} reads as {sorted(read_slots(text))} instead of {sorted(said)}")
    return text, Edit(tuple(changes))


def _change(name: str, before: str, after: str, named: bool) -> Change:
    if named:
        return Change(name, "add" if before == NONE else "set", before, after, (after,))
    unclear = {"hidden"} if before == "long" else {"hidden", "not long"}
    return Change(name, "remove", before, after, tuple(v for v in DIMENSIONS[name] if v != before and v not in unclear))


def read_slots(text: str) -> frozenset[Slot]:
    """What a text wants and avoids: every phrase in it, avoided where a cue such as "without" or "instead of" stands before it.

    Example:
        >>> sorted(read_slots("Comes with a hat and no stripes on the upper part"))
        [('avoid', 'upper_pattern', 'striped'), ('want', 'hat', 'yes')]
    """
    return frozenset(("avoid" if cue else "want", *_OWNERS[phrase]) for cue, phrase in _MENTION.findall(text.lower()))
