import pytest

from cirlib.data.atelier import load_atelier
from cirlib.types import Benchmark, InputError
from cirlib.viz.data import count_changes, count_values, plot_queries, plot_text_lengths, plot_values

LABELS = {
    "a": {"color": "red", "belt": "yes"},
    "b": {"color": "red", "belt": "no"},
    "c": {"color": "blue"},
}


@pytest.fixture(scope="module")
def benchmark():
    return load_atelier("val", 64, 30, size=32)


def test_values_are_counted_where_they_apply():
    rows = count_values(LABELS).to_dict("records")
    assert [(r["attribute"], r["value"], r["count"]) for r in rows] == [
        ("color", "red", 2),
        ("color", "blue", 1),
        ("belt", "yes", 1),
        ("belt", "no", 1),
    ]
    assert [r["share"] for r in rows] == pytest.approx([2 / 3, 1 / 3, 0.5, 0.5])
    assert count_values({}).empty


def test_changes_are_counted_by_attribute_and_kind(benchmark):
    table = count_changes(benchmark)
    expected = [(change.attribute, change.kind) for query in benchmark.queries for change in query.edit.changes]
    assert table.to_numpy().sum() == len(expected)
    for name in table.index:
        for kind in table.columns:
            assert table.loc[name, kind] == expected.count((name, kind))
    assert list(table.sum(axis=1)) == sorted(table.sum(axis=1), reverse=True)


def test_value_panels_show_the_shares():
    figure = plot_values(LABELS, columns=2)
    color, details = figure.axes[:2]
    assert [bar.get_width() for bar in color.patches] == pytest.approx([2 / 3, 1 / 3])
    assert "details (share of yes)" in {details.get_title(place) for place in ("left", "center")}
    assert [bar.get_width() for bar in details.patches] == [0.5]


def test_query_panels_show_every_query_and_change(benchmark):
    left, right = plot_queries(benchmark).axes
    assert sum(bar.get_height() for bar in left.patches) == pytest.approx(1)
    assert sum(bar.get_width() for bar in right.patches) == sum(len(query.edit.changes) for query in benchmark.queries)


def test_text_lengths_show_the_median():
    axis = plot_text_lengths({"atelier": [4, 6, 20], "other": [3]}).axes[0]
    assert [text.get_text() for text in axis.texts] == ["6", "3"]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["atelier", "other"]


def test_bad_requests_are_named(benchmark):
    plain = Benchmark("folder", "all", (), benchmark.gallery, benchmark.references, benchmark.protocol)
    with pytest.raises(InputError, match="folder has no structured edits"):
        count_changes(plain)
    with pytest.raises(InputError, match="no labels"):
        plot_values({})
    with pytest.raises(InputError, match="without texts"):
        plot_text_lengths({"atelier": []})
