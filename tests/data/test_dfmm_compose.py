"""Composed queries against loops that follow the rules word by word."""

import functools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from dfmm_files import make_lines, write_lines

from cirlib.data.dfmm_compose import PER_REFERENCE, choose_gallery, compose_queries, split_of
from cirlib.data.dfmm_labels import PictureLabels, parse_name, read_labels
from cirlib.data.dfmm_texts import is_editable
from cirlib.types import InputError, Query

COUNT = 120


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> PictureLabels:
    return read_labels(*write_lines(tmp_path_factory.mktemp("dfmm"), make_lines(300)))


@pytest.fixture(scope="module")
def pictures(labels: PictureLabels) -> dict[str, dict[str, str]]:
    """The gallery of "test" as words."""
    return {labels.ids[row]: labels.values(row) for row in choose_gallery(labels, "test")}


@pytest.fixture(scope="module")
def queries(labels: PictureLabels) -> list[Query]:
    return compose_queries(labels, choose_gallery(labels, "test"), "test", COUNT)


name_of = functools.cache(parse_name)


def kin(one: str, two: str) -> bool:
    a, b = name_of(one), name_of(two)
    return (a.gender, a.category) == (b.gender, b.category)


def steps_between(one: str, two: str, pictures: dict) -> dict[str, tuple[str, str]] | None:
    """What an edit from one picture to another changes; None where no edit leads there."""
    if not kin(one, two) or name_of(one).product == name_of(two).product:
        return None
    a, b = pictures[one], pictures[two]
    steps = {name: (a[name], b[name]) for name in a.keys() & b.keys() if a[name] != b[name]}
    editable = all(is_editable(name, value) for name, values in steps.items() for value in values)
    return steps if 1 <= len(steps) <= 2 and editable else None


def agreement(one: str, two: str, pictures: dict) -> int:
    return sum(pictures[two].get(name) == value for name, value in pictures[one].items())


def test_gallery_is_one_picture_a_variant(labels: PictureLabels, pictures: dict) -> None:
    variants: dict[tuple, list[int]] = {}
    for row, name in enumerate(labels.names):
        if len(labels.values(row)) >= 6 and split_of(name.product) == "test":
            variants.setdefault((name.product, name.variant), []).append(row)
    assert len(pictures) == len(variants)
    for rows in variants.values():
        views = {labels.names[row].number: labels.ids[row] for row in rows}
        assert views[min(views)] in pictures  # the front is number 1


def test_no_product_is_in_both_splits(labels: PictureLabels) -> None:
    found = {split: {labels.names[row].product for row in choose_gallery(labels, split)} for split in ("val", "test")}
    assert not found["val"] & found["test"]
    assert 0.1 < len(found["val"]) / sum(map(len, found.values())) < 0.3


def test_every_target_is_the_best_that_the_edit_leads_to(queries: list[Query], pictures: dict) -> None:
    for query in queries:
        wanted = {change.attribute: (change.before, change.after) for change in query.edit.changes}
        reached = [other for other in pictures if steps_between(query.reference, other, pictures) == wanted]
        best = max(agreement(query.reference, other, pictures) for other in reached)
        assert query.target in reached and agreement(query.reference, query.target, pictures) == best


def test_positives_are_complete(queries: list[Query], pictures: dict) -> None:
    several = 0
    for query in queries:
        allowed = {change.attribute: change.allowed for change in query.edit.changes}
        before = pictures[query.reference]
        correct = {
            other
            for other, shown in pictures.items()
            if kin(query.reference, other)
            and all(shown.get(name) in values for name, values in allowed.items())
            and all(shown.get(name, value) == value for name, value in before.items() if name not in allowed)
        }
        assert set(query.positives) == correct and len(query.positives) == len(correct)
        assert query.reference not in correct and query.positives[1:] == tuple(sorted(query.positives[1:]))
        several += len(correct) > 1
    assert several > 5


def test_queries_are_balanced(queries: list[Query], pictures: dict) -> None:
    assert max(Counter(query.reference for query in queries).values()) <= PER_REFERENCE
    assert len({(query.reference, query.edit.attributes, *(c.after for c in query.edit.changes)) for query in queries}) == COUNT
    assert [query.id for query in queries[:2]] == ["test-0000", "test-0001"]
    sizes = Counter(len(query.edit.changes) for query in queries)
    assert abs(sizes[1] - sizes[2]) <= 0.1 * COUNT
    families = Counter(query.group for query in queries)
    assert set(families) == {"want-new", "avoid-old", "both"} and min(families.values()) > 0.28 * COUNT
    drawn = Counter((change.attribute, change.after) for query in queries for change in query.edit.changes)
    everything = Counter()
    for one in pictures:
        for other in pictures:
            everything.update((name, after) for name, (_, after) in (steps_between(one, other, pictures) or {}).items())
    assert set(drawn) == set(everything)  # rare values are there too
    common = everything.most_common(1)[0][0]
    assert drawn[common] / drawn.total() < 0.6 * everything[common] / everything.total()


def test_order_of_lines_changes_nothing(labels: PictureLabels, queries: list[Query], tmp_path: Path) -> None:
    again = read_labels(*write_lines(tmp_path, make_lines(300, early=True), order=-1))
    assert compose_queries(again, choose_gallery(again, "test"), "test", COUNT) == queries


def test_similarity_decides_ties_only(labels: PictureLabels, queries: list[Query], pictures: dict) -> None:
    asked = []

    def last(reference: str, candidates: list[str]) -> list[int]:
        asked.append(len(candidates))
        return [sorted(candidates).index(candidate) for candidate in candidates]

    others = compose_queries(labels, choose_gallery(labels, "test"), "test", COUNT, last)
    assert max(asked) > 1
    for ours, theirs, tied in zip(queries, others, asked, strict=True):
        assert ours.reference == theirs.reference and ours.edit == theirs.edit and ours.text == theirs.text
        assert agreement(ours.reference, ours.target, pictures) == agreement(ours.reference, theirs.target, pictures)
        assert theirs.target >= ours.target if tied > 1 else theirs.target == ours.target


def test_too_few_pictures_are_refused(labels: PictureLabels) -> None:
    with pytest.raises(InputError, match=r"9000 queries asked for, but \d+ pictures of DFMM-Compose-R val give \d+; ask for fewer"):
        compose_queries(labels, choose_gallery(labels, "val"), "val", 9000)
    with pytest.raises(InputError, match="0 pictures of DFMM-Compose-R val give 0"):
        compose_queries(labels, np.empty(0, np.int64), "val", 1)
