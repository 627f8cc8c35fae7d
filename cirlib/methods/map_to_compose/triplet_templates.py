"""Edits by template: a caption with one attribute word swapped, added or removed, and a stock phrase that says so.

The idea is that of TransAgg's template triplets (Liu et al. 2023), where the edited caption then retrieves the target; words, templates
and their shares are our choice. Whether the caption was true, and whether the words that follow from the swap still fit the garment, is not
looked at: these are the cheap triplets, and how many of them are right is measured, not assumed.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cirlib.data.lexicon import YES
from cirlib.methods.map_to_compose.attribute_mentions import NO, Mention, find_mentions
from cirlib.types import Change, Edit, InputError

SWAP_TEXTS = ("change {old} to {new}", "{new} instead of {old}", "replace {old} with {new}", "is {new} and not {old}")
ADD_TEXTS = ("add {new}", "with {new} added", "{new} has been added", "has {new}")
REMOVE_TEXTS = ("remove {old}", "without {old}", "{old} has been removed", "has no {old}")
_TRIES = 50  # draws per edit wanted before the captions count as too poor


@dataclass(frozen=True)
class Proposal:
    """An edit that still looks for its target.

    Attributes:
        reference: Image id of the reference image.
        text: Modification text.
        target_caption: What the target should show; empty until somebody writes it.
        edit: Structured edit where known, in the words of the lexicon or of atelier's schema.
    """

    reference: str
    text: str
    target_caption: str = ""
    edit: Edit | None = None


Vocabulary = Mapping[tuple[str, str], Mapping[str, Counter]]  # (key, kind) -> value -> how often each phrase stands in the captions


def vocabulary(captions: Sequence[str]) -> Vocabulary:
    """Which phrases name which values in these captions; swaps take their words from it, so they speak of what the pictures show."""
    found: dict[tuple[str, str], dict[str, Counter]] = {}
    for caption in captions:
        for mention in find_mentions(caption):
            if ":" in mention.text or (mention.kind == "detail" and mention.value == NO):
                continue  # an answer is no phrase for a sentence, and a denied detail is none to add
            phrase = mention.text.split()[0] if mention.kind == "colored" else mention.text
            found.setdefault((mention.key, mention.kind), {}).setdefault(mention.value, Counter())[phrase.lower()] += 1
    return found


def template_proposals(captions: Mapping[str, str], count: int, seed: int = 0) -> tuple[Proposal, ...]:
    """Edit captions of random pictures by template.

    Two of three edits swap a value, the others add or remove a detail in equal parts, as far as the caption allows.

    Args:
        captions: Image id to caption.
        count: Edits wanted; a picture may be edited several times, never twice in the same way.
        seed: Of the choice; the edits of a smaller count are the first of a larger one.

    Raises:
        InputError: If the captions name too few attributes.
    """
    rng = np.random.default_rng([seed, 3])
    ids, words = tuple(captions), vocabulary(tuple(captions.values()))
    proposals: dict[tuple[str, str], Proposal] = {}
    for _ in range(_TRIES * count):
        if len(proposals) == count:
            break
        reference = ids[int(rng.integers(len(ids)))]
        proposal = _propose(rng, reference, captions[reference], words)
        if proposal is not None:
            proposals.setdefault((reference, proposal.target_caption), proposal)
    if len(proposals) < count:
        raise InputError(
            f"{count} template edits asked for, but {len(ids)} captions gave {len(proposals)}; ask for fewer, or give captions that name "
            "colours, patterns and details"
        )
    return tuple(proposals.values())


def _propose(rng: np.random.Generator, reference: str, caption: str, words: Vocabulary) -> Proposal | None:
    mentions = find_mentions(caption)
    make = (_swap, _swap, _swap, _swap, _add, _remove)[int(rng.integers(6))]
    made = make(rng, caption, mentions, words)
    return None if made is None else Proposal(reference, made[0], _articles(made[1]), Edit((made[2],)))


def _pick(rng: np.random.Generator, options: Sequence):
    return options[int(rng.integers(len(options)))]


def _swap(rng: np.random.Generator, caption: str, mentions: list[Mention], words: Vocabulary) -> tuple[str, str, Change] | None:
    """Another value of one attribute in place of the caption's."""
    mentions = [m for m in mentions if m.kind != "detail" and len(words[m.key, m.kind]) > 1]
    if not mentions:
        return None
    old = _pick(rng, mentions)
    values = words[old.key, old.kind]
    value = _pick(rng, sorted(v for v in values if v != old.value))
    new = _frequent(rng, values[value])
    if old.kind == "colored":
        new = f"{new} {old.text.split(maxsplit=1)[1]}"
    text = _pick(rng, SWAP_TEXTS).format(old=old.text.lower(), new=new)
    return text, caption[: old.start] + new + caption[old.end :], Change(old.key, "set", old.value, value, (value,))


def _add(rng: np.random.Generator, caption: str, mentions: list[Mention], words: Vocabulary) -> tuple[str, str, Change] | None:
    """A detail that the caption does not speak of."""
    details = sorted(key for key, kind in words if kind == "detail" and key not in {m.key for m in mentions})
    if not details:
        return None
    key = _pick(rng, details)
    new = _frequent(rng, words[key, "detail"][YES])
    joint = " and " if " with " in caption else " with "
    text = _pick(rng, ADD_TEXTS).format(new=new)
    return text, f"{caption.rstrip(' .')}{joint}{new}", Change(key, "add", "", YES, (YES,))


def _remove(rng: np.random.Generator, caption: str, mentions: list[Mention], words: Vocabulary) -> tuple[str, str, Change] | None:
    """A detail that the caption names, taken out together with the word that joins it."""
    details = [m for m in mentions if m.kind == "detail" and m.value == YES and ":" not in m.text]
    if not details:
        return None
    old = _pick(rng, details)
    before, after = caption[: old.start].rstrip(), caption[old.end :]
    if before.endswith((" with", ",", " and")) and not (before.endswith(" with") and after.startswith((",", " and "))):
        before = re.sub(r"(?:,| and| with)$", "", before)
    else:
        after = re.sub(r"^(?:,| and)", "", after)
    text = _pick(rng, REMOVE_TEXTS).format(old=re.sub(r"^(?:an?|the) ", "", old.text.lower()))
    return text, " ".join(f"{before} {after}".split()).replace(" ,", ","), Change(old.key, "remove", YES, NO, (NO,))


def _frequent(rng: np.random.Generator, phrases: Counter) -> str:
    """One phrase, as often as the captions use it."""
    names = sorted(phrases)
    weights = np.array([phrases[name] for name in names], float)
    return str(rng.choice(names, p=weights / weights.sum()))


def _articles(caption: str) -> str:
    """ "an" before a vowel's letter, "a" before others: a swap may have changed the next word."""
    caption = re.sub(r"\b(a)n?(?= [aeiou])", r"\1n", caption)
    return re.sub(r"\b(a)n(?= [^aeiou\s])", r"\1", caption)
