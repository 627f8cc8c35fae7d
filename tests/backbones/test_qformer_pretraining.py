"""The losses against slow loops, the drawing of hard negatives, and a whole pretraining in miniature of the miniature."""

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from interruptions import interruption, record_steps

from cirlib.backbones import qformer_pretraining
from cirlib.backbones.clip_pretraining import SPANS
from cirlib.backbones.clip_pretraining import contrastive_loss as single_token_contrast
from cirlib.backbones.clip_pretraining import value_loss as row_value_loss
from cirlib.backbones.qformer import load_qformer
from cirlib.backbones.qformer_miniature import build_model, build_tokenizer
from cirlib.backbones.qformer_pretraining import (
    Batches,
    Recipe,
    build_optimizers,
    contrastive_loss,
    matching_pairs,
    pretrain,
    token_scores,
    value_loss,
)
from cirlib.data.atelier import render
from cirlib.data.atelier.corpus import sentences
from cirlib.data.atelier.schema import ATTRIBUTES
from cirlib.data.atelier.splits import picture
from cirlib.data.atelier.truth import NAMES


def unit_rows(seed: int, *shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def random_fits(seed: int, size: int) -> torch.Tensor:
    return (torch.rand(size, size, generator=torch.Generator().manual_seed(seed)) < 0.3) | torch.eye(size, dtype=torch.bool)


def test_scores_are_the_best_token_by_a_slow_loop():
    tokens, rows = unit_rows(0, 4, 3, 7), unit_rows(1, 5, 7)
    expected = [[max(float(token @ row) for token in picture) for row in rows] for picture in tokens]
    np.testing.assert_allclose(token_scores(tokens, rows), expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_contrast_is_the_slow_loop(seed: int):
    logits, fits = 8 * torch.randn(6, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), random_fits(seed, 6)
    total = 0.0
    for table, positives in ((logits, fits), (logits.T, fits.T)):
        for row, right in zip(table.tolist(), positives.tolist(), strict=True):
            whole = math.log(sum(math.exp(value) for value in row))
            total += np.mean([whole - value for value, yes in zip(row, right, strict=True) if yes]) / 12
    assert contrastive_loss(logits, fits).item() == pytest.approx(total, rel=1e-6)


def test_with_one_token_the_losses_are_the_miniature_clips():
    image, text, scale = unit_rows(0, 6, 7), unit_rows(1, 6, 7), torch.tensor(9.0, dtype=torch.float64)
    fits, logits = random_fits(0, 6), scale * token_scores(image[:, None], text)
    torch.testing.assert_close(contrastive_loss(logits, fits), single_token_contrast(image, text, scale, fits))
    values = unit_rows(2, SPANS[-1].stop, 7)
    codes = torch.stack([torch.arange(6) % (len(ATTRIBUTES[name].values) + 1) - 1 for name in NAMES], 1)
    codes[:, 2] = -1
    torch.testing.assert_close(value_loss(scale * image @ values.T, codes), row_value_loss(image, values, scale, codes))


def test_matching_pairs_are_hard_and_wrong():
    logits, fits = torch.zeros(8, 8), random_fits(3, 8)
    logits[5, 0] = logits[0, 6] = 50.0  # picture 5 for caption 0, caption 6 for picture 0
    fits[5, 0] = fits[0, 6] = False
    images, texts = matching_pairs(logits, fits, 4, torch.Generator().manual_seed(0))
    assert images[:4].tolist() == texts[:4].tolist() == texts[4:8].tolist() == images[8:].tolist() == [0, 1, 2, 3]
    assert not fits[images[4:], texts[4:]].any() and fits[images[:4], texts[:4]].all()
    assert images[4] == 5 and texts[8] == 6, "what the contrast takes for right is drawn"
    again = matching_pairs(logits, fits, 4, torch.Generator().manual_seed(0))
    assert torch.equal(images, again[0]) and torch.equal(texts, again[1])


def test_matching_pairs_where_every_caption_fits_are_told_by_fits():
    images, texts = matching_pairs(torch.zeros(3, 3), torch.ones(3, 3, dtype=torch.bool), 3, torch.Generator().manual_seed(0))
    assert len(images) == len(texts) == 9 and max(images.max(), texts.max()) < 3


def test_matching_draws_in_proportion_to_the_softmax():
    logits, fits = torch.tensor([[0.0, math.log(3.0), 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), torch.eye(3, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    drawn = [matching_pairs(logits, fits, 1, generator)[1][2].item() for _ in range(400)]
    assert drawn.count(0) == 0 and drawn.count(1) / 400 == pytest.approx(0.75, abs=0.07)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(sentences(200))


def test_the_miniature_starts_alive_and_small(tokenizer):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(tokenizer)
    assert 3.1e6 < sum(p.numel() for p in model.parameters()) < 3.3e6
    assert model.query_tokens.std() > 0.01, "equal query tokens would stay equal"
    spreads = {name: p.std().item() for name, p in model.named_parameters() if p.ndim > 1}
    assert all(spread > 0.01 for spread in spreads.values()), min(spreads, key=spreads.get)
    model.train()
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.0}


def test_muon_takes_the_matrices_of_the_layers(tokenizer):
    model = build_model(tokenizer, {"num_hidden_layers": 1}, {"num_hidden_layers": 1})
    muon, adam = (sum(p.numel() for group in o.param_groups for p in group["params"]) for o in build_optimizers(model, Recipe()))
    layers = [p for n, p in model.named_parameters() if ".encoder." in n and p.ndim == 2]
    assert muon == sum(p.numel() for p in layers) and muon + adam == sum(p.numel() for p in model.parameters())


@pytest.fixture
def few_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of this test alone, in shards of 16, so that few pictures are drawn."""
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(render, "SHARD", 16)


def test_a_batch_is_decided_by_its_step_and_prepared_as_the_checkpoint_says(few_pictures: None):
    batches = Batches(Recipe(pictures=16, batch=6))
    batch, other = batches(3), batches(4)
    again = Batches(Recipe(pictures=16, batch=6))(3)
    assert torch.equal(batch["images"], again["images"]) and batch["texts"] == again["texts"] and batch["prompts"] == again["prompts"]
    assert batch["texts"] != other["texts"] and not torch.equal(batch["images"], other["images"])
    transform = qformer_pretraining.ImageTransform("clip", 96, squash=True)
    prepared = torch.stack([transform(qformer_image(index)) for index in range(16)])
    for row in range(6):
        near = (prepared - batch["images"][row]).abs().amax((1, 2, 3))
        index = int(near.argmin())
        assert near[index] < 1e-5
        design = picture("pretrain", index).design
        assert [design.get(n) is not None for n in NAMES] == (batch["codes"][row] >= 0).tolist()


def qformer_image(index: int):
    from PIL import Image

    return Image.fromarray(render.draw_picture("pretrain", index))


TINY_VISION = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 48}
TINY_QFORMER = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
SHORT = Recipe(pictures=8, steps=3, cooldown=1, batch=4, matched=2, corpus=40, warmup=1)


@pytest.fixture
def steps_taken(few_pictures: None, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A tiny model, saved every second step; the list fills with the steps that the training takes."""
    monkeypatch.setattr(qformer_pretraining, "build_model", partial(build_model, vision=TINY_VISION, qformer=TINY_QFORMER))
    monkeypatch.setattr(qformer_pretraining, "SAVE_EVERY", 2)
    return record_steps(monkeypatch, qformer_pretraining, "_step")


def test_pretraining_writes_a_checkpoint_and_goes_on_where_it_was_saved(
    tmp_path: Path, steps_taken: list[int], monkeypatch: pytest.MonkeyPatch
):
    with interruption(qformer_pretraining, "_step", step=2):
        pretrain(SHORT, tmp_path / "resumed")
    assert steps_taken == [0, 1] and not (tmp_path / "resumed").exists()
    pretrain(SHORT, tmp_path / "resumed")
    assert steps_taken == [0, 1, 2]
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "other cache"))
    pretrain(SHORT, tmp_path / "whole")
    assert steps_taken == [0, 1, 2, 0, 1, 2], "nothing was saved there"
    resumed, whole = (load_qformer(tmp_path / name, "cpu") for name in ("resumed", "whole"))
    assert resumed.fingerprint == whole.fingerprint and resumed.context_length == 64 and resumed.n_tokens == 8
    assert resumed.text_embedding(["a red dress"]).isfinite().all()
    training = json.loads((tmp_path / "resumed" / "training.json").read_text())
    assert training["recipe"]["steps"] == 3 and training["parameters"] == sum(p.numel() for p in resumed.model.parameters())
    assert 0.01 <= training["temperature"] < 0.2


def test_a_state_of_another_recipe_is_left_alone(tmp_path: Path, steps_taken: list[int]):
    pretrain(replace(SHORT, steps=2), tmp_path / "first")
    pretrain(replace(SHORT, steps=2, seed=1), tmp_path / "second")
    assert steps_taken == [0, 1, 0, 1]
