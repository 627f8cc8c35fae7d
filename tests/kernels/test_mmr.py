"""Batched MMR against a slow loop, and what must hold whatever the numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from cirlib.kernels import mmr
from cirlib.kernels.mmr import mmr_order
from cirlib.types import InputError

EXACT = np.float64(1e-6)  # rows are rounded to 2^-27 before cosines are taken exactly; nothing else may move a value


def slow_values(scores, vectors, diversity, selected):
    """Value of every candidate given what is selected: one query, plain loops."""
    low, high = scores.min(), scores.max()
    values = []
    for i, score in enumerate(scores):
        relevance = (score - low) / (high - low) if high > low else 1.0
        if not selected:
            values.append(relevance)
            continue
        distances = [(1 - sum(a * b for a, b in zip(vectors[i], vectors[j], strict=True))) / 2 for j in selected]
        values.append((1 - diversity) * relevance + diversity * min(distances))
    return values


def slow_mmr(scores, vectors, diversity, select):
    """The whole order of one query."""
    selected: list[int] = []
    while len(selected) < min(select, len(scores)):
        values = slow_values(scores, vectors, diversity, selected)
        selected.append(max((i for i in range(len(scores)) if i not in selected), key=lambda i: (values[i], -i)))
    rest = sorted((i for i in range(len(scores)) if i not in selected), key=lambda i: (-scores[i], i))
    return selected + rest


def order_of(scores, vectors, diversity, select, **more):
    """One query whose pool is the whole gallery."""
    pool = torch.arange(len(scores))[None]
    return mmr_order(torch.as_tensor(scores)[None], pool, torch.as_tensor(vectors), diversity, select, **more)[0].tolist()


# Entries, scores and diversities are multiples of small powers of two: both sides compute without rounding, so ties must break alike.
AXES = [(1.0, 0, 0, 0), (-1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0), (0.5, 0.5, 0.5, 0.5), (0.5, -0.5, 0.5, -0.5)]
items = st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.sampled_from(AXES)), min_size=1, max_size=9)


@given(items, st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.integers(1, 10))
@settings(max_examples=150, deadline=None)
def test_equals_the_slow_loop_where_nothing_is_rounded(pool, diversity, select):
    scores, vectors = np.array([score for score, _ in pool]), np.array([vector for _, vector in pool])
    scores = np.concatenate([scores, [0.0, 1.0]])  # a spread of exactly one, so that normalising does not round
    vectors = np.concatenate([vectors, [AXES[2], AXES[3]]])
    expected = slow_mmr(scores, vectors, diversity, select) if diversity else slow_mmr(scores, vectors, 0.0, 1)  # in order of relevance
    assert order_of(scores, vectors, diversity, select) == expected


@given(st.integers(0, 10_000), st.floats(0.01, 1), st.integers(1, 14), st.integers(2, 12))
@settings(max_examples=40, deadline=None)
def test_every_pick_is_the_best_one_left(seed, diversity, select, dim):
    generator = torch.Generator().manual_seed(seed)
    vectors = normalize(torch.randn(14, dim, generator=generator), dim=-1)
    scores = torch.randn(14, generator=generator)
    order = order_of(scores, vectors, diversity, select)
    exact = vectors.double().numpy()
    for step in range(1, select):
        values = slow_values(scores.double().numpy(), exact, diversity, order[:step])
        left = [value for i, value in enumerate(values) if i not in order[:step]]
        assert values[order[step]] >= max(left) - EXACT
    assert order[select:] == [i for i in scores.argsort(descending=True).tolist() if i not in order[:select]]
    assert sorted(order) == list(range(14)) and order[0] == int(scores.argmax())


@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-5, 1.0])
@pytest.mark.parametrize("copies", [1, 4, 30])
def test_the_filter_never_changes_an_order(monkeypatch, noise, copies):
    """Pools of copies and of near copies: the fp32 filter beside the exact way alone."""
    generator = torch.Generator().manual_seed(copies)
    kinds = normalize(torch.randn(120 // copies, 48, generator=generator) + 1, dim=-1)
    gallery = kinds.repeat_interleave(copies, dim=0) + noise * torch.randn(120, 48, generator=generator)
    pool = torch.rand(6, 120, generator=generator).argsort(dim=1)[:, :90]
    scores = (gallery[pool] @ normalize(torch.randn(6, 48, generator=generator) + 1, dim=-1)[:, :, None])[:, :, 0]
    settled = []
    settle = mmr._settle
    monkeypatch.setattr(mmr, "_settle", lambda *args: settled.append(len(args[1])) or settle(*args))
    found = mmr_order(scores, pool, gallery, 0.4, 40)
    assert copies != 4 or noise > 1e-6 or settled, "a few copies are told apart exactly"
    monkeypatch.setattr(mmr, "_RIVALS", 0)
    assert torch.equal(found, mmr_order(scores, pool, gallery, 0.4, 40))


@given(st.integers(0, 10_000), st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_no_diversity_is_the_order_of_relevance(seed, select):
    scores = torch.randint(0, 4, (5, 9), generator=torch.Generator().manual_seed(seed)).float()
    vectors = normalize(torch.randn(20, 4, generator=torch.Generator().manual_seed(seed)), dim=-1)
    pool = torch.randint(0, 20, (5, 9), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(mmr_order(scores, pool, vectors, 0.0, select), scores.argsort(dim=1, descending=True, stable=True))


def test_chunks_do_not_change_an_order_and_queries_do_not_see_each_other():
    generator = torch.Generator().manual_seed(3)
    vectors = normalize(torch.randn(40, 6, generator=generator), dim=-1)
    pool = torch.stack([torch.randperm(40, generator=generator)[:12] for _ in range(7)])
    scores = torch.rand(7, 12, generator=generator)
    whole = mmr_order(scores, pool, vectors, 0.6, 8)
    assert all(torch.equal(mmr_order(scores, pool, vectors, 0.6, 8, chunk_size=size), whole) for size in (1, 2, 3, 100))
    for query in range(7):
        alone = order_of(scores[query], vectors[pool[query]], 0.6, 8)
        assert alone == whole[query].tolist()


def test_equal_pictures_tie_though_products_round():
    """Copies of a picture stand at one distance from everything, wherever in the batch they lie."""
    generator = torch.Generator().manual_seed(0)
    first, second, third = normalize(torch.randn(3, 193, generator=generator), dim=-1)
    vectors = torch.stack([first, second, third, second, second, third, second])
    scores = torch.tensor([1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    order = order_of(scores, vectors, 0.5, 7)
    assert order[0] == 0 and sorted(order[1:3]) == [1, 2] and order[3:] == [3, 4, 5, 6]


def test_equal_relevance_leaves_distance_to_decide():
    vectors = torch.tensor([[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0], [0.0, 1.0]])
    assert order_of(torch.full((4,), 0.3), vectors, 0.5, 4) == [0, 2, 3, 1]


def test_a_scale_of_relevance_changes_nothing():
    generator = torch.Generator().manual_seed(5)
    vectors, scores = normalize(torch.randn(12, 5, generator=generator), dim=-1), torch.rand(12, generator=generator).double()
    assert order_of(scores, vectors, 0.4, 6) == order_of(1e-3 * scores - 7, vectors, 0.4, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"diversity": 1.5}, "diversity 1.5 given"),
        ({"diversity": float("nan")}, "diversity nan given"),
        ({"select": 0}, "select 0"),
        ({"scores": torch.tensor([[1.0, float("nan")]])}, "not a number"),
        ({"pool": torch.tensor([[0, -1]])}, "pool rows from -1 to 0"),
        ({"pool": torch.tensor([[0, 3]])}, r"rows lie in \[0, 3\)"),
        ({"pool": torch.tensor([[0]])}, r"pool torch.int64 \(1, 1\)"),
        ({"gallery": torch.eye(3)[None]}, r"gallery \(1, 3, 3\)"),
    ],
)
def test_bad_input_gets_one_clear_line(changes, message):
    plain = {"scores": torch.tensor([[0.5, 0.2]]), "pool": torch.tensor([[0, 2]]), "gallery": torch.eye(3), "diversity": 0.3, "select": 2}
    with pytest.raises(InputError, match=message) as caught:
        mmr_order(**(plain | changes))
    assert "\n" not in str(caught.value)
