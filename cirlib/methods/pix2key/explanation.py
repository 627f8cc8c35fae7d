"""Why a picture stands where it stands: each constraint against what the picture's dictionary states, and each term of the score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cirlib.methods.pix2key.dictionary import Dictionary, Entry
from cirlib.methods.pix2key.method import Pix2Key
from cirlib.methods.pix2key.scoring import fuse, score_terms
from cirlib.methods.pix2key.signed import SignedDictionary
from cirlib.methods.pix2key.slots import best_matches
from cirlib.types import ImageSet, Query

Sign = Literal["want", "keep", "avoid"]
Status = Literal["met", "violated", "not stated"]


@dataclass(frozen=True)
class Constraint:
    """One constraint of a query, held against one candidate.

    Attributes:
        sign: "want" (a want), "keep" (an anchor) or "avoid".
        entry: Key and value that are wanted, kept or avoided.
        found: What the candidate states under that key; empty where it states nothing.
        status: "met", "violated", or "not stated" where the candidate's dictionary does not have the key. A dictionary that is silent
            on an avoided thing may mean that it is not there, or that the model did not see it; this says neither.
        cosine: How near the candidate comes to the constraint alone: the cosine with its whole dictionary, or with its nearest entry when
            matching is by slots.
    """

    sign: Sign
    entry: Entry
    found: str
    status: Status
    cosine: float


@dataclass(frozen=True)
class Term:
    """One term of the score: `weight * cosine`.

    Attributes:
        name: "wants", "anchors", "avoids" or "image".
        weight: Its signed factor, such as -(1 - alpha).
        cosine: p, o or n of Pix2Key's Eq. 8; the mean over constraints when matching is by slots; 0 where the query has no such part.
    """

    name: str
    weight: float
    cosine: float

    @property
    def contribution(self) -> float:
        """What the term adds to the score."""
        return self.weight * self.cosine


@dataclass(frozen=True)
class Explanation:
    """A candidate's score, taken apart.

    Attributes:
        terms: Add up to the score.
        constraints: Wants first, then anchors, then avoids. They are what a reader checks; the terms are what the score is made of.
    """

    terms: tuple[Term, ...]
    constraints: tuple[Constraint, ...]

    @property
    def score(self) -> float:
        """The sum of the terms."""
        return sum(term.contribution for term in self.terms)

    def count(self, status: Status) -> int:
        """How many constraints have a status."""
        return sum(constraint.status == status for constraint in self.constraints)

    def lines(self) -> list[str]:
        """The explanation for a terminal: the terms in one line, then one line per constraint, columns aligned."""
        shown = [
            (c.sign, f"{c.entry.key}: {c.entry.value}", c.status, f"has {c.found}" if c.found else "", c.cosine) for c in self.constraints
        ]
        widths = [max((len(row[column]) for row in shown), default=0) for column in range(4)]
        sums = "  ".join(f"{t.name} {t.contribution:+.3f} ({t.weight:+.2f} x {t.cosine:.3f})" for t in self.terms)
        rows = ("  ".join([*(cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)), f"{row[4]:.3f}"]) for row in shown)
        return [f"score {self.score:.4f} = {sums or 'no term'}", *rows]


def judge(sign: Sign, entry: Entry, candidate: Dictionary) -> tuple[str, Status]:
    """What a candidate states under a constraint's key, and whether that meets it.

    Values that were joined with "and" count one by one: "red and white" meets a wanted "red", and violates an avoided "white".

    Example:
        >>> judge("want", Entry("color", "red"), (Entry("color", "red and white"),))
        ('red and white', 'met')
        >>> judge("avoid", Entry("belt", "yes"), (Entry("color", "red"),))
        ('', 'not stated')
    """
    same_key = [other for other in candidate if other.key == entry.key]
    same_object = [other for other in same_key if entry.object and other.object == entry.object]
    stated = same_object or same_key
    if not stated:
        return "", "not stated"
    wanted, there = set(entry.parts), {part for other in stated for part in other.parts}
    violated = bool(wanted & there) if sign == "avoid" else not wanted <= there
    return " and ".join(dict.fromkeys(other.value for other in stated)), "violated" if violated else "met"


def explain(method: Pix2Key, query: Query, references: ImageSet, candidates: Sequence[str], gallery: ImageSet) -> list[Explanation]:
    """Take the scores of some candidates apart, for one query.

    Args:
        method: The method that ranked them; its options decide about weights and matching.
        query: What was asked.
        references: Holds the reference image.
        candidates: Ids of the candidates, in the gallery.
        gallery: Holds them.

    Returns:
        One explanation per candidate. Without an image share its score is R of Pix2Key's Eq. 9. With a share w, the terms of R are scaled
        as they are in the search: by 1 - w, and by 1 / |q*| when matching is pooled.
    """
    signed, pictures, use = method.signed([query], references)[0], gallery.select(candidates), method.options
    dictionaries = method.read(pictures)
    cosines, parts, length = (_slot_cosines if use.matching == "slots" else _pooled_cosines)(method, signed, dictionaries)
    scale = (1 - use.image_weight) / length if use.image_weight else 1.0
    named = zip(("wants", "anchors", "avoids"), (use.alpha, use.beta, use.alpha - 1), parts, strict=True)
    terms = [(name, scale * weight, part.tolist()) for name, weight, part in named]
    if use.image_weight:
        similar = method.encoder.references([query], references) @ method.encoder.images(pictures).rows.T
        terms.append(("image", use.image_weight, similar[0].tolist()))
    return [
        Explanation(
            tuple(Term(name, weight, part[number]) for name, weight, part in terms),
            tuple(
                Constraint(sign, entry, *judge(sign, entry, dictionary), cosine)
                for (sign, entry), cosine in zip(list_constraints(signed), cosines[number].tolist(), strict=True)
            ),
        )
        for number, dictionary in enumerate(dictionaries)
    ]


def _pooled_cosines(method: Pix2Key, signed: SignedDictionary, dictionaries: Sequence[Dictionary]) -> tuple[Tensor, list[Tensor], float]:
    """Cosines of each constraint alone (c, n), p, o and n of each candidate (c,), and the length of q*."""
    rows, parts = method.embed(dictionaries), method.embed_signed([signed])
    texts = [entry.text for _, entry in list_constraints(signed)]
    cosines = rows @ method.encoder.texts(texts).T if texts else torch.zeros(len(rows), 0)
    terms = score_terms(parts, rows)
    length = float(torch.linalg.vector_norm(fuse(parts, method.options.alpha, method.options.beta)))
    return cosines, [terms.wants[0], terms.anchors[0], terms.avoids[0]], length or 1.0


def _slot_cosines(method: Pix2Key, signed: SignedDictionary, dictionaries: Sequence[Dictionary]) -> tuple[Tensor, list[Tensor], float]:
    """The same for matching by slots, where a constraint's cosine is that of the nearest entry, a part's their mean, and q* is not used."""
    candidates = [[entry.text for entry in entries] for entries in dictionaries]

    def nearest(entries: Sequence[Entry]) -> Tensor:
        texts = [entry.text for entry in entries]
        return best_matches(texts, candidates, method.encoder.texts).T if texts else torch.zeros(len(candidates), 0)

    means = [nearest(part).sum(1) / max(1, len(part)) for part in method.parts(signed)]
    return nearest([entry for _, entry in list_constraints(signed)]), means, 1.0


def list_constraints(signed: SignedDictionary) -> list[tuple[Sign, Entry]]:
    """Every constraint with its sign: wants, anchors, avoids."""
    parts: tuple[tuple[Sign, Dictionary], ...] = (("want", signed.wants), ("keep", signed.anchors), ("avoid", signed.avoids))
    return [(sign, entry) for sign, entries in parts for entry in entries]
