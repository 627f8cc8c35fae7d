"""What is said around the pseudo-word when searching: one template per method and benchmark.

A modification text with two captions arrives joined: FashionIQ's order is the loader's business (`caption_join="reverse"` puts the second
caption first, as Pic2Word and Map-to-Compose do; SEARLE and LinCIR average both orders, see `method.BothOrders`).
"""

from cirlib.types import InputError

TRAINING = "a photo of $"  # what mappers see in training
THAT = "a photo of $ that {modification_text}"
COMMA_THAT = "a photo of $ , that {modification_text}"
COMMA = "a photo of $ , {modification_text}"
COMMON = THAT  # one prompt for all methods, for a table in which only the mapper differs (our choice)

# What a method's source uses on every benchmark, and where it departs from that.
TEMPLATES: dict[str, tuple[str, dict[str, str]]] = {
    "pic2word": (COMMA, {}),  # FashionIQ and CIRR (released code); elsewhere inferred
    "searle": (THAT, {}),  # paper
    "lincir": (THAT, {}),  # released code, which evaluates as SEARLE does
    "map-to-compose": (THAT, {"fashioniq": COMMA_THAT, "cirr": COMMA_THAT}),  # released code; elsewhere its training's form (our choice)
}


def compose_prompt(benchmark: str, method: str) -> str:
    """The template of a method on a benchmark, with the placeholder "$" and "{modification_text}".

    Args:
        benchmark: Name of a benchmark ("fashioniq", "cirr", "circo", "genecis", "atelier", ...).
        method: "pic2word", "searle", "lincir" or "map-to-compose"; "common" is the one prompt for all.

    Raises:
        InputError: If the method is not known.

    Example:
        >>> compose_prompt("cirr", "map-to-compose"), compose_prompt("circo", "map-to-compose")
        ('a photo of $ , that {modification_text}', 'a photo of $ that {modification_text}')
    """
    if method == "common":
        return COMMON
    if method not in TEMPLATES:
        raise InputError(f"no prompts of method {method!r}; known are {', '.join(TEMPLATES)} and common")
    usual, special = TEMPLATES[method]
    return special.get(benchmark, usual)
