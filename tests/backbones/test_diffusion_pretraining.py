"""What the UNet is shown, and a whole pretraining in miniature of the miniature."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_clip import write_tiny_clip
from tiny_diffusion import tiny_parts

from cirlib import _torchvision
from cirlib.backbones import diffusion_pretraining
from cirlib.backbones.clip import load_clip
from cirlib.backbones.clip_text_export import export_tokenizer
from cirlib.backbones.diffusion import load_diffusion
from cirlib.backbones.diffusion_pretraining import (
    Recipe,
    build_optimizers,
    pretrain,
    spread_timesteps,
    training_text,
    unet_config,
    untrained_parts,
)
from cirlib.backbones.miniature import miniature_path
from cirlib.data.atelier.captions import dictionary_text
from cirlib.data.atelier.splits import picture

_torchvision.prepare()


def test_kinds_of_texts_have_their_shares():
    rng, design, recipe = np.random.default_rng(0), picture("pretrain", 3).design, Recipe()
    whole = dictionary_text(design)
    kinds = Counter({"": "empty", whole: "dictionary"}.get(training_text(rng, design, recipe), "caption") for _ in range(2000))
    assert kinds["empty"] / 2000 == pytest.approx(recipe.empty_share, abs=0.03)
    assert kinds["dictionary"] / 2000 == pytest.approx(recipe.dictionary_share, abs=0.04)


def test_no_training_text_is_too_long():
    tokenizer = export_tokenizer(load_clip(miniature_path("clip"), device="cpu"))
    rng = np.random.default_rng(0)
    designs = [picture("pretrain", index).design for index in range(400)]
    texts = [training_text(rng, design, Recipe()) for design in designs] + [dictionary_text(design) for design in designs]
    assert max(len(ids) for ids in tokenizer(texts).input_ids) <= 77


def test_timesteps_are_spread_and_uniform():
    rng = np.random.default_rng(0)
    drawn = np.stack([spread_timesteps(rng, 8, 1000) for _ in range(500)])
    assert drawn.min() >= 0 and drawn.max() <= 999
    assert (drawn // 125 == np.arange(8)).all()
    assert drawn.mean() == pytest.approx(499.5, abs=3)


def test_every_parameter_has_one_optimizer():
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_config(unet_config(24))
    optimizers = build_optimizers(unet, Recipe())
    held = [id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in unet.parameters())


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an autoencoder for 32 px, a CLIP beside it, and 32 pictures."""
    tiny_parts(tmp_path).vae.half().save_pretrained(tmp_path / "out" / "vae")
    (tmp_path / "out" / "vae" / "training.json").write_text("{}")
    shutil.rmtree(tmp_path / "clip")
    write_tiny_clip(tmp_path / "clip", text={"context_length": 512})  # ten merges: nearly every letter is a token
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), np.uint8)
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(diffusion_pretraining, "split_pixels", lambda split, count: pixels[:count])
    small = {"sample_size": 8, "block_out_channels": [8, 8], "norm_num_groups": 2, "attention_head_dim": 2}
    monkeypatch.setattr(diffusion_pretraining, "unet_config", lambda width: unet_config(width) | small)
    return tmp_path / "out"


def test_the_unet_learns_and_nothing_else_moves(start: Path):
    clip = start.parent / "clip"
    torch.manual_seed(0)
    before = untrained_parts(start / "vae", clip)
    recipe = Recipe(pictures=32, steps=25, batch=8, warmup=2, peak_rate=5e-3)
    pretrain(recipe, start, clip, progress=False)
    after = load_diffusion(start, device="cpu")
    for name in ("vae", "text_encoder"):
        old, new = getattr(before, name).state_dict(), getattr(after, name).state_dict()
        assert all(torch.equal(old[key].half().float(), new[key]) for key in old)
    assert after.prediction_type == "v_prediction" and after.scheduler.alphas_cumprod[-1] == 0  # nothing of the picture is left
    training = json.loads((start / "training.json").read_text())
    assert training["recipe"]["steps"] == 25
    assert training["parameters"]["unet"] == sum(p.numel() for p in after.unet.parameters())
    latents = torch.from_numpy(np.load(next((start.parent / "cache" / "pretraining").glob("latents-*.npy"))))
    noise, t = torch.randn(latents.shape, generator=torch.Generator().manual_seed(5)), torch.full((32,), 800)
    with torch.no_grad():
        v = after.predict_v(after.add_noise(latents, noise, t), t, after.context_from_texts([""]).expand(32, -1, -1))
    target = after.v_target(latents, noise, t)
    assert (v - target).square().mean() < 0.9 * target.square().mean()
