from collections import Counter

import pytest

from cirlib.data.atelier import benchmark as atelier_benchmark
from cirlib.data.atelier import load_atelier, load_pictures
from cirlib.data.atelier.edits import satisfies
from cirlib.data.atelier.schema import held_out_pair
from cirlib.data.atelier.splits import FAMILY
from cirlib.types import InputError


@pytest.fixture(scope="module")
def benchmark():
    return load_atelier("test", 10 * FAMILY, 120)


def test_positives_are_complete_and_exact(benchmark):
    """Brute force: every query against every picture of the gallery, with the definition and not the vectorised search."""
    for query in benchmark.queries:
        reference = benchmark.labels[query.reference]
        correct = {image_id for image_id in benchmark.gallery.ids if satisfies(query.edit, reference, benchmark.labels[image_id])}
        assert correct == set(query.positives), query
        assert len(set(query.positives)) == len(query.positives)


def test_queries_are_well_formed(benchmark):
    assert len(benchmark.queries) == len({query.id for query in benchmark.queries}) == 120
    for query in benchmark.queries:
        assert query.reference not in query.positives and query.reference not in query.subset
        assert query.target in query.subset and len(set(query.subset)) == 6
        assert not (set(query.subset) - {query.target}) & set(query.positives), "a look-alike of the subset is itself correct"
        family = int(query.reference[-6:]) // FAMILY
        assert all(int(member[-6:]) // FAMILY == family for member in query.subset)
        assert query.text and query.target not in query.text


def test_the_place_of_the_target_in_its_subset_tells_nothing(benchmark):
    places = [query.subset.index(query.target) for query in benchmark.queries]
    assert set(places) == set(range(6))


def test_a_small_gallery_is_the_beginning_of_a_large_one(benchmark):
    small = load_atelier("test", 5 * FAMILY, 60)
    assert small.gallery.ids == benchmark.gallery.ids[: 5 * FAMILY]
    assert [(q.reference, q.text) for q in small.queries] == [(q.reference, q.text) for q in benchmark.queries[:60]]


def test_compositional_targets_show_pairs_that_no_other_split_shows(benchmark):
    compositional = load_atelier("test-compositional", 5 * FAMILY, 60)
    assert all(held_out_pair(compositional.labels[query.target]) for query in compositional.queries)
    assert not any(held_out_pair(design) for design in benchmark.labels.values())
    train = load_atelier("train", 5 * FAMILY, 60)
    assert not any(held_out_pair(design) for design in train.labels.values())


def test_a_family_that_gives_few_queries_is_made_up_by_the_next(monkeypatch):
    def short_second_family(split, family, wanted, known, codes):
        return real(split, family, min(wanted, 3) if family == 1 else wanted, known, codes)

    real = atelier_benchmark._family_queries
    monkeypatch.setattr(atelier_benchmark, "_family_queries", short_second_family)
    queries = load_atelier("val", 4 * FAMILY, 40).queries
    assert Counter(query.id.split("-")[1] for query in queries) == {"0000": 10, "0001": 3, "0002": 17, "0003": 10}


def test_content_hash_tells_pictures_apart():
    images = load_pictures("val", 6)
    assert len({images.content_hash(image_id) for image_id in images.ids}) == 6
    assert images.open(images.ids[0]).size == (96, 96)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dev",), "no split 'dev'"),
        (("pretrain",), "no queries"),
        (("test", 65), "multiple of 64"),
        (("test", 64, 100_000), "give only"),
    ],
)
def test_bad_requests_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        load_atelier(*arguments)


def test_no_pictures_asked_for():
    with pytest.raises(InputError, match="ask for 1 or more"):
        load_pictures("test", 0)
