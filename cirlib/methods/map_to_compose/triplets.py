"""Triplets of any source: from a benchmark's training queries, how many of them, how good they are, and how to make them worse.

Quality and size are dials. Both are nested: a larger size holds the smaller one's triplets, and a larger share of spoilt triplets holds the
smaller share's, spoilt in the same way, so that two points of a curve differ in the dial alone. The dials are our choice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cirlib.data.atelier import words
from cirlib.data.atelier.edits import satisfies
from cirlib.data.atelier.schema import ATTRIBUTES, COLORS, Design
from cirlib.data.triplets import Triplet
from cirlib.types import Benchmark, Change, Edit, InputError

_SCHEMA_NAMES = {words.key_name(name): name for name in ATTRIBUTES}


def exact_triplets(benchmark: Benchmark, captions: Mapping[str, str] | None = None) -> tuple[Triplet, ...]:
    """The training queries of a benchmark with their designated targets: the best triplets that there are.

    On atelier every target satisfies its edit, by construction. On FashionIQ and CIRR these are the human triplets, with which training is
    no longer zero-shot.

    Args:
        benchmark: A training split ("train"), or a folder with queries of one's own ("all").
        captions: Image id to caption; pictures that are not in it get an empty one.

    Raises:
        InputError: If the split is held out, or a query has no target.
    """
    if benchmark.split not in ("train", "all"):
        raise InputError(f"triplets of {benchmark.name} {benchmark.split!r} asked for; train on 'train', held-out splits are for measuring")
    known = captions or {}
    return tuple(
        Triplet(q.reference, q.text, q.target, known.get(q.reference, ""), known.get(q.target, ""), q.edit) for q in benchmark.queries
    )


def first(triplets: Sequence[Triplet], count: int, seed: int = 0) -> tuple[Triplet, ...]:
    """The first `count` triplets of a shuffle that depends on the seed alone; more of them begin with the fewer.

    Raises:
        InputError: If there are not that many, or the count is negative.

    Example:
        >>> three = [Triplet("a", text, "b") for text in ("one", "two", "three")]
        >>> first(three, 3, seed=1)[:2] == first(three, 2, seed=1)
        True
    """
    if not 0 <= count <= len(triplets):
        raise InputError(f"{count} of {len(triplets)} triplets asked for; ask for 0 to {len(triplets)}")
    order = np.random.default_rng([seed, 0]).permutation(len(triplets))
    return tuple(triplets[int(i)] for i in order[:count])


def spoil(triplets: Sequence[Triplet], wrong_targets: float = 0.0, wrong_texts: float = 0.0, seed: int = 0) -> tuple[Triplet, ...]:
    """Make triplets worse: some get another triplet's target, some another triplet's text, independently of each other.

    A wrong target brings its caption along, and a wrong text its edit, so that `triplet_quality` sees the damage. The number of spoilt
    triplets is the share of all, rounded; which ones and what they get depends on the seed alone. A wrong text may by chance still be
    true, and a wrong target still right: measure what is left.

    Args:
        triplets: Left as they are; order is kept.
        wrong_targets: Share in [0, 1] that gets a target other than its own, out of the others'.
        wrong_texts: Share in [0, 1] that gets a text other than its own, out of the others'.
        seed: Of the choice.

    Raises:
        InputError: If a share is outside [0, 1], or nothing else is there to swap with.
    """
    for name, share in (("wrong_targets", wrong_targets), ("wrong_texts", wrong_texts)):
        if not 0 <= share <= 1:
            raise InputError(f"{name} = {share} given; give a share in [0, 1]")
    spoilt = list(triplets)
    for i, other in _swaps(triplets, wrong_targets, [seed, 1], lambda triplet: triplet.target):
        spoilt[i] = replace(spoilt[i], target=other.target, target_caption=other.target_caption)
    for i, other in _swaps(triplets, wrong_texts, [seed, 2], lambda triplet: triplet.text):
        spoilt[i] = replace(spoilt[i], text=other.text, edit=other.edit)
    return tuple(spoilt)


def _swaps(triplets: Sequence[Triplet], share: float, seed: list[int], field: Callable[[Triplet], str]) -> list[tuple[int, Triplet]]:
    """Positions to spoil, each with the triplet that lends it another value of the field."""
    rng = np.random.default_rng(seed)
    count = len(triplets)
    order = rng.permutation(count)
    starts = rng.integers(0, max(count, 1), count)  # drawn for all, so that a position's swap does not depend on the share
    swaps = []
    for i in order[: round(share * count)]:
        others = (triplets[int((starts[i] + step) % count)] for step in range(count))
        other = next((other for other in others if field(other) != field(triplets[i])), None)
        if other is None:
            raise InputError(f"all {count} triplets have {field(triplets[i])!r}; so there is nothing to swap with; give other triplets")
        swaps.append((int(i), other))
    return swaps


@dataclass(frozen=True)
class TripletQuality:
    """How many triplets are right, as measured on pictures whose designs are known. Shares lie in [0, 1]; NaN where nothing is known.

    Attributes:
        count: Triplets.
        known: Of them, those whose edit and both designs are known; the shares below are of these.
        holds: Share whose target shows every change that the text asks for.
        keeps: Share whose target keeps everything that no change names.
        satisfied: Share with both: the target is a correct answer.
        kept: Of the attributes that no change names, the share that the target keeps, averaged over triplets.
    """

    count: int
    known: int
    holds: float
    keeps: float
    satisfied: float
    kept: float


def triplet_quality(triplets: Sequence[Triplet], designs: Mapping[str, Design]) -> TripletQuality:
    """Measure triplets against the truth of atelier.

    Args:
        triplets: From any maker; edits in the words of the lexicon or of the schema.
        designs: Image id to design: `benchmark.labels`, or `triplet_atelier.designs`.
    """
    rows = []
    for triplet in triplets:
        before, after = designs.get(triplet.reference), designs.get(triplet.target)
        edit = None if triplet.edit is None or before is None else schema_edit(triplet.edit, before)
        if edit is not None and after is not None:
            holds = all(after.get(change.attribute) in change.allowed for change in edit.changes)
            stay = _stays(edit, before, after)
            rows.append((holds, all(stay), satisfies(edit, before, after), np.mean(stay)))
    shares = np.array(rows, float).mean(0) if rows else np.full(4, np.nan)
    return TripletQuality(len(triplets), len(rows), *map(float, shares))


def _stays(edit: Edit, before: Design, after: Design) -> list[bool]:
    """For every attribute that either design has and no change names, whether it is the same; a second colour may go with its pattern."""
    free = set(edit.attributes)
    if "pattern" in free and after["pattern"] == "solid":
        free.add("second_color")
    return [before.get(name) == after.get(name) for name in ATTRIBUTES if name not in free and (name in before or name in after)]


def schema_edit(edit: Edit, reference: Design) -> Edit | None:
    """An edit in atelier's own names, from one in those or in the lexicon's; None where atelier has no such attribute or value.

    A pattern that a plain garment gets brings a second colour; where the text leaves that open, any will do.

    Example:
        >>> edit = Edit((Change("star print", "add", "", "yes", ("yes",)),))
        >>> schema_edit(edit, {"category": "dress", "pattern": "solid"}).attributes
        ('print',)
    """
    changes = []
    for change in edit.changes:
        name = change.attribute if change.attribute in ATTRIBUTES else _SCHEMA_NAMES.get(change.attribute)
        allowed = () if name is None else tuple(value for value in change.allowed if value in ATTRIBUTES[name].values)
        if not allowed:
            return None
        changes.append(replace(change, attribute=name, allowed=allowed))
    named = {change.attribute for change in changes}
    patterned = any(change.attribute == "pattern" and "solid" not in change.allowed for change in changes)
    if patterned and reference["pattern"] == "solid" and "second_color" not in named:
        changes.append(Change("second_color", "open", "", "", COLORS))
    return Edit(tuple(changes))
