"""Captions: sentences about a design that name some of its attributes and never a wrong one."""

from collections.abc import Collection

import numpy as np

from cirlib.data.atelier import words
from cirlib.data.atelier.schema import DETAILS, NO, YES, Design

OPENINGS = ("a photo of {}", "a picture of {}", "{}", "{}", "this is {}", "a drawing of {}", "a product photo of {}")


def pick(rng: np.random.Generator, options: Collection[str]) -> str:
    """One of several ways to say a thing."""
    options = tuple(options)
    return options[int(rng.integers(len(options)))]


def sample_mention(rng: np.random.Generator, design: Design) -> frozenset[str]:
    """A random part of the attributes; details that are absent are named seldom, the category almost always."""
    share = rng.uniform(0.15, 1.0)
    mention = {name for name in design if rng.random() < (0.25 * share if name in DETAILS and design[name] == NO else share)}
    if rng.random() < 0.9:
        mention.add("category")
    if "second_color" in mention:
        mention.add("pattern")
    return frozenset(mention or {"color"})


def noun_phrase(rng: np.random.Generator, design: Design, mention: Collection[str]) -> str:
    """The garment with its adjectives: "a long red striped dress"."""
    adjectives = [
        pick(rng, words.ADJECTIVES[name][design[name]]) for name in rng.permutation(["length", "fit", "sheen"]) if name in mention
    ]
    if "color" in mention:
        adjectives.append(design["color"])
    if "pattern" in mention and "second_color" not in mention:
        adjectives.append(pick(rng, words.PATTERN_ADJECTIVES[design["pattern"]]))
    noun = pick(rng, words.NOUNS[design["category"]]) if "category" in mention else pick(rng, ("garment", "item"))
    return " ".join([*adjectives, noun])


def feature_phrases(rng: np.random.Generator, design: Design, mention: Collection[str]) -> list[str]:
    """What follows "with": second colour, sleeves, neckline and details, in random order."""
    phrases = []
    if "second_color" in mention:
        phrases.append(f"{design['second_color']} {pick(rng, words.PATTERN_NOUNS[design['pattern']])}")
    if "sleeve" in mention:
        phrases.append(pick(rng, words.SLEEVE[design["sleeve"]]))
    if "neckline" in mention:
        phrases.append(pick(rng, words.NECKLINE[design["neckline"]]))
    for detail in DETAILS:
        if detail in mention:
            phrases.append(pick(rng, words.DETAIL[detail]) if design[detail] == YES else f"no {pick(rng, words.BARE[detail])}")
    return [phrases[int(i)] for i in rng.permutation(len(phrases))]


def join_phrases(phrases: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def caption(rng: np.random.Generator, design: Design, mention: Collection[str] | None = None) -> str:
    """One sentence about a design.

    Args:
        rng: Chooses among phrasings, and among attributes when `mention` is None.
        design: The design to describe.
        mention: Attributes to name; None draws them with `sample_mention`. "second_color" brings its pattern with it.
    """
    mention = sample_mention(rng, design) if mention is None else frozenset(mention)
    if rng.random() < 0.12:
        return dictionary_text(design, mention)
    phrase = noun_phrase(rng, design, mention)
    article = "" if phrase.split()[-1] in words.PLURAL else ("an " if phrase[0] in "aeiou" else "a ")
    features = feature_phrases(rng, design, mention)
    text = article + phrase + (f" with {join_phrases(features)}" if features else "")
    return pick(rng, OPENINGS).format(text)


def dictionary_text(design: Design, mention: Collection[str] | None = None) -> str:
    """The design as "key: value" pairs in schema order: "category: dress, color: red"."""
    names = [name for name in design if mention is None or name in mention]
    return ", ".join(f"{words.key_name(name)}: {words.value_name(name, design[name])}" for name in names)
