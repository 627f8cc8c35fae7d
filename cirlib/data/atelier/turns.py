"""Two turns: a first edit leads from a picture to a second one, a second edit on to the goal. Truth is known for both.

Edits name a value, add or take away one thing each, on different attributes, so that they hold in either order and together, whatever
picture the user goes on from.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cirlib.data.atelier.benchmark import CAPTION_JOIN, load_pictures
from cirlib.data.atelier.edits import build_edit, caption_pair, differing
from cirlib.data.atelier.schema import VERSION
from cirlib.data.atelier.splits import FAMILY, Picture, generator, picture
from cirlib.data.atelier.truth import find_positives, value_codes
from cirlib.types import Benchmark, BenchmarkProtocol, Edit, ImageSet, InputError, Query

Conversation = tuple[tuple[int, int, int], tuple[Edit, Edit], tuple[str, ...]]
PLAIN = ("set", "add", "remove")  # kinds whose answer does not depend on the picture that they start from
_PURPOSE = 5  # of the generators; pictures, queries and probes use 0 to 4


@dataclass(frozen=True)
class Dialogues:
    """The same conversations in three forms, with the same ids in the same order.

    Attributes:
        first: The first edit on its picture; correct is what satisfies it and keeps the rest.
        second: The second edit on the designated answer of the first; correct is what satisfies both and keeps the rest: the goal.
        at_once: Both edits in one text on the first picture; correct is the goal.
    """

    first: Benchmark
    second: Benchmark
    at_once: Benchmark


def load_dialogues(split: str = "test", pictures: int = 2560, count: int = 200) -> Dialogues:
    """Conversations of two turns within the families of a split.

    Args:
        split: "train", "val", "test" or "test-compositional".
        pictures: Gallery size, a multiple of the family size (64).
        count: Number of conversations, spread evenly over the families.

    Raises:
        InputError: If the sizes do not fit, or the families cannot give that many.
    """
    if split == "pretrain" or pictures < FAMILY or pictures % FAMILY or count < 1:
        raise InputError(
            f"{count} dialogues over {pictures} pictures of {split} asked for; give a split with queries, a multiple of {FAMILY}"
        )
    known = [picture(split, index) for index in range(pictures)]
    codes = value_codes([p.design for p in known])
    families = pictures // FAMILY
    turns: list[tuple[Query, Query, Query]] = []
    for family in range(families):
        due = round(count * (family + 1) / families)
        for (a, b, c), edits, texts in _conversations(split, family, known):
            if len(turns) == due:
                break
            name = f"{split}-{family:04d}-{len(turns):04d}"
            middle, goal = (find_positives(edit, codes[start], codes) for edit, start in zip(edits, (a, b), strict=True))
            right = [_named(known, b, middle), _named(known, c, goal)]
            start, group = (known[a].id, known[b].id), known[a].design["category"]
            one, two = (Query(name, start[n], texts[n], right[n], edit=edits[n], group=group) for n in (0, 1))
            turns.append((one, two, replace(one, text=texts[2], positives=right[1], edit=_both(edits))))
    if len(turns) < count:
        raise InputError(f"{count} dialogues asked for, but {pictures} pictures of atelier {split} give only {len(turns)}; ask for fewer")
    gallery, labels = load_pictures(split, pictures), {p.id: dict(p.design) for p in known}
    return Dialogues(*(_benchmark(split, queries, gallery, labels) for queries in zip(*turns, strict=True)))


def _conversations(split: str, family: int, known: list[Picture]) -> Iterator[Conversation]:
    """Start, middle and goal of a family in random order, both edits, and the texts of each and of both; no start and goal twice."""
    rng, members = generator(split, family, _PURPOSE), range(family * FAMILY, (family + 1) * FAMILY)
    steps = [(a, b) for a in members for b in members if len(differing(known[a].design, known[b].design)) == 1]
    onward = {a: [c for b, c in steps if b == a] for a in members}
    seen: set[tuple[int, int]] = set()
    for place in rng.permutation(len(steps)):
        a, b = steps[int(place)]
        c = onward[b][int(rng.integers(len(onward[b])))] if onward[b] else a
        edits = [build_edit(rng, known[x].design, known[y].design) for x, y in ((a, b), (b, c))]
        if None in edits or (a, c) in seen or not _independent(*edits):
            continue
        seen.add((a, c))
        asked = ((edits[0], a), (edits[1], b), (_both(edits), a))
        yield (a, b, c), tuple(edits), tuple(" and ".join(caption_pair(rng, edit, known[start].design)) for edit, start in asked)


def _both(edits: Sequence[Edit]) -> Edit:
    return Edit(tuple(change for edit in edits for change in edit.changes))


def _independent(first: Edit, second: Edit) -> bool:
    """Whether both edits change one thing each, plainly, and not the same; a pattern and its second colour belong together."""
    touched = [{"pattern" if name == "second_color" else name for name in edit.attributes} for edit in (first, second)]
    plain = all(change.kind in PLAIN for edit in (first, second) for change in edit.changes)
    return plain and len(touched[0]) == len(touched[1]) == 1 and touched[0] != touched[1]


def _named(known: list[Picture], target: int, correct) -> tuple[str, ...]:
    """Ids of all correct pictures, the designated one first."""
    return (known[target].id, *(known[row].id for row in correct.nonzero()[0] if row != target))


def _benchmark(split: str, queries: tuple[Query, ...], gallery: ImageSet, labels: dict[str, dict[str, str]]) -> Benchmark:
    protocol = BenchmarkProtocol(
        exclude_reference=True,
        recall_at=(1, 10),
        map_at=(10,),
        gallery=f"first {len(gallery)} pictures of {split}",
        caption_join=CAPTION_JOIN,
    )
    return Benchmark("atelier", split, queries, gallery, gallery, protocol, labels, version=VERSION)
