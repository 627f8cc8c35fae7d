"""Relevance blocks: exact, the same for every block and chunk size. Priorities: a uniform draw without replacement."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from cirlib.kernels.midzone import priorities, relevance_blocks
from cirlib.types import InputError


def world(queries, pictures, vectors, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    query = normalize(torch.randn(queries, dim, generator=generator), dim=-1)
    gallery = normalize(torch.randn(*([pictures, vectors, dim] if vectors else [pictures, dim]), generator=generator), dim=-1)
    return query, gallery


def whole(query, gallery, *rows, **sizes):
    blocks = list(relevance_blocks(query, gallery, *rows, **sizes))
    return torch.cat([lines for lines, _ in blocks]), torch.cat([scores for _, scores in blocks])


@pytest.mark.parametrize(("queries", "pictures", "vectors", "dim"), [(1, 1, 1, 1), (7, 33, 3, 5), (12, 40, 0, 64), (5, 19, 32, 256)])
def test_scores_are_the_best_of_a_pictures_vectors(queries, pictures, vectors, dim):
    query, gallery = world(queries, pictures, vectors, dim)
    _, scores = whole(query, gallery)
    truth = query.double() @ gallery.double().reshape(-1, dim).T
    truth = truth.view(queries, pictures, -1).amax(dim=-1)
    assert scores.dtype == torch.float32
    assert float((scores - truth).abs().max()) < 1.5e-7


def test_no_size_changes_a_bit_of_a_score():
    query, gallery = world(23, 57, 4, 96)
    rows, scores = whole(query, gallery)
    assert rows.tolist() == list(range(23))
    for block, chunk in [(1, 1), (2, 9), (5, 4), (23, 1000), (1000, 64)]:
        again = whole(query, gallery, query_block=block, chunk_size=chunk)
        assert torch.equal(again[0], rows) and torch.equal(again[1], scores)
    lines, pool = torch.tensor([20, 3, 11]), torch.tensor([50, 0, 7, 8])
    part = whole(query, gallery, lines, pool, query_block=2)
    assert torch.equal(part[0], lines) and torch.equal(part[1], scores[lines][:, pool])


def test_copies_of_a_picture_score_the_same():
    query, gallery = world(9, 31, 3, 193)
    gallery[[4, 17, 30]] = gallery[2].clone()
    _, scores = whole(query, gallery, chunk_size=6)
    assert (scores[:, [4, 17, 30]] == scores[:, 2:3]).all()


def test_half_precision_and_strides_are_read_as_they_are():
    query, gallery = world(4, 10, 2, 16)
    assert torch.equal(whole(query.half(), gallery.half())[1], whole(query.half().float(), gallery.half().float())[1])
    strided = gallery.transpose(0, 1).contiguous().transpose(0, 1)
    assert not strided.is_contiguous() and torch.equal(whole(query, strided)[1], whole(query, gallery)[1])


def test_a_block_leaves_the_callers_settings_alone():
    query, gallery = world(4, 3, 2, 8)
    blocks = relevance_blocks(query.requires_grad_(), gallery, query_block=2)
    _, scores = next(blocks)
    assert torch.is_grad_enabled() and not scores.requires_grad


def test_bad_input_of_relevance():
    query, gallery = world(4, 3, 2, 8)
    with pytest.raises(InputError, match="do not fit"):
        relevance_blocks(query[:, :7], gallery)
    with pytest.raises(InputError, match="query block 0"):
        relevance_blocks(query, gallery, query_block=0)
    with pytest.raises(InputError, match=r"pool from 0 to 3 given; rows lie in \[0, 3\)"):
        relevance_blocks(query, gallery, None, torch.tensor([0, 3]))
    with pytest.raises(InputError, match="query rows are torch.float32"):
        relevance_blocks(query, gallery, torch.tensor([0.0]))
    gallery[1, 0, 0] = torch.nan
    with pytest.raises(InputError, match="gallery row 1"):
        relevance_blocks(query, gallery)


def slow_priority(words):
    """The same hash in numpy's unsigned 32-bit arithmetic, which wraps around by itself."""
    state = np.uint32(0)
    with np.errstate(over="ignore"):
        for word in words:
            state = (state ^ np.uint32(word)) + np.uint32(0x9E3779B9)
            state = (state ^ state >> np.uint32(16)) * np.uint32(0x21F0AAAD)
            state = (state ^ state >> np.uint32(15)) * np.uint32(0xD35A2D97)
            state = state ^ state >> np.uint32(15)
    return int(state)


def test_priorities_are_32_bit_arithmetic():
    numbers = torch.tensor([0, 1, 2, 77, 2**16, 2**31, 2**32 - 1])
    for seed in (0, 5, 2**32 - 1):
        assert priorities((seed, numbers, 3)).tolist() == [slow_priority((seed, int(x), 3)) for x in numbers]
    table = priorities((1, numbers[:, None], numbers[None]))
    assert table.shape == (7, 7) and int(table[3, 4]) == slow_priority((1, 77, 2**16))
    assert int(table[3, 4]) != int(table[4, 3])


@pytest.mark.parametrize("changing", range(4))
def test_every_member_is_drawn_equally_often(changing):
    """Chi-square of the first 3 of 12 members over 4,000 draws that differ in one of the hashed words: seed, rebuild, round, query."""
    words = [torch.full((4000, 1), number) for number in (3, 1, 0, 17)]
    words[changing] = torch.arange(4000)[:, None]
    chosen = priorities((*words, torch.arange(12) * 5)).argsort(dim=1)[:, :3]
    counts = torch.bincount(chosen.flatten(), minlength=12).double()
    # Inclusion frequencies vary less than a multinomial's: (12 - 1) / (12 - 3) brings them back to chi-square.
    statistic = float(((counts - 1000) ** 2 / 1000).sum()) * 11 / 9
    assert 2.6 < statistic < 26.8  # 0.5 % and 99.5 % of chi-square with 11 degrees of freedom
    pairs = torch.bincount((chosen[:, 0] * 12 + chosen[:, 1]), minlength=144).view(12, 12).double()
    assert float(pairs.diagonal().sum()) == 0
    off = pairs[~torch.eye(12, dtype=torch.bool)]
    assert 93 < float(((off - 4000 / 132) ** 2 / (4000 / 132)).sum()) < 177  # 0.5 % and 99.5 % with 131
