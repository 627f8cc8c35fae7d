"""Mechanisms against loops over a small world, a model that suppresses, one that confuses, and atelier's own structure."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import normalize

from cirlib.data.atelier import load_atelier
from cirlib.methods.dqe_cir import mechanisms
from cirlib.methods.dqe_cir.mechanisms import measure_mechanisms, siblings
from cirlib.methods.dqe_cir.sets import NegativeSets
from cirlib.types import Benchmark, BenchmarkProtocol, Change, Edit, Embeddings, ImageSet, InputError, Query

IDS = tuple("rsabcdefgh")
IMAGES = ImageSet(IDS, lambda name: Image.new("RGB", (4, 4)), lambda name: name)
QUERIES = (
    Query("red", "r", "is red", ("a", "b", "c")),
    Query("blue", "r", "is blue", ("d",)),
    Query("belt", "r", "has a belt", ("e", "f")),
    Query("warm", "r", "is warm", ("b", "g")),  # shares b with red
    Query("other", "s", "is red", ("h", "a")),
)


def world(exclude=True, queries=QUERIES):
    return Benchmark("world", "train", queries, IMAGES, IMAGES, BenchmarkProtocol(exclude, (1, 10)))


def unit_rows(seed, *shape):
    return normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def embedded(benchmark, query, gallery):
    return Embeddings(tuple(q.id for q in benchmark.queries), query), Embeddings(benchmark.gallery.ids, gallery)


def order_of(query, gallery, left_out):
    """Names, best first: the best vector of a picture counts, ties by row."""
    score = (gallery.double() @ query.double()).reshape(len(IDS), -1).amax(1)
    return [IDS[row] for row in score.argsort(descending=True, stable=True).tolist() if IDS[row] != left_out]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([(10, 6), (10, 3, 6)]))
def test_every_field_is_that_of_a_loop(seed, exclude, shape):
    benchmark, query, gallery = world(exclude), unit_rows(seed, 5, 6), unit_rows(seed + 1, *shape)
    found = measure_mechanisms(*embedded(benchmark, query, gallery), benchmark)
    near = {
        "red": ("blue", "belt"),
        "blue": ("red", "belt", "warm"),
        "belt": ("red", "blue", "warm"),
        "warm": ("blue", "belt"),
        "other": (),
    }
    by_id = {q.id: q for q in QUERIES}
    for i, q in enumerate(QUERIES):
        order = order_of(query[i], gallery, q.reference if exclude else None)
        wrong = [name for name in order if name not in q.positives]
        above = {p: sum(order.index(name) < order.index(p) for name in wrong) / len(wrong) for p in q.positives}
        others = q.positives[1:]
        expected = {"target_above": above[q.target], **dict.fromkeys(("unlabelled_above", "unlabelled_rank"), np.nan)}
        if others:
            mean = np.mean([above[p] for p in others])
            ranks = np.array([order.index(p) + 1 for p in others])
            expected |= {"unlabelled_above": mean, "unlabelled_rank": ranks.mean(), "unlabelled_reciprocal": (1 / ranks).mean()}
            expected["suppression"] = mean - above[q.target]
        if near[q.id]:
            group = [by_id[name] for name in near[q.id]]
            expected["confused"] = np.mean([order.index(other.target) < order.index(q.target) for other in group])
            expected["misled"] = float(order[0] not in q.positives and any(order[0] in other.positives for other in group))
            expected["closeness"] = np.mean([float(query[i] @ query[QUERIES.index(other)]) for other in group])
        for name, value in expected.items():
            np.testing.assert_allclose(getattr(found, name)[i], value, atol=1e-6, err_msg=f"{name} of {q.id}")
    assert np.isnan(found.confused[4]) and np.isnan(found.misled[4]) and np.isnan(found.closeness[4]) and np.isnan(found.suppression[1])


def rows_of(*names):
    return torch.eye(len(IDS))[[IDS.index(name) for name in names]]


def test_a_model_that_knows_targets_alone_suppresses_and_does_not_confuse():
    benchmark = world()
    query = normalize(rows_of("a", "d", "e", "b", "h") - 0.1 * rows_of("b", "a", "f", "g", "a"), dim=1)
    found = measure_mechanisms(*embedded(benchmark, query, torch.eye(10)), benchmark)
    assert (found.target_above == 0).all() and (found.suppression[[2, 3, 4]] == 1).all() and found.suppression[0] > 0
    assert np.nansum(found.confused) == np.nansum(found.misled) == 0


def test_a_model_that_mixes_up_edits_is_confused():
    benchmark = world()
    found = measure_mechanisms(*embedded(benchmark, rows_of("d", "a", "d", "d", "h"), torch.eye(10)), benchmark)
    assert found.confused.tolist()[:2] == [0.5, pytest.approx(2 / 3)] and found.misled.tolist()[:4] == [1, 1, 1, 1]
    # blue: a, the answer to red, is first, and b, the answer to warm, ties with its own and has the smaller row
    assert found.closeness[0] == pytest.approx(0.5)  # one of two siblings sits in the same place


def test_siblings_share_a_reference_and_no_answer():
    assert siblings(QUERIES) == [[1, 2], [0, 2, 3], [0, 1, 3], [1, 2], []]


def test_a_look_holds_every_field_and_survives_a_state(tmp_path):
    class Fixed:
        name = "fixed"

        def encode_gallery(self, images):
            return Embeddings(images.ids, torch.eye(10))

        def compose(self, queries, images):
            return Embeddings(tuple(q.id for q in queries), rows_of("a", "d", "e", "b", "h"))

    seen = mechanisms.mechanisms_look(world())(Fixed())
    torch.save(seen, tmp_path / "state.pt")
    again = torch.load(tmp_path / "state.pt", weights_only=True)
    assert set(again) == set(mechanisms.Mechanisms.__dataclass_fields__)
    assert all(values.shape == (5,) and values.dtype == torch.float64 for values in again.values())


def test_expected_share_of_wrong_negatives_is_what_draws_give():
    sets = NegativeSets(torch.tensor([0, 4, 6, 6]), torch.tensor([1, 2, 3, 4, 5, 6]), torch.tensor([0, 0, 0]))
    share = mechanisms.wrong_negative_share(sets, [{2, 4}, {0}, {1}])
    np.testing.assert_array_equal(share, [0.5, 0, np.nan])
    left_out = NegativeSets(torch.tensor([0, 2]), torch.tensor([0, 1]), torch.tensor([0]), (torch.arange(6),))
    assert mechanisms.wrong_negative_share(left_out, [{0, 5}]).tolist() == [0.25]
    assert mechanisms.positive_rows(world())[4] == {9, 2}


@pytest.mark.parametrize("copies", [True, False])
def test_expected_share_in_a_batch_is_what_batches_give(copies):
    queries = tuple(Query(str(n), "r", "", positives) for n, positives in enumerate((("a", "b"), ("b", "a"), ("a",), ("c",), ("b", "c"))))
    expected = mechanisms.wrong_in_batch_share(queries, copies=copies)
    rng, seen = np.random.default_rng(0), [[] for _ in queries]
    for _ in range(4000):
        batch = rng.permutation(5)[:3]
        for i in batch:
            targets = [queries[j].target for j in batch if j != i]
            seen[i] += [name in queries[i].positives for name in targets if copies or name != queries[i].target]
    np.testing.assert_allclose(expected, [np.mean(row) for row in seen], atol=0.03)


def edit(*names):
    return Edit(tuple(Change(name, "set", "", "", ("",)) for name in names))


def test_kinds_come_from_the_structure_and_gates_are_sorted_by_them():
    edits = [edit("color"), edit("second_color", "pattern"), edit("sleeve", "collar"), edit("fit", "color"), edit("sheen")]
    queries = [Query(str(n), "r", "", ("a",), edit=each) for n, each in enumerate(edits)]
    assert mechanisms.edit_kinds(queries) == ["color", "color", "shape", "both", "neither"]
    present, weights = torch.tensor([[True, False]] * 4 + [[False, True]]), torch.arange(10).reshape(5, 2) / 10
    found = mechanisms.gate_values(queries, present, weights, ("color", "shape"))
    np.testing.assert_allclose(found["color"]["color"], [0, 0.2, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(found["shape"]["neither"], [np.nan] * 4 + [0.9])
    assert np.isnan(found["color"]["neither"]).all()
    acting = mechanisms.gate_values(queries, present, weights, ("color", "shape"), acting=True)
    np.testing.assert_allclose(acting["color"]["neither"], [np.nan] * 4 + [0])
    np.testing.assert_allclose(acting["shape"]["shape"], [np.nan, np.nan, 0, np.nan, np.nan])
    with pytest.raises(InputError, match="no structured edit"):
        mechanisms.edit_kinds([replace(queries[0], edit=None)])
    with pytest.raises(InputError, match="5 queries and 3 groups"):
        mechanisms.gate_values(queries, present, weights, ("color", "shape", "texture"))


def test_what_does_not_fit_is_refused():
    benchmark, gallery = world(), torch.eye(10)
    query, pictures = embedded(benchmark, unit_rows(0, 5, 10), gallery)
    with pytest.raises(InputError, match="must follow it"):
        measure_mechanisms(Embeddings(query.ids[::-1], query.rows), pictures, benchmark)
    with pytest.raises(InputError, match="must follow it"):
        measure_mechanisms(query, Embeddings(pictures.ids[:9], gallery[:9]), benchmark)
    lost = world(queries=(replace(QUERIES[0], positives=("a", "z")),))
    with pytest.raises(InputError, match="1 positives .such as 'z'"):
        measure_mechanisms(Embeddings(("red",), query.rows[:1]), pictures, lost)
    with pytest.raises(InputError, match="two or more"):
        mechanisms.wrong_in_batch_share(QUERIES[:1])


def test_atelier_has_siblings_and_second_answers():
    for split in ("train", "val", "test"):
        queries = load_atelier(split, 320, 160).queries
        assert np.mean([len(q.positives) > 1 for q in queries]) > 0.4
        assert np.mean([len(near) > 0 for near in siblings(queries)]) > 0.2
        assert set(mechanisms.edit_kinds(queries)) == set(mechanisms.KINDS)
