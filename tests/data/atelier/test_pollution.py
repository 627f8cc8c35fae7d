import dataclasses

import pytest

from cirlib.data.atelier import load_atelier
from cirlib.data.atelier.pollution import pollute
from cirlib.data.atelier.probes import family_of
from cirlib.types import InputError


@pytest.fixture(scope="module")
def benchmark():
    return load_atelier("train", 128, 60)


def changed(before, after):
    return {a.id for a, b in zip(before.queries, after.queries, strict=True) if a != b}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_a_share_of_the_queries_is_misled_by_a_sibling(benchmark, share):
    spoilt = pollute(benchmark, share)
    assert len(changed(benchmark, spoilt)) == round(share * 60)
    for before, after in zip(benchmark.queries, spoilt.queries, strict=True):
        if before != after:
            assert len(after.positives) == 1 and after.target not in (*before.positives, before.reference)
            assert family_of(after.target) == family_of(before.reference) and after.target in after.subset
            assert (after.id, after.reference, after.text) == (before.id, before.reference, before.text)


def test_most_right_pictures_stand_in_the_truth_of_somebody_else(benchmark):
    spoilt = pollute(benchmark, 0.5)
    misled = changed(benchmark, spoilt)
    wrong = {query.target for query in spoilt.queries if query.id in misled}
    right = [query.target for query in benchmark.queries if query.id in misled]
    assert sum(name in wrong for name in right) > len(right) / 2


def test_a_larger_share_spoils_more_of_the_same(benchmark):
    few, many = changed(benchmark, pollute(benchmark, 0.1)), changed(benchmark, pollute(benchmark, 0.5))
    assert few < many and few != changed(benchmark, pollute(benchmark, 0.1, seed=1))
    assert pollute(benchmark, 0.3) == pollute(benchmark, 0.3)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_bad_input_is_refused(benchmark, share):
    with pytest.raises(InputError, match="between 0 and 1"):
        pollute(benchmark, share)
    with pytest.raises(InputError, match="give atelier"):
        pollute(dataclasses.replace(benchmark, name="cirr"), 0.5)
