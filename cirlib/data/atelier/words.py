"""The words for every value. Captions and edits both speak from here, and the tests read the same table to catch a contradiction."""

NOUNS = {
    "dress": ("dress", "gown"),
    "shirt": ("shirt", "button-up shirt"),
    "toptee": ("top", "tee"),
    "skirt": ("skirt",),
    "trousers": ("trousers", "pants"),
    "coat": ("coat", "jacket"),
}
PLURAL = ("trousers", "pants")

PATTERN_ADJECTIVES = {
    "solid": ("plain", "solid"),
    "striped": ("striped",),
    "checked": ("checked", "plaid"),
    "dotted": ("dotted", "polka dot"),
    "floral": ("floral", "flowered"),
    "chevron": ("chevron", "zigzag"),
}
PATTERN_NOUNS = {
    "striped": ("stripes",),
    "checked": ("checks",),
    "dotted": ("dots", "polka dots"),
    "floral": ("flowers",),
    "chevron": ("zigzags", "chevrons"),
}
SLEEVE = {
    "sleeveless": ("no sleeves",),
    "short": ("short sleeves",),
    "elbow": ("elbow-length sleeves", "half sleeves"),
    "long": ("long sleeves",),
}
NECKLINE = {
    "round": ("a round neck", "a crew neck"),
    "v-neck": ("a v-neck",),
    "square": ("a square neck",),
    "turtleneck": ("a turtleneck", "a high neck"),
}
LENGTH = {"short": ("short", "cropped"), "medium": ("mid-length", "medium-length"), "long": ("long", "full-length")}
FIT = {"fitted": ("fitted", "slim"), "regular": ("regular-fit", "straight-cut"), "loose": ("loose", "baggy")}
SHEEN = {"matte": ("matte",), "satin": ("satin", "silky"), "sparkly": ("sparkly", "sequined")}
DETAIL = {
    "belt": ("a belt",),
    "pockets": ("pockets",),
    "buttons": ("buttons",),
    "collar": ("a contrast collar", "a collar"),
    "print": ("a star print", "a star badge"),
    "trim": ("a lace trim", "a lace hem"),
}
BARE = {
    "belt": ("belt",),
    "pockets": ("pockets",),
    "buttons": ("buttons",),
    "collar": ("collar", "contrast collar"),
    "print": ("star print", "star badge"),
    "trim": ("lace trim", "lace hem"),
}  # the same without an article: "no belt", "without the belt"
ADJECTIVES = {"length": LENGTH, "fit": FIT, "sheen": SHEEN, "pattern": PATTERN_ADJECTIVES}
KEYS = {
    "second_color": "second color",
    "print": "star print",
    "trim": "lace trim",
    "collar": "contrast collar",
}  # attribute names as keys in a dictionary


def key_name(attribute: str) -> str:
    """The attribute's name as a reader would write it."""
    return KEYS.get(attribute, attribute)


def value_name(attribute: str, value: str) -> str:
    """The value as a reader would write it in a dictionary."""
    return "top" if (attribute, value) == ("category", "toptee") else value
