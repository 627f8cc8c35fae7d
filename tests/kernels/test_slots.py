"""Slot scores against a loop in plain Python, in every precision and chunking; keys, empty slots, signs, padding, and bad input."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cirlib.kernels import reference, slots
from cirlib.kernels.slots import choose, lookup_maxima, slot_scores
from cirlib.types import InputError


def unit(*shape, seed=0):
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def whole(*shape, seed, low, high):
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed))


def by_loop(query, rows, coefficient, query_key=None, slot_key=None):
    """The definition, one number after another."""
    query, rows, coefficient = (np.asarray(given, dtype=np.float64) for given in (query, rows, coefficient))
    scores = np.zeros((len(query), len(rows)))
    for q, c, g in np.ndindex(*query.shape[:2], len(rows)):
        matching = [s for s in range(rows.shape[1]) if slot_key is None or matches(int(query_key[q, c]), int(slot_key[g, s]))]
        if matching:
            scores[q, g] += coefficient[q, c] * max(query[q, c] @ rows[g, s] for s in matching)
    return torch.from_numpy(scores).float()


def matches(asked, key):
    return key >= 0 and (asked < 0 or asked == key)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    q=st.integers(1, 5),
    c=st.integers(1, 4),
    g=st.integers(1, 9),
    s=st.integers(1, 5),
    keyed=st.booleans(),
    tile=st.sampled_from([1, 30, 1 << 20]),
    lines=st.sampled_from([1, 7, 512]),
)
def test_scores_equal_a_loop(seed, q, c, g, s, keyed, tile, lines):
    """Whole numbers: exact in fp32, so that nothing but the definition can differ. Some coefficients are 0, some slots empty."""
    query, rows = whole(q, c, 4, seed=seed, low=-2, high=3).float(), whole(g, s, 4, seed=seed + 1, low=-2, high=3).float()
    coefficient = whole(q, c, seed=seed + 2, low=-2, high=3).float()
    keys = (whole(q, c, seed=seed + 3, low=-1, high=3), whole(g, s, seed=seed + 4, low=-1, high=3)) if keyed else ()
    expected = by_loop(query, rows, coefficient, *keys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slots, "_TILE", tile)
        patch.setattr(slots, "_LINES", lines)
        assert torch.equal(slot_scores(query, rows, coefficient, *keys), expected)
        assert torch.equal(slot_scores(query, rows, coefficient, *keys, precision="bf16"), expected)
    assert torch.equal(slot_scores(query, rows, coefficient, *keys, backend="reference"), expected)
    assert torch.equal(reference.slot_scores(query, rows, coefficient, *keys, chunk_size=2), expected)


@pytest.mark.parametrize(("precision", "bound"), [("fp32", 2e-6), ("bf16", 2.0**-7)])
def test_precision_is_what_it_says(precision, bound):
    query, rows, coefficient = unit(6, 3, 96), unit(40, 8, 96, seed=1), torch.tensor([[1.0, 0.5, -0.5]] * 6)
    exact = slot_scores(query, rows, coefficient, backend="reference")
    found = slot_scores(query, rows, coefficient, precision=precision)
    assert 0 < (found - exact).abs().max() <= bound * coefficient[0].abs().sum()


def test_one_constraint_is_the_best_of_a_pictures_tokens():
    query, tokens = unit(5, 1, 32), unit(20, 32, 32, seed=1)
    torch.testing.assert_close(slot_scores(query, tokens), (tokens @ query[:, 0].T).amax(dim=1).T)


def test_sign_applies_after_the_maximum():
    query, rows = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.9, 0.0], [-0.2, 0.0]]])
    assert slot_scores(query, rows, torch.tensor([[-1.0]])).item() == pytest.approx(-0.9)  # not max(-0.9, 0.2)


def test_slots_may_lie_in_half_precision_or_in_strides():
    query, rows, coefficient = unit(4, 2, 16), unit(30, 6, 32, seed=1), torch.ones(4, 2)
    part = rows[:, ::2, ::2]
    assert torch.equal(slot_scores(query, part, coefficient), slot_scores(query, part.contiguous(), coefficient))
    low = part.bfloat16()
    torch.testing.assert_close(slot_scores(query, low, coefficient), slot_scores(query, low.float(), coefficient))


@pytest.mark.parametrize("shape", [(0, 2, 4, 3), (2, 0, 4, 3), (2, 2, 0, 3), (2, 2, 4, 0)])
def test_nothing_to_score_is_zero(shape):
    q, c, g, s = shape
    for backend in ("torch", "reference"):
        scores = slot_scores(torch.ones(q, c, 5), torch.ones(g, s, 5), torch.ones(q, c), backend=backend)
        assert scores.shape == (q, g) and not scores.any()


def test_lookups_equal_scores_of_the_vectors_themselves():
    vectors, constraints = whole(7, 6, seed=1, low=-3, high=4).float(), whole(5, 6, seed=2, low=-3, high=4).float()
    columns = whole(40, 4, seed=3, low=-1, high=7)
    columns[3] = -1
    found = lookup_maxima(constraints @ vectors.T, columns)
    rows = torch.where(columns[..., None] >= 0, vectors[columns.clamp_min(0)], 0)
    keys = torch.zeros(5, 1, dtype=torch.int64), torch.where(columns >= 0, 0, -1)
    assert torch.equal(found, slot_scores(constraints[:, None], rows, torch.ones(5, 1), *keys))
    assert not lookup_maxima(torch.empty(5, 0), torch.full((40, 3), -1)).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slots": torch.ones(3, 2, 5)}, "do not fit; give"),
        ({"coefficient": torch.ones(2, 3)}, "do not fit; give"),
        ({"slot_key": torch.zeros(3, 2, dtype=torch.int64)}, "keys of one side only"),
        ({"query_key": torch.zeros(2, 1), "slot_key": torch.zeros(2, 3)}, "one per constraint and slot"),
        ({"query": torch.full((2, 1, 4), torch.nan)}, "a number of the constraints is not finite"),
        ({"slots": torch.full((3, 2, 4), torch.inf)}, "slots of pictures 0 to 2 is not finite"),
        ({"precision": "int4"}, "precision 'int4'"),
        ({"backend": "cublas"}, "backend 'cublas'"),
        ({"precision": "fp16"}, "slow on a CPU"),
        ({"backend": "triton"}, "multiplies in 16 bits"),
    ],
)
def test_bad_input_is_one_clear_line(change, message):
    arguments = {"query": torch.ones(2, 1, 4), "slots": torch.ones(3, 2, 4), "coefficient": torch.ones(2, 1)} | change
    with pytest.raises(InputError, match=message) as caught:
        slot_scores(**arguments)
    assert "\n" not in str(caught.value)


def test_auto_takes_triton_for_16_bits_on_a_gpu_only():
    assert choose(torch.device("cpu"), "bf16") == choose(torch.device("cuda"), "fp32") == "torch"
    assert choose(torch.device("cuda"), "fp16") == "triton"
