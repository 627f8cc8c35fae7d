import dataclasses
import re

import pytest

from cirlib.data.atelier import load_atelier
from cirlib.data.atelier.probes import family_of, paraphrases, swap_references
from cirlib.types import InputError


@pytest.fixture(scope="module")
def benchmark():
    return load_atelier("val", 192, 60)


def test_paraphrases_change_the_words_and_nothing_else(benchmark):
    found = paraphrases(benchmark, 4)
    assert len(found) == 4
    for place, query in enumerate(benchmark.queries):
        others = [other.queries[place] for other in found]
        assert all(dataclasses.replace(other, text=query.text) == query for other in others)
        assert len({query.text, *(other.text for other in others)}) == 5
    assert all(other.gallery is benchmark.gallery and other.protocol == benchmark.protocol for other in found)


def test_paraphrases_say_the_same_edit(benchmark):
    """A colour that is asked for by name is named in every phrasing, and a removal never adds."""
    for other in paraphrases(benchmark, 4):
        for query in other.queries:
            for change in query.edit.changes:
                if change.attribute == "color" and change.kind == "set":
                    assert re.search(rf"\b{change.after}\b", query.text)
                if change.attribute == "belt":
                    adds = re.search(r"\b(has a|comes with a|adds a|with a) belt", query.text)
                    assert bool(adds) == (change.kind == "add")


def test_paraphrases_do_not_depend_on_their_number_or_on_chance(benchmark):
    short, long = paraphrases(benchmark, 2), paraphrases(benchmark, 5)
    assert [b.queries for b in short] == [b.queries for b in long[:2]]


def test_swapped_references_are_strangers_of_the_same_kind(benchmark):
    swapped = swap_references(benchmark)
    assert swapped == swap_references(benchmark)
    groups = {query.reference: query.group for query in benchmark.queries}
    families = {}
    for query in benchmark.queries:
        families.setdefault(query.group, set()).add(family_of(query.reference))
    for before, after in zip(benchmark.queries, swapped.queries, strict=True):
        assert dataclasses.replace(after, reference=before.reference) == before
        assert family_of(after.reference) != family_of(before.reference) and after.reference not in after.positives
        assert len(families[before.group]) == 1 or groups[after.reference] == before.group


def test_bad_input_is_refused(benchmark):
    plain = dataclasses.replace(benchmark, queries=tuple(dataclasses.replace(query, edit=None) for query in benchmark.queries))
    with pytest.raises(InputError, match="no structured edit"):
        paraphrases(plain, 1)
    with pytest.raises(InputError, match="0 paraphrases"):
        paraphrases(benchmark, 0)
    with pytest.raises(InputError, match="ask for fewer than 5000"):
        paraphrases(benchmark, 5000)
    with pytest.raises(InputError, match="no query of another family"):
        swap_references(load_atelier("val", 64, 8))
