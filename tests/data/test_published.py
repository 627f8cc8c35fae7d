import pytest

from cirlib.data.published import BENCHMARKS, READ, load_published
from cirlib.types import InputError


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_row_has_a_source_and_fractions(name):
    table = load_published(name)
    assert table.benchmark == name and table.protocol and len({(row.method, row.source) for row in table.rows}) == len(table.rows)
    for row in table.rows:
        assert row.read in READ and row.source and row.setting and row.backbone and row.values
        assert all(0 < value < 1 for value in row.values.values())


def test_recall_grows_with_the_cutoff():
    for name in BENCHMARKS:
        for row in load_published(name).rows:
            for stem in {metric.partition("@")[0] for metric in row.values}:
                curve = sorted(
                    (int(metric.partition("@")[2]), value) for metric, value in row.values.items() if metric.startswith(f"{stem}@")
                )
                assert [value for _, value in curve] == sorted(value for _, value in curve), (name, row.method, stem)


def test_means_of_fashioniq_are_those_of_its_categories():
    """As near as the sources print, some of them with one decimal."""
    for row in load_published("fashioniq").rows:
        for k in (10, 50):
            mean = sum(row.values[f"{part}/recall@{k}"] for part in ("dress", "shirt", "toptee")) / 3
            assert abs(mean - row.values[f"recall@{k}"]) <= 5.1e-4, (row.method, k)


def test_an_unknown_benchmark_is_refused():
    with pytest.raises(InputError, match="no published numbers of 'atelier'; there are some of fashioniq"):
        load_published("atelier")
