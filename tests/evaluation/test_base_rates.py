"""Exact rates against every list that there is."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from cirlib.evaluation.attributes import ac_at_k, ac_strict_at_k, ild_at_k, label_table, satisfied
from cirlib.evaluation.base_rates import random_attribute_rates
from cirlib.types import Benchmark, BenchmarkProtocol, Change, Edit, ImageSet, InputError, Query

IDS = tuple("abcdefg")
LABELS = {
    "a": {"color": "red", "belt": "yes"},
    "b": {"color": "blue", "belt": "yes", "sleeve": "long"},
    "c": {"color": "red"},
    "d": {"color": "green", "belt": "no", "sleeve": "short"},
    "e": {"color": "red", "belt": "yes"},
    "f": {"sleeve": "long"},
}
EDITS = (
    Edit((Change("color", "open", "green", "red", ("red", "blue")), Change("belt", "add", "no", "yes", ("yes",)))),
    Edit((Change("sleeve", "set", "long", "short", ("short",)),)),
    None,
)


def make_benchmark(**protocol) -> Benchmark:
    gallery = ImageSet(IDS, lambda i: None, lambda i: i)
    queries = tuple(Query(str(n), ref, "x", ("c",), edit=edit) for n, (ref, edit) in enumerate(zip("dbz", EDITS, strict=True)))
    references = ImageSet((*IDS, "z"), lambda i: None, lambda i: i)
    return Benchmark(
        "made-up", "val", queries, gallery, references, BenchmarkProtocol(**{"exclude_reference": True} | protocol, recall_at=(1,)), LABELS
    )


@pytest.mark.parametrize("exclude", [True, False])
@pytest.mark.parametrize("k", [2, 3])
def test_rates_are_means_over_all_lists(exclude: bool, k: int) -> None:
    benchmark = make_benchmark(exclude_reference=exclude)
    table = label_table(IDS, LABELS)
    expected: dict[str, list[float]] = {"ac": [], "ac_strict": [], "ild": []}
    for query in benchmark.queries:
        candidates = [row for row, name in enumerate(IDS) if not (exclude and name == query.reference)]
        lists = np.array(list(itertools.combinations(candidates, k)))
        hits = satisfied(lists, [query.edit] * len(lists), table)
        expected["ac"].append(ac_at_k(hits, k).mean())
        expected["ac_strict"].append(ac_strict_at_k(hits, k).mean())
        expected["ild"].append(ild_at_k(lists, table, k).mean())
    rates = random_attribute_rates(benchmark)
    assert rates == pytest.approx({name: np.nanmean(values) for name, values in expected.items()})
    assert 0 < rates["ac_strict"] < rates["ac"] < 1


def test_what_has_no_rates() -> None:
    benchmark = make_benchmark()
    with pytest.raises(InputError, match="made-up val has no labels or no edits"):
        random_attribute_rates(replace(benchmark, labels=None))
    with pytest.raises(InputError, match="no edits"):
        random_attribute_rates(replace(benchmark, queries=benchmark.queries[2:]))
    with pytest.raises(InputError, match="each query's own candidates"):
        random_attribute_rates(make_benchmark(candidates="subset"))
    with pytest.raises(InputError, match="has 2 gallery pictures"):
        random_attribute_rates(replace(benchmark, gallery=benchmark.gallery.select("bd")))
