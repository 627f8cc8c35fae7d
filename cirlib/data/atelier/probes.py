"""Probes: the same questions asked otherwise, so that a method can be compared with itself.

A paraphrase changes the words and nothing else: edit, reference and truth stay. A swapped reference changes the picture and nothing else:
what a method still finds of the old target, it finds without having looked.
"""

from dataclasses import replace

from cirlib.data.atelier.benchmark import CAPTION_JOIN
from cirlib.data.atelier.edits import caption_pair
from cirlib.data.atelier.splits import FAMILY, generator
from cirlib.types import Benchmark, InputError, Query

_DRAWS = 200  # before a query is said to have too few phrasings
_PARAPHRASE, _SWAP = 3, 4  # purposes of the generators; pictures and queries use 0 to 2


def paraphrases(benchmark: Benchmark, count: int) -> list[Benchmark]:
    """The benchmark in other words, several times: every query's edit is put into captions anew.

    Args:
        benchmark: Of atelier.
        count: How many, 1 or more.

    Returns:
        Benchmarks with the same ids, references and positives; the texts of a query differ from its own and from each other. The first ones
        are the same whatever the count.

    Raises:
        InputError: If the benchmark has no structured edits, or a query has too few phrasings.
    """
    if count < 1:
        raise InputError(f"{count} paraphrases asked for; ask for 1 or more")
    texts = [_other_texts(benchmark, place, query, count) for place, query in enumerate(benchmark.queries)]
    return [
        replace(benchmark, queries=tuple(replace(q, text=other[turn]) for q, other in zip(benchmark.queries, texts, strict=True)))
        for turn in range(count)
    ]


def _other_texts(benchmark: Benchmark, place: int, query: Query, count: int) -> list[str]:
    """Texts of one query, distinct, in the order in which they are drawn."""
    if query.edit is None or benchmark.name != "atelier" or benchmark.labels is None:
        raise InputError(f"query {query.id!r} of {benchmark.name} has no structured edit to put into other words; give atelier")
    rng, found = generator(benchmark.split, place, _PARAPHRASE), {query.text: None}
    for _ in range(_DRAWS):
        found[" and ".join(caption_pair(rng, query.edit, benchmark.labels[query.reference]))] = None
        if len(found) > count:
            return list(found)[1:]
    raise InputError(f"query {query.id!r} can be said in {len(found)} ways ({CAPTION_JOIN}); ask for fewer than {count} paraphrases")


def swap_references(benchmark: Benchmark) -> Benchmark:
    """The benchmark with each query's reference replaced by a reference of another family, of the same kind of garment where there is one.

    Targets, positives and texts stay, so recall now says how often the old target is found without its reference.

    Raises:
        InputError: If a query has no other family to take a reference from.
    """
    queries = tuple(replace(query, reference=_stranger(benchmark, place, query)) for place, query in enumerate(benchmark.queries))
    return replace(benchmark, queries=queries)


def _stranger(benchmark: Benchmark, place: int, query: Query) -> str:
    """A reference of another family, at random but always the same."""
    own, taken = family_of(query.reference), set(query.positives)
    others = [q for q in benchmark.queries if family_of(q.reference) != own and q.reference not in taken]
    others = [q for q in others if q.group == query.group] or others
    if not others:
        raise InputError(f"query {query.id!r} has no query of another family to take a reference from; use more pictures")
    return others[int(generator(benchmark.split, place, _SWAP).integers(len(others)))].reference


def family_of(image_id: str) -> int:
    """Number of the family that a picture belongs to.

    Example:
        >>> family_of("test-000064")
        1
    """
    return int(image_id.rsplit("-", 1)[1]) // FAMILY
