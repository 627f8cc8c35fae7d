from types import SimpleNamespace

import pytest
import torch

from cirlib.methods.pix2key.soft_prompt import ContinuousHead, VocabularyHead, make_head, punctuation_ids
from cirlib.types import InputError


def table(tokens=30, width=10):
    return 0.02 * torch.randn(tokens, width, generator=torch.Generator().manual_seed(0)) + 0.01


def states(width=16):
    return torch.randn(4, 6, width, generator=torch.Generator().manual_seed(1))


class Words:
    all_special_ids = (0, 1)
    words = ("<start>", "<end>", "red</w>", "!", "...", "7", "dress</w>", "-")

    def get_vocab(self):
        return {word: i for i, word in enumerate(self.words)}

    def decode(self, ids):
        return self.words[ids[0]].removesuffix("</w>")


def test_continuous_rows_start_at_the_statistics_of_the_table():
    head, rows = ContinuousHead(16, table()), states()
    projected = head.project(rows)
    unit = (projected - projected.mean(-1, keepdim=True)) / (projected.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(head(rows), unit * table().std(0, correction=0) + table().mean(0))


def test_vocabulary_rows_are_mixtures_of_allowed_tokens():
    head = VocabularyHead(16, table(), banned=(0, 3, 29))
    shares = head.mixture(states())
    torch.testing.assert_close(shares.sum(-1), torch.ones(4, 6))
    assert (shares[..., [0, 3, 29]] == 0).all() and (shares[..., 1] > 0).all()
    slow = torch.stack([sum(share * row for share, row in zip(shares[0, m], table(), strict=True)) for m in range(6)])
    torch.testing.assert_close(head(states())[0], slow)


def test_a_cold_vocabulary_head_picks_one_token():
    head = VocabularyHead(16, table(), start=1e-4, floor=1e-4)
    rows, best = head(states()), head.project(states()).argmax(-1)
    torch.testing.assert_close(rows, table()[best], atol=1e-4, rtol=1e-3)


def test_temperature_falls_to_its_floor_after_three_fifths_of_the_steps():
    head = VocabularyHead(16, table(), start=1.0, floor=0.1, steps=100)
    seen = []
    for _ in range(100):
        head.cool()
        seen.append(head.tau.item())
    assert seen == sorted(seen, reverse=True)
    assert seen[29] == pytest.approx(0.1**0.5, rel=1e-4) and seen[59] == pytest.approx(0.1, rel=1e-4) and seen[99] == pytest.approx(0.1)


def test_temperature_is_stored_and_the_frozen_table_is_not():
    assert set(VocabularyHead(16, table()).state_dict()) == {"project.weight", "tau"}


def test_punctuation_and_special_tokens_are_found():
    assert punctuation_ids(Words()) == (0, 1, 3, 4, 7)


def test_make_head():
    diffusion = SimpleNamespace(token_embeddings=lambda: table(8), tokenizer=Words())
    assert isinstance(make_head("continuous", 16, diffusion), ContinuousHead)
    head = make_head("vocabulary", 16, diffusion, steps=10)
    assert head.allowed.tolist() == [False, False, True, False, False, True, True, False]
    with pytest.raises(InputError, match="continuous or vocabulary"):
        make_head("linear", 16, diffusion)


def test_refuses_temperatures_and_bans_that_cannot_be():
    with pytest.raises(InputError, match="floor"):
        VocabularyHead(16, table(), start=0.1, floor=0.5)
    with pytest.raises(InputError, match="at least one"):
        VocabularyHead(16, table(), banned=range(30))
