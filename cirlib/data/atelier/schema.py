"""The one declared schema of atelier: attributes, their values, where they apply, and which pairs are held out.

Drawing, captions, edits and truth all read this file, so they cannot disagree. Everything in atelier is our own choice; the category
names are FashionIQ's where it has them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

VERSION = "1.0"  # any change that moves a pixel or a caption raises it

Design = Mapping[str, str]  # attribute name -> value; attributes that do not apply are absent


@dataclass(frozen=True)
class Attribute:
    """One attribute of a garment.

    Attributes:
        name: Key in a design.
        values: Every value; for ordered attributes from least to most.
        more: Adjective for more of it ("longer"), empty where values have no order.
        less: Adjective for less of it.
        levels: Level of each value, where the order has ties; None means the position.
    """

    name: str
    values: tuple[str, ...]
    more: str = ""
    less: str = ""
    levels: tuple[int, ...] | None = None

    @property
    def ordered(self) -> bool:
        """Whether "more" and "less" mean something."""
        return bool(self.more)

    def level(self, value: str) -> int:
        """Place of a value in the order, ties included."""
        place = self.values.index(value)
        return place if self.levels is None else self.levels[place]


COLORS = ("black", "white", "grey", "red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink", "brown")
_DARKNESS = (5, 0, 2, 3, 2, 1, 3, 2, 4, 4, 1, 4)  # level of each colour, 0 the lightest: "darker" means a strictly higher level

ATTRIBUTES = {
    a.name: a
    for a in (
        Attribute("category", ("dress", "shirt", "toptee", "skirt", "trousers", "coat")),
        Attribute("color", COLORS, more="darker", less="lighter", levels=_DARKNESS),
        Attribute("pattern", ("solid", "striped", "checked", "dotted", "floral", "chevron")),
        Attribute("second_color", COLORS),
        Attribute("sleeve", ("sleeveless", "short", "elbow", "long"), more="longer", less="shorter"),
        Attribute("neckline", ("round", "v-neck", "square", "turtleneck")),
        Attribute("length", ("short", "medium", "long"), more="longer", less="shorter"),
        Attribute("fit", ("fitted", "regular", "loose"), more="looser", less="tighter"),
        Attribute("sheen", ("matte", "satin", "sparkly"), more="shinier", less="duller"),
    )
}
DETAILS = ("belt", "pockets", "buttons", "collar", "print", "trim")
YES, NO = "yes", "no"
ATTRIBUTES |= {detail: Attribute(detail, (NO, YES)) for detail in DETAILS}
SINGLE_VALUED = tuple(name for name in ATTRIBUTES if name not in DETAILS)

# What each category can have. Attributes that every category has (color, pattern, length, fit, sheen) are not repeated.
SLEEVES = {
    "dress": ("sleeveless", "short", "elbow", "long"),
    "shirt": ("sleeveless", "short", "elbow", "long"),
    "toptee": ("sleeveless", "short", "elbow", "long"),
    "coat": ("short", "elbow", "long"),
}
NECKLINES = {
    "dress": ("round", "v-neck", "square", "turtleneck"),
    "toptee": ("round", "v-neck", "square", "turtleneck"),
    "shirt": ("round", "v-neck"),
}
CATEGORY_DETAILS = {
    "dress": ("belt", "pockets", "buttons", "collar", "print", "trim"),
    "shirt": ("pockets", "buttons", "collar", "print", "trim"),
    "toptee": ("pockets", "buttons", "print", "trim"),
    "skirt": ("belt", "pockets", "buttons", "trim"),
    "trousers": ("belt", "pockets", "trim"),
    "coat": ("belt", "pockets", "buttons", "trim"),
}

# Colours that lie too near each other to make a pattern that an eye can see.
_NEAR = {
    "black": ("brown", "purple", "blue", "green"),
    "white": ("yellow", "pink", "turquoise"),
    "grey": ("turquoise", "green", "purple", "pink", "brown", "blue"),
    "red": ("orange", "brown", "pink", "purple"),
    "orange": ("yellow", "brown", "pink"),
    "green": ("turquoise", "blue", "brown"),
    "blue": ("purple", "turquoise", "brown"),
    "purple": ("brown", "pink"),
}
_TOO_CLOSE = {frozenset((color, near)) for color, nears in _NEAR.items() for near in nears}

# Pairs that no picture of any split but test-compositional shows.
HELD_OUT = (
    (("color", "orange"), ("pattern", "chevron")),
    (("color", "turquoise"), ("pattern", "checked")),
    (("color", "pink"), ("pattern", "floral")),
    (("color", "brown"), ("pattern", "dotted")),
    (("color", "yellow"), ("sheen", "sparkly")),
    (("color", "purple"), ("pattern", "striped")),
    (("sleeve", "elbow"), ("neckline", "square")),
    (("sleeve", "sleeveless"), ("neckline", "turtleneck")),
    (("category", "coat"), ("sheen", "sparkly")),
    (("category", "skirt"), ("pattern", "chevron")),
)


def colors_contrast(color: str, second: str) -> bool:
    """Whether two colours are far enough apart to show a pattern."""
    return color != second and frozenset((color, second)) not in _TOO_CLOSE


def allowed_values(design: Design, attribute: str) -> tuple[str, ...]:
    """Values that `attribute` may take on this design with everything else unchanged; empty where it does not apply.

    The current value is among them when it is legal.
    """
    values = _values_by_category(design["category"], attribute)
    if attribute == "second_color":
        return tuple(v for v in values if colors_contrast(design["color"], v)) if design["pattern"] != "solid" else ()
    if attribute == "color" and design["pattern"] != "solid":
        return tuple(v for v in values if colors_contrast(v, design["second_color"]))
    if not values:
        return ()
    if attribute == "collar" and design.get("neckline") not in ("round", "v-neck"):
        return (NO,)
    if attribute == "neckline" and design.get("collar") == YES:
        return tuple(v for v in values if v in ("round", "v-neck"))
    if attribute in ("print", "buttons") and design.get("buttons" if attribute == "print" else "print") == YES:
        return (NO,)
    return values


def _values_by_category(category: str, attribute: str) -> tuple[str, ...]:
    if attribute == "sleeve":
        return SLEEVES.get(category, ())
    if attribute == "neckline":
        return NECKLINES.get(category, ())
    if attribute in DETAILS:
        return (NO, YES) if attribute in CATEGORY_DETAILS[category] else ()
    return ATTRIBUTES[attribute].values


def check_design(design: Design) -> None:
    """Raise ValueError unless the design has exactly the attributes that apply, each with a legal value."""
    unknown = set(design) - set(ATTRIBUTES)
    if unknown:
        raise ValueError(f"unknown attributes {sorted(unknown)}; allowed are {', '.join(ATTRIBUTES)}")
    for name in ATTRIBUTES:
        allowed = allowed_values(design, name)
        if bool(allowed) != (name in design):
            raise ValueError(f"{name} {'is missing from' if allowed else 'does not apply to'} this {design['category']}: {dict(design)}")
        if allowed and design[name] not in allowed:
            raise ValueError(f"{name} = {design[name]!r} is not allowed on this {design['category']}; allowed are {', '.join(allowed)}")


def held_out_pair(design: Design) -> tuple[tuple[str, str], tuple[str, str]] | None:
    """The first held-out pair that a design shows, or None."""
    for first, second in HELD_OUT:
        if design.get(first[0]) == first[1] and design.get(second[0]) == second[1]:
            return first, second
    return None
