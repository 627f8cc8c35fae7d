"""Concepts and phrases for SEARLE: names of things, and sentences that say something about each of them.

The paper lets GPT-Neo continue "a photo of {concept} that" for the class names of Open Images. No language model is called here (our
choice): atelier's concepts and phrases are drawn from its own grammar, and `read_phrases` takes any lines that a language model wrote.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import normalize

from cirlib.backbones.clip_text import PLACEHOLDER, PLACEHOLDER_WORD
from cirlib.data.atelier import words
from cirlib.data.atelier.captions import feature_phrases, join_phrases, pick, sample_mention
from cirlib.data.atelier.design import sample_design
from cirlib.data.atelier.schema import COLORS
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.types import InputError

# Frames of a picture's name. The paper samples among 24 frames of PALAVRA; these are our own.
TEMPLATES = (
    "a photo of {}",
    "a photo of a {}",
    "a photo of the {}",
    "a photo of one {}",
    "a good photo of a {}",
    "a good photo of the {}",
    "a bright photo of a {}",
    "a dark photo of a {}",
    "a close-up photo of a {}",
    "a cropped photo of a {}",
    "a cropped photo of the {}",
    "a clear photo of the {}",
    "a picture of a {}",
    "a picture of the {}",
    "a nice picture of a {}",
    "an image of a {}",
    "an image of the {}",
    "a rendering of a {}",
    "a drawing of a {}",
    "a product photo of a {}",
    "this is a {}",
    "this is the {}",
    "here is a {}",
    "here is the {}",
)
ATELIER_TEMPLATES = ("a photo of {}", "a picture of {}", "this is {}", "a drawing of {}", "a product photo of {}")  # what its CLIP has read

MOST_DETAILS = 3  # of a phrase of atelier; GPT-Neo's phrases have 35 tokens at most

Phrases = Mapping[str, Sequence[str]]  # concept -> phrases with "$" in its place


def atelier_phrases(count: int = 16, seed: int = 0) -> dict[str, tuple[str, ...]]:
    """Concepts of atelier (garments, also with a colour or a pattern) with `count` phrases each, from the grammar of its captions.

    A phrase never contradicts its concept: its details are those of a design of that category, without colour and pattern.

    Example:
        >>> atelier_phrases(2)["red coat"]
        ('a photo of $ with half sleeves and buttons', 'a photo of $ that has a lace hem')
    """
    if count < 1:
        raise InputError(f"{count} phrases a concept asked for; ask for 1 or more")
    rng = np.random.default_rng(seed)
    designs = [sample_design(rng) for _ in range(2000)]
    found = {}
    for category, nouns in words.NOUNS.items():
        group = [design for design in designs if design["category"] == category]
        first = ["", *COLORS, *(adjectives[0] for adjectives in words.PATTERN_ADJECTIVES.values())]
        for concept in (f"{adjective} {noun}".strip() for noun in nouns for adjective in first):
            found[concept] = tuple(_phrase(rng, group[int(rng.integers(len(group)))]) for _ in range(count))
    return found


def _phrase(rng: np.random.Generator, design: Mapping[str, str]) -> str:
    """What follows a concept: details of the design, said as a caption says them."""
    left = {name: value for name, value in design.items() if name not in ("color", "pattern", "second_color", "category")}
    features = feature_phrases(rng, left, sample_mention(rng, left) & left.keys())[:MOST_DETAILS]
    if not features:
        name = pick(rng, ("length", "fit", "sheen"))
        return f"a photo of {PLACEHOLDER} that is {pick(rng, words.ADJECTIVES[name][design[name]])}"
    return f"a photo of {PLACEHOLDER} {pick(rng, ('with', 'that has'))} {join_phrases(features)}"


def read_phrases(path: str | os.PathLike[str]) -> dict[str, tuple[str, ...]]:
    """Phrases from a text file: a line each, the concept, a tab, and a phrase that holds the concept. Empty lines are passed over.

    The first place of the concept becomes the placeholder.

    Raises:
        InputError: If a line has no tab, its phrase lacks the concept, or there is no line.
    """
    path, found = Path(path), {}
    if not path.is_file():
        raise InputError(f"phrases are read from a file and {path} is none; give lines of concept, tab, phrase")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        concept, tab, phrase = (part.strip() if part != "\t" else part for part in line.partition("\t"))
        safe = f" {' '.join(phrase.replace(PLACEHOLDER, PLACEHOLDER_WORD).split())} "
        if not tab or not concept or f" {concept} " not in safe:
            raise InputError(f"line {number} of {path.name} is {line[:60]!r}; write concept, tab, and a phrase that holds the concept")
        found.setdefault(concept, []).append(safe.replace(f" {concept} ", f" {PLACEHOLDER} ", 1).strip())
    if not found:
        raise InputError(f"{path} holds no phrases; write concept, tab, phrase on each line")
    return {concept: tuple(lines) for concept, lines in found.items()}


def nearest_concepts(
    encoder: ClipEncoder, features: Tensor, concepts: Sequence[str], count: int, templates: Sequence[str] = TEMPLATES
) -> Int[Tensor, "n c"]:
    """Numbers of the concepts whose names CLIP finds nearest to each picture, nearest first (paper: by names averaged over templates).

    Args:
        encoder: CLIP.
        features: (n, d) image embeddings.
        concepts: Names.
        count: How many per picture; all of them where there are fewer.
        templates: Frames of a name, with "{}".
    """
    rows = [normalize(encoder.texts([frame.format(name) for name in concepts]), dim=-1) for frame in templates]
    names = normalize(sum(rows), dim=-1)  # (concepts, d)
    scores = normalize(features.float().cpu(), dim=-1) @ names.T
    return scores.argsort(dim=-1, descending=True, stable=True)[:, :count]


def phrases_key(phrases: Phrases, templates: Sequence[str]) -> str:
    """Hash of all phrases and templates, in order."""
    told = [list(templates), [[name, list(lines)] for name, lines in phrases.items()]]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
