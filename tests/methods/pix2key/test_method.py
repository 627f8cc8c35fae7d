"""Pix2Key as a method, through the one evaluation: what its options change, and what they must not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from dictionary_world import DIM, PICTURES, Reader, benchmark, images, method, queries
from hypothesis import given, settings
from hypothesis import strategies as st

from cirlib.evaluation.evaluate import evaluate
from cirlib.methods.pix2key.method import Pix2KeyOptions
from cirlib.methods.pix2key.scoring import score_terms
from cirlib.types import ImageSet, InputError, Method, Query


def ranking(report):
    return report.top.tolist()


def test_queries_become_signed_dictionaries_by_the_merge_rules():
    signed = method().signed(queries(), images())
    assert [[entry.text for entry in part] for part in (signed[0].wants, signed[0].anchors, signed[0].avoids)] == [
        ["color: blue"],
        ["category: dress", "belt: yes"],
        [],
    ]
    assert [entry.text for entry in signed[2].avoids] == ["belt: yes"] and "belt" not in [entry.key for entry in signed[2].anchors]
    removal = signed[1]
    assert [entry.text for entry in removal.wants] == ["category: dress"], "a pure removal searches for the category"


def test_a_search_ranks_by_the_three_terms():
    pix2key = method()
    assert isinstance(pix2key, Method)
    gallery, query = pix2key.encode_gallery(images()), pix2key.compose(queries(), images())
    terms = score_terms(pix2key.embed_signed(pix2key.signed(queries(), images())), gallery.rows).relevance(0.8, 0.4)
    scores = query.rows @ gallery.rows.T
    assert torch.equal(scores.argsort(dim=1, descending=True, stable=True), terms.argsort(dim=1, descending=True, stable=True))
    for rows in (gallery.rows, query.rows):
        assert (torch.linalg.vector_norm(rows, dim=-1) - 1).abs().max() < 1e-6


def test_the_world_is_solved_and_every_part_is_needed():
    pix2key = method(alpha=0.7, beta=0.8)
    assert evaluate(pix2key, benchmark()).mean("recall@3") == 1
    asked = replace(queries()[2], id="again")
    for part, entry in (("use_wants", "color: blue"), ("use_anchors", "category: dress"), ("use_avoids", "belt: yes")):
        less = pix2key.variant(**{part: False})
        signed = less.signed([asked], images())[0]
        assert entry not in [e.text for kept in less.parts(signed) for e in kept]
        assert not torch.equal(less.compose([asked], images()).rows, pix2key.compose([asked], images()).rows)


@given(st.floats(0.01, 1), st.sampled_from(["pooled", "slots"]), st.integers(1, 7), st.integers(1, 9))
@settings(max_examples=12, deadline=None)
def test_recall_at_1_does_not_depend_on_diversity(diversity, matching, pool, select):
    plain = method(matching=matching, pool=pool)
    diverse = plain.variant(diversity=diversity, select=select)
    before, after = evaluate(plain, benchmark()), evaluate(diverse, benchmark())
    assert np.array_equal(before.per_query["recall@1"], after.per_query["recall@1"])
    assert np.array_equal(before.top[:, 0], after.top[:, 0])


@given(st.floats(0, 1), st.sampled_from([2, 3, 5]))
@settings(max_examples=8, deadline=None)
def test_a_pool_of_k_cannot_change_recall_at_k(diversity, k):
    plain, diverse = (evaluate(method(diversity=value, pool=k, select=k), benchmark()) for value in (0.0, diversity))
    assert np.array_equal(plain.per_query[f"recall@{k}"], diverse.per_query[f"recall@{k}"])


@pytest.mark.parametrize("pool", [1, 3, 200])
def test_no_diversity_is_the_search_itself(pool):
    pix2key = method(pool=pool)
    gallery, query = pix2key.encode_gallery(images()), pix2key.compose(queries(), images())
    scores = query.rows @ gallery.rows.T
    best = scores.sort(dim=1, descending=True, stable=True)
    assert torch.equal(pix2key.rerank(queries(), best.indices, best.values, gallery), torch.arange(len(PICTURES)).expand(3, -1))
    assert ranking(evaluate(pix2key, benchmark())) == ranking(evaluate(pix2key.variant(pool=7, select=2), benchmark()))


def test_diversity_parts_copies():
    """The dictionaries of c and g are one: variety puts something between them."""
    plain, diverse = (evaluate(method(diversity=value, beta=1.0), benchmark()).top[2].tolist() for value in (0.0, 0.9))
    places = [list(images().ids).index(name) for name in ("c", "g")]
    assert abs(plain.index(places[0]) - plain.index(places[1])) == 1 < abs(diverse.index(places[0]) - diverse.index(places[1]))


def test_slots_rank_by_constraints_and_ties_by_the_pooled_score():
    report = evaluate(method(matching="slots", alpha=0.6, beta=1.0), benchmark())
    assert report.ranks.tolist()[0] == 1 and report.mean("recall@2") == 1  # c and g are copies: one of them must be second


def test_an_image_share_joins_both_similarities():
    for matching in ("pooled", "slots"):
        pix2key = method(image_weight=0.999, matching=matching)
        gallery = pix2key.encode_gallery(images())
        assert gallery.rows.shape == (len(PICTURES), 2 * DIM)
        top = evaluate(pix2key, benchmark(exclude_reference=False)).top
        assert [images().ids[row] for row in top[:, 0]] == [query.reference for query in queries()]


def test_dictionaries_are_written_once_per_content_and_edits_once_per_reference():
    pix2key = method()
    evaluate(pix2key, benchmark())
    evaluate(pix2key.variant(alpha=0.5, implicit_negatives=True, separator=", "), benchmark())
    assert len(pix2key.dictionaries.asked) == len(set(PICTURES.values())) and len(pix2key.parser.asked) == len(queries())
    assert pix2key.outcomes["pictures without a dictionary"] == 1


def test_implicit_negatives_avoid_what_the_edit_replaces():
    avoids = method(implicit_negatives=True).signed(queries()[:1], images())[0].avoids
    assert [entry.text for entry in avoids] == ["color: red"]


def test_a_query_without_constraints_is_its_text_and_is_counted():
    pix2key = method()
    asked = (Query("lost", "h", "something else"),)
    torch.testing.assert_close(pix2key.compose(asked, images()).rows, pix2key.encoder.texts(["something else"]))
    assert pix2key.outcomes["queries without a constraint"] == 1


def test_pairs_beyond_the_context_are_dropped_whole_and_counted_once():
    pix2key = method(context=30)
    assert pix2key.texts(images())[0] == "category: dress; color: red"
    evaluate(pix2key.variant(alpha=0.5), benchmark())
    longer = sum(len(text) > 30 for text in set(PICTURES.values()))
    assert pix2key.outcomes["dictionaries cut to the context"] == longer == pix2key.outcomes["pairs dropped"]


def test_a_rerank_by_slots_refuses_what_it_has_not_seen():
    pix2key = method(matching="slots")
    gallery = pix2key.encode_gallery(images())
    pool, scores = torch.tensor([[0, 1]]), torch.ones(1, 2)
    with pytest.raises(InputError, match="query 'blue' was not embedded by this method"):
        pix2key.rerank(queries()[:1], pool, scores, gallery)
    pix2key.compose(queries(), images())
    with pytest.raises(InputError, match="this gallery was not embedded"):
        pix2key.rerank(queries()[:1], pool, scores, replace(gallery, ids=tuple(reversed(gallery.ids))))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"alpha": 2}, "alpha 2 given"),
        ({"beta": -1}, "beta -1 given"),
        ({"diversity": 1.1}, "diversity 1.1 given"),
        ({"image_weight": -0.1}, "image_weight -0.1 given"),
        ({"pool": 0}, "pool 0 and select 50"),
        ({"select": 0}, "select 0 given"),
        ({"matching": "both"}, "matching 'both' is not known; choose pooled or slots"),
    ],
)
def test_options_out_of_range_are_named(option, message):
    with pytest.raises(InputError, match=message):
        Pix2KeyOptions(**option)


def test_equal_pictures_share_a_dictionary_whatever_their_ids():
    reader = Reader()
    pix2key = method()
    pix2key.dictionaries = reader
    twins = ImageSet(("a", "b"), images().opener, lambda image_id: "one content")
    assert pix2key.read(twins)[0] == pix2key.read(twins)[1] and reader.asked == ["a"]
