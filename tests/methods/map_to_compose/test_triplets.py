"""Triplets from benchmarks, their size, their damage and their measured quality."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirlib.data.atelier import load_atelier
from cirlib.data.atelier.edits import satisfies
from cirlib.data.atelier.truth import find_positives, value_codes
from cirlib.data.triplets import Triplet
from cirlib.methods.map_to_compose.triplets import exact_triplets, first, schema_edit, spoil, triplet_quality
from cirlib.types import Change, Edit, InputError

DRESS = {"category": "dress", "color": "red", "pattern": "solid", "sleeve": "short", "belt": "no"}


@pytest.fixture(scope="module")
def benchmark():
    return load_atelier("train", pictures=128, queries=40)


def many(count):
    return [Triplet(f"r{i}", f"text {i % 7}", f"t{i % 11}", target_caption=f"caption {i % 11}") for i in range(count)]


def test_exact_triplets_are_all_right(benchmark):
    triplets = exact_triplets(benchmark, {benchmark.queries[0].reference: "known"})
    assert [(t.reference, t.text, t.target) for t in triplets] == [(q.reference, q.text, q.target) for q in benchmark.queries]
    assert triplets[0].reference_caption == "known" and triplets[0].target_caption == ""
    quality = triplet_quality(triplets, benchmark.labels)
    assert (quality.count, quality.known) == (40, 40)
    assert quality.holds == quality.keeps == quality.satisfied == quality.kept == 1


def test_held_out_splits_are_refused():
    with pytest.raises(InputError, match="atelier 'val' asked for; train on 'train'"):
        exact_triplets(load_atelier("val", pictures=64, queries=1))


def test_quality_agrees_with_the_truth_of_the_gallery(benchmark):
    """Of random targets, as many satisfy the edit as the vectorised search for positives finds."""
    rng = np.random.default_rng(0)
    ids, codes = benchmark.gallery.ids, value_codes([benchmark.labels[i] for i in benchmark.gallery.ids])
    triplets, expected = [], []
    for query in benchmark.queries * 5:
        row = int(rng.integers(len(ids)))
        triplets.append(Triplet(query.reference, query.text, ids[row], edit=query.edit))
        expected.append(find_positives(query.edit, codes[ids.index(query.reference)], codes)[row])
    triplets += exact_triplets(benchmark)
    quality = triplet_quality(triplets, benchmark.labels)
    assert quality.satisfied == pytest.approx(np.mean(expected + [True] * 40)) and quality.satisfied < 0.5
    assert quality.satisfied <= min(quality.holds, quality.keeps) and quality.keeps <= quality.kept


def test_quality_tells_the_change_from_the_rest():
    edit = Edit((Change("color", "set", "red", "blue", ("blue",)),))
    wrong = {"holds": DRESS | {"color": "blue", "belt": "yes"}, "keeps": DRESS | {"color": "green"}, "both": DRESS | {"color": "blue"}}
    for name, expected in (("holds", (1, 0, 0, 0.75)), ("keeps", (0, 1, 0, 1)), ("both", (1, 1, 1, 1))):
        quality = triplet_quality([Triplet("a", "is blue", "b", edit=edit)], {"a": DRESS, "b": wrong[name]})
        assert (quality.holds, quality.keeps, quality.satisfied, quality.kept) == expected


def test_what_is_not_known_is_not_counted():
    edit = Edit((Change("zipper", "add", "", "yes", ("yes",)),))
    quality = triplet_quality([Triplet("a", "t", "b"), Triplet("a", "t", "b", edit=edit), Triplet("a", "t", "z")], {"a": DRESS, "b": DRESS})
    assert (quality.count, quality.known) == (3, 0) and np.isnan(quality.satisfied)


def test_edits_of_the_lexicon_become_the_schemas():
    swap = Edit((Change("second color", "set", "red", "blue", ("blue",)), Change("lace trim", "remove", "yes", "no", ("no",))))
    assert schema_edit(swap, DRESS).attributes == ("second_color", "trim")
    pattern = schema_edit(Edit((Change("pattern", "set", "solid", "dotted", ("dotted",)),)), DRESS)
    dotted = DRESS | {"pattern": "dotted", "second_color": "white"}
    assert satisfies(pattern, DRESS, dotted) and not satisfies(pattern, DRESS, dotted | {"belt": "yes"})
    assert schema_edit(pattern, DRESS) == pattern
    assert schema_edit(Edit((Change("color", "set", "red", "teal", ("teal",)),)), DRESS) is None


def test_sizes_are_nested_and_shuffled():
    triplets = many(60)
    assert first(triplets, 20, seed=3)[:5] == first(triplets, 5, seed=3)
    assert sorted(first(triplets, 60), key=triplets.index) == triplets and first(triplets, 60) != tuple(triplets)
    assert first(triplets, 20, seed=3) != first(triplets, 20, seed=4)
    with pytest.raises(InputError, match="61 of 60 triplets"):
        first(triplets, 61)


@given(st.integers(2, 40), st.floats(0, 1), st.floats(0, 1), st.integers(0, 5))
def test_damage_is_exact_and_nested(count, less, more, seed):
    less, more = sorted((less, more))
    triplets = many(count)
    small, large = (spoil(triplets, wrong_targets=share, seed=seed) for share in (less, more))
    changed = [[i for i in range(count) if spoilt[i] != triplets[i]] for spoilt in (small, large)]
    assert [len(c) for c in changed] == [round(less * count), round(more * count)]
    assert set(changed[0]) <= set(changed[1]) and all(small[i] == large[i] for i in changed[0])
    for before, after in zip(triplets, large, strict=True):
        assert (before.reference, before.text) == (after.reference, after.text) and after.target_caption == f"caption {after.target[1:]}"


def test_texts_and_targets_are_spoilt_independently(benchmark):
    triplets = exact_triplets(benchmark)
    texts = spoil(triplets, wrong_texts=0.5, seed=1)
    assert [t.target for t in texts] == [t.target for t in triplets]
    spoilt = [i for i, (before, after) in enumerate(zip(triplets, texts, strict=True)) if before.text != after.text]
    assert len(spoilt) == 20 and all(texts[i].edit != triplets[i].edit for i in spoilt)
    both = spoil(triplets, wrong_targets=0.5, wrong_texts=0.5, seed=1)
    assert [t.text for t in both] == [t.text for t in texts] and [t.target for t in both] != [t.target for t in triplets]
    assert triplet_quality(texts, benchmark.labels).satisfied == pytest.approx(0.5, abs=0.05)
    assert triplet_quality(spoil(triplets, wrong_targets=1.0), benchmark.labels).satisfied < 0.1
    assert spoil(triplets) == triplets


def test_impossible_damage_is_refused():
    with pytest.raises(InputError, match=r"wrong_targets = 1\.5"):
        spoil(many(5), wrong_targets=1.5)
    with pytest.raises(InputError, match="all 2 triplets have 'same'"):
        spoil([Triplet("a", "same", "b"), Triplet("c", "same", "d")], wrong_texts=1.0)
    assert spoil([], wrong_targets=1.0) == ()
