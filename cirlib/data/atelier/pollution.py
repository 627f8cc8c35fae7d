"""Truth that errs: a share of training queries gets another family member's target, so that its own right picture counts as a wrong one.

Wrong targets are drawn among the targets of other spoilt queries of the family. The picture that a query should have had thus stands in the
batch as the target of somebody else: a false negative, beside the false positive that took its place.
"""

from dataclasses import replace

from cirlib.data.atelier.probes import family_of
from cirlib.data.atelier.splits import generator
from cirlib.types import Benchmark, InputError, Query

_PURPOSE = 6  # of the generators; pictures, queries, probes and turns use 0 to 5


def pollute(benchmark: Benchmark, share: float, seed: int = 0) -> Benchmark:
    """The benchmark with wrong targets for a share of its queries; their positives are then the wrong target alone.

    Args:
        benchmark: Of atelier.
        share: In [0, 1], of the queries, rounded to whole ones. The same seed spoils a growing set of queries as the share grows.
        seed: Which queries are spoilt.

    Raises:
        InputError: If the share is not in [0, 1], or the benchmark is another one.

    Example:
        >>> from cirlib.data.atelier import load_atelier
        >>> clean = load_atelier("train", 64, 8)
        >>> sum(a.target != b.target for a, b in zip(clean.queries, pollute(clean, 0.5).queries))
        4
    """
    if not 0 <= share <= 1 or benchmark.name != "atelier":
        raise InputError(f"share {share} of {benchmark.name} to be spoilt; give atelier and a share between 0 and 1")
    rng = generator(benchmark.split, seed, _PURPOSE)
    order = [int(place) for place in rng.permutation(len(benchmark.queries))]
    spoilt = order[: round(share * len(order))]
    targets: dict[int, list[str]] = {}
    for place in spoilt:
        query = benchmark.queries[place]
        targets.setdefault(family_of(query.reference), []).append(query.target)
    queries = list(benchmark.queries)
    for place in spoilt:
        queries[place] = _misled(benchmark, place, targets[family_of(queries[place].reference)], seed)
    return replace(benchmark, queries=tuple(queries))


def _misled(benchmark: Benchmark, place: int, targets: list[str], seed: int) -> Query:
    """The query with a target that is wrong: one of a spoilt sibling, or a look-alike where no sibling has a wrong one."""
    query = benchmark.queries[place]
    wrong = [name for name in targets if name not in query.positives and name != query.reference]
    wrong = wrong or [name for name in query.subset if name not in query.positives]
    rng = generator(benchmark.split, 1_000_003 * (1 + seed) + place, _PURPOSE)
    target = wrong[int(rng.integers(len(wrong)))]
    subset = tuple(dict.fromkeys(target if name == query.target else name for name in query.subset))
    return replace(query, positives=(target,), subset=subset)
