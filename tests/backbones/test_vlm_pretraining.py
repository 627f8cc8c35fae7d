"""A whole pretraining in miniature of the miniature: both stages, the state, the checkpoint."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from interruptions import interruption, record_steps
from PIL import Image

from cirlib.backbones import training_steps, vlm_miniature, vlm_pretraining
from cirlib.backbones.clip import load_clip
from cirlib.backbones.miniature import miniature_path
from cirlib.backbones.vlm import load_vlm
from cirlib.backbones.vlm_pretraining import Batches, Recipe, Trainer, learning_rate, pretrain, teacher_tokens
from cirlib.backbones.vlm_prompts import CAPTION_PROMPT
from cirlib.data.atelier import render

SHORT = Recipe(pictures=8, tower_steps=2, tower_batch=4, steps=3, batch=4, texts=3, warmup=1, vocabulary=400, corpus=30)
VISION = {"depth": 1, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2}
TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model, a cache of this test alone, and few pictures drawn."""
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(render, "SHARD", 8)
    monkeypatch.setattr(vlm_pretraining, "model_config", lambda tokenizer: vlm_miniature.model_config(tokenizer, VISION, TEXT))
    monkeypatch.setattr(training_steps, "SAVE_EVERY", 3)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_vlm(folder, device="cpu").model.state_dict()


def test_learning_rate_warms_up_twice_and_falls_to_zero_once() -> None:
    recipe = Recipe(tower_steps=10, steps=20, warmup=4, cooldown=0.5, peak_rate=1.0)
    rates = [learning_rate(step, recipe) for step in range(31)]
    assert rates[:4] == rates[10:14] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:10] == [1.0] * 6 and rates[14:21] == [1.0] * 7
    assert np.diff(rates[20:]) == pytest.approx(-0.1) and rates[30] == 0


def test_pretraining_writes_a_checkpoint_that_loads(small: None, tmp_path: Path) -> None:
    pretrain(SHORT, tmp_path / "vlm")
    vlm = load_vlm(tmp_path / "vlm", device="cpu")
    picture = Image.fromarray(render.draw_picture("pretrain", 0))
    assert vlm.hidden_size == 32 and vlm.patch_features([picture]).shape == (1, 16, 32)
    assert isinstance(vlm.write([picture], CAPTION_PROMPT.text, 4)[0], str)
    training = json.loads((tmp_path / "vlm" / "training.json").read_text())
    assert training["recipe"]["steps"] == 3 and training["parameters"] == sum(p.numel() for p in vlm.model.parameters())
    saved = json.loads((tmp_path / "vlm" / "config.json").read_text())
    assert saved["dtype"] == "float16" and saved["architectures"] == ["Qwen2_5_VLForConditionalGeneration"]


def test_an_interrupted_pretraining_goes_on_where_it_was_saved(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = record_steps(monkeypatch, Trainer, "losses")
    with interruption(Trainer, "losses", step=4):  # the second stage has begun, and was saved once
        pretrain(SHORT, tmp_path / "resumed")
    assert taken == [0, 1, 2, 3] and not (tmp_path / "resumed").exists()
    pretrain(SHORT, tmp_path / "resumed")
    assert taken == [0, 1, 2, 3, 3, 4]
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "other cache"))
    pretrain(SHORT, tmp_path / "whole")
    assert taken == [0, 1, 2, 3, 3, 4, *range(5)], "nothing was saved there"
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.equal(tensor, weights(tmp_path / "resumed")[name]), name
    with interruption(Trainer, "losses", step=0):  # another recipe takes up no state
        pretrain(replace(SHORT, seed=1), tmp_path / "other")


def test_a_step_alone_decides_its_batch(small: None) -> None:
    class Processor:
        class image_processor:
            image_mean, image_std = (0.5,) * 3, (0.5,) * 3

    def take(step: int, recipe: Recipe = SHORT):
        batches = Batches(recipe, Processor)
        rng, rows, pixels = batches.pictures(1, step, recipe.batch)
        return rows.tolist(), batches.lessons(rng, rows), pixels

    rows, lessons, pixels = take(5)
    assert rows == take(5)[0] and lessons == take(5)[1] and torch.equal(pixels, take(5)[2])
    assert lessons != take(6)[1] and lessons != take(5, replace(SHORT, seed=1))[1]
    assert [lesson.picture for lesson in lessons] == [True] * 4 + [False] * 3
    assert pixels.min() >= -1 and pixels.max() <= 1


def test_the_teacher_shows_every_patch_at_unit_scale() -> None:
    clip = load_clip(miniature_path("clip"), device="cpu")
    tokens = teacher_tokens(clip, torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)))
    assert tokens.shape == (2, 64, 192)
    torch.testing.assert_close(tokens.mean(-1), torch.zeros(2, 64), atol=1e-4, rtol=0)
    torch.testing.assert_close(tokens.var(-1, unbiased=False), torch.ones(2, 64), atol=1e-2, rtol=0)
