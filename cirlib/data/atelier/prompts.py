"""Prompts: one short text per value of an attribute, for reading attributes off a picture with a text tower."""

import numpy as np

from cirlib.data.atelier import words
from cirlib.data.atelier.captions import pick
from cirlib.data.atelier.schema import ATTRIBUTES, DETAILS, YES


def value_phrases(name: str, value: str) -> tuple[str, ...]:
    """Every prompt for one value, the "key: value" form of dictionaries first."""
    pair = f"{words.key_name(name)}: {words.value_name(name, value)}"
    if name == "category":
        return (pair, *(noun if noun in words.PLURAL else f"a {noun}" for noun in words.NOUNS[value]))
    if name == "color":
        return (pair, f"a {value} garment", f"a {value} item")
    if name == "second_color":
        return (pair, *(f"{value} {nouns[0]}" for nouns in words.PATTERN_NOUNS.values()))
    if name in ("sleeve", "neckline"):
        table = words.SLEEVE if name == "sleeve" else words.NECKLINE
        return (pair, *(f"a garment with {text}" for text in table[value]))
    if name in DETAILS:
        texts = words.DETAIL[name] if value == YES else tuple(f"no {bare}" for bare in words.BARE[name])
        return (pair, *(f"a garment with {text}" for text in texts))
    return (pair, *(f"a {text} garment" for text in words.ADJECTIVES[name][value]))


def value_prompts(rng: np.random.Generator, name: str) -> list[str]:
    """One prompt per value of an attribute, each in a random wording."""
    return [pick(rng, value_phrases(name, value)) for value in ATTRIBUTES[name].values]
