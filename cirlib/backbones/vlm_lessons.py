"""What the miniature vision-language model is taught: pairs of prompt and answer, made from atelier's designs and their truth.

Four lessons: picture to dictionary, picture to caption, edit parsing and caption rewriting; the last two are text only. All designs come
from the generator of the `pretrain` split or depart from one of its designs, and none shows a held-out pair. The forms of the answers
are our choice:

- a dictionary names the object, then keys in schema order; a detail stands there only when present ("belt": "yes");
- a caption names every attribute that applies and every detail that is present, in fixed words and order;
- relative wording is resolved to the next value of the order (of colours on the same step the first of the schema) with the reference's
  value as a negative; "any other" opens the key with the reference's value as a negative;
- a pattern that goes leaves "solid", and the second colour that goes with it is a negative;
- a rewritten caption leaves out what "any other" made unknown.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from cirlib.backbones.vlm_prompts import CAPTION_PROMPT, DICTIONARY_PROMPT, edit_prompt, rewrite_prompt
from cirlib.data.atelier import words
from cirlib.data.atelier.captions import join_phrases
from cirlib.data.atelier.design import sample_design, sample_sibling
from cirlib.data.atelier.edits import build_edit, caption_pair, phrase_changes
from cirlib.data.atelier.schema import ATTRIBUTES, DETAILS, NO, YES, Design, held_out_pair
from cirlib.types import Change, Edit

KINDS = ("dictionary", "caption", "edit", "rewrite")


@dataclass(frozen=True)
class Lesson:
    """One prompt with the answer that is wanted; `picture` says whether the design's picture goes with it."""

    kind: str
    prompt: str
    answer: str
    picture: bool


def compact_json(value: object) -> str:
    """JSON without spaces: fewer tokens."""
    return json.dumps(value, separators=(",", ":"))


def dictionary_answer(design: Design) -> str:
    """The dictionary of a design.

    Example:
        >>> dictionary_answer({"category": "toptee", "color": "red", "pattern": "solid", "belt": "no", "pockets": "yes"})
        '{"top":{"color":"red","pattern":"solid","pockets":"yes"}}'
    """
    pairs = {
        words.key_name(name): words.value_name(name, value)
        for name, value in design.items()
        if name != "category" and not (name in DETAILS and value == NO)
    }
    return compact_json({words.NOUNS[design["category"]][0]: pairs})


def full_caption(design: Design) -> str:
    """One sentence that names everything about a design; attributes that are missing from it are left out.

    Example:
        >>> full_caption({"category": "dress", "color": "red", "pattern": "dotted", "second_color": "white", "fit": "loose", "belt": "yes"})
        'a loose red dress with white dots and a belt'
    """
    adjectives = [words.ADJECTIVES[name][design[name]][0] for name in ("length", "fit", "sheen") if name in design]
    adjectives += [design["color"]] if "color" in design else []
    features = []
    if "second_color" in design:
        features.append(f"{design['second_color']} {words.PATTERN_NOUNS[design['pattern']][0]}")
    else:
        adjectives += [words.PATTERN_ADJECTIVES[design["pattern"]][0]] if "pattern" in design else []
    features += [words.SLEEVE[design["sleeve"]][0]] if "sleeve" in design else []
    features += [words.NECKLINE[design["neckline"]][0]] if "neckline" in design else []
    features += [words.DETAIL[name][0] for name in DETAILS if design.get(name) == YES]
    noun = words.NOUNS[design["category"]][0]
    phrase = " ".join([*adjectives, noun])
    article = "" if noun in words.PLURAL else "an " if phrase[0] in "aeiou" else "a "
    return article + phrase + (f" with {join_phrases(features)}" if features else "")


def next_value(change: Change) -> str:
    """What a relative change asks for at least: the allowed value nearest to the reference's, the first of the schema among equals."""
    attribute = ATTRIBUTES[change.attribute]
    return min(change.allowed, key=lambda value: abs(attribute.level(value) - attribute.level(change.before)))


def edit_updates(edit: Edit, reference: Design, text: str) -> dict[str, dict[str, str] | list[str]]:
    """Signed updates of an edit, with keys and values in the words of a dictionary.

    Args:
        edit: What changes.
        reference: Design that the edit departs from.
        text: The modification text; a value that it names only to reject it ("red instead of blue") becomes a negative.
    """
    positive, negative, opened = {}, {}, []
    for change in edit.changes:
        name = change.attribute
        if name in DETAILS:
            (positive if change.after == YES else negative)[name] = YES
        elif change.kind == "open":
            opened.append(name)
            negative[name] = change.before
        else:
            positive[name] = next_value(change) if change.kind == "relative" else change.after
            if change.kind == "relative" or _rejects(text, name, change.before, reference):
                negative[name] = change.before
        if name == "pattern" and change.after == "solid":
            negative["second_color"] = reference["second_color"]
    return {"positive": _named(positive), "negative": _named(negative), "open": [words.key_name(name) for name in opened]}


def _named(values: Mapping[str, str]) -> dict[str, str]:
    return {words.key_name(name): words.value_name(name, values[name]) for name in ATTRIBUTES if name in values}


def _rejects(text: str, name: str, before: str, reference: Design) -> bool:
    """Whether the text names the old value in order to say that it goes."""
    if not before:  # the second colour that comes with a pattern
        return False
    if name == "pattern":
        said = (*words.PATTERN_NOUNS.get(before, ()), *words.PATTERN_ADJECTIVES[before])
        cues = ("instead of {}", "in place of {}", "has no {}", "without the {}")
    elif name == "second_color":
        noun = words.PATTERN_NOUNS[reference["pattern"]][0]
        return f"{noun} instead of {before}" in text
    else:
        said, cues = (before,), ("instead of {}",)
    return any(cue.format(word) in text for cue in cues for word in said)


def edit_answer(edit: Edit, reference: Design, text: str) -> str:
    """Answer of the edit lesson: the signed updates as JSON."""
    return compact_json(edit_updates(edit, reference, text))


def wanted_design(edit: Edit, reference: Design) -> Design:
    """The reference with the edit carried out: changed values in place, values left free missing."""
    target = dict(reference)
    for change in edit.changes:
        if change.kind == "open":
            del target[change.attribute]
        else:
            target[change.attribute] = next_value(change) if change.kind == "relative" else change.after
    if target.get("pattern") == "solid":
        target.pop("second_color", None)
    return {name: target[name] for name in ATTRIBUTES if name in target}


def rewritten_caption(edit: Edit, reference: Design) -> str:
    """Caption of what the edit asks for; what it leaves free is not mentioned."""
    return full_caption(wanted_design(edit, reference))


def picture_lesson(rng: np.random.Generator, design: Design, captions: float = 0.3) -> Lesson:
    """A dictionary or, with probability `captions`, a caption of the design's picture."""
    if rng.random() < captions:
        return Lesson("caption", CAPTION_PROMPT.text, full_caption(design), True)
    return Lesson("dictionary", DICTIONARY_PROMPT.text, dictionary_answer(design), True)


def text_lesson(rng: np.random.Generator, rewrites: float = 0.45) -> Lesson:
    """Edit parsing or, with probability `rewrites`, caption rewriting, between two fresh designs that differ in one attribute or two.

    The text is two captions joined by " and ", as benchmarks give them, or one. Now and then the reference's dictionary lacks a pair that
    the edit does not touch, because a dictionary that was read from a picture may.
    """
    edit = None
    while edit is None or held_out_pair(wanted_design(edit, reference)) is not None:
        reference = sample_design(rng)
        edit = build_edit(rng, reference, sample_sibling(rng, reference))
    joined = rng.random() < 0.7
    text = " and ".join(caption_pair(rng, edit, reference)) if joined else join_phrases(phrase_changes(rng, edit, reference))
    if rng.random() < rewrites:
        return Lesson("rewrite", rewrite_prompt(full_caption(reference), text), rewritten_caption(edit, reference), False)
    return Lesson("edit", edit_prompt(dictionary_answer(_forgetful(rng, reference, edit)), text), edit_answer(edit, reference, text), False)


def _forgetful(rng: np.random.Generator, reference: Design, edit: Edit) -> Design:
    if rng.random() < 0.8:
        return reference
    keep = {"category", "pattern", "second_color", *edit.attributes}
    return {name: value for name, value in reference.items() if name in keep or rng.random() < 0.85}


def sentences(rng: np.random.Generator, count: int) -> Iterator[str]:
    """Prompts and answers that a vocabulary is learnt from: `count` of pictures and as many of texts."""
    for _ in range(count):
        design = sample_design(rng)
        for lesson in (picture_lesson(rng, design, 0.5), text_lesson(rng)):
            yield lesson.prompt
            yield lesson.answer
