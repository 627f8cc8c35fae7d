"""The shipped miniature latent diffusion: small, what its card says, and its samples show what their texts name."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cirlib.backbones.clip import load_clip
from cirlib.backbones.clip_text_export import export_text_encoder
from cirlib.backbones.diffusion import LatentDiffusion, load_diffusion
from cirlib.backbones.diffusion_pretraining import unet_config
from cirlib.backbones.miniature import miniature_path
from cirlib.backbones.vae_pretraining import model_config
from cirlib.data.atelier.render import shard_pixels

LIMIT_BYTES = 7_200_000
REQUIRED_PSNR = 20.0  # dB, mean over pictures of `test`


@pytest.fixture(scope="module")
def folder() -> Path:
    return miniature_path("diffusion")


@pytest.fixture(scope="module")
def diffusion(folder: Path) -> LatentDiffusion:
    return load_diffusion(folder, device="cpu")


def test_the_download_stays_small(folder: Path):
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= LIMIT_BYTES


def test_files_are_those_of_the_card(folder: Path):
    sums = json.loads((folder / "card.json").read_text())["sha256"]
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {*sums, "card.json", "README.md"}
    assert sums == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sums}


def test_configurations_are_those_of_the_pretraining(diffusion: LatentDiffusion):
    for module, wanted in ((diffusion.unet, unet_config(diffusion.token_width)), (diffusion.vae, model_config())):
        assert {name: list(v) if isinstance(v := module.config[name], tuple) else v for name in wanted} == wanted


def test_its_text_encoder_is_the_miniature_clips(diffusion: LatentDiffusion):
    exported = export_text_encoder(load_clip(miniature_path("clip"), device="cpu")).state_dict()
    own = diffusion.text_encoder.state_dict()
    assert own.keys() == exported.keys() and all(torch.equal(own[name], exported[name]) for name in own)


def test_reconstructions_of_unseen_pictures_reach_the_floor(diffusion: LatentDiffusion):
    pixels = torch.from_numpy(shard_pixels("test", 0)[::8].copy()).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        latents = diffusion.encode(pixels)
        error = (diffusion.decode(latents) - pixels).square().mean((1, 2, 3))
    assert (-10 * error.log10()).mean() >= REQUIRED_PSNR
    assert latents.std().item() == pytest.approx(1, abs=0.25)  # the scaling factor was measured on other pictures


def test_samples_on_the_card_show_the_colour_and_the_garment_they_were_asked_for(folder: Path):
    agreement = json.loads((folder / "card.json").read_text())["metrics"]["agreement"]
    for name in ("color", "category"):
        assert agreement[name]["samples"]["low"] > 2 * agreement[name]["majority"], name


def test_a_red_and_a_blue_dress_are_told_apart(diffusion: LatentDiffusion):
    texts = ["a red dress"] * 4 + ["a blue dress"] * 4
    drawn = diffusion.sample(diffusion.context_from_texts(texts), steps=10, guidance=3.0, seed=1)
    middle = np.stack([np.asarray(image)[32:64, 32:64].reshape(-1, 3).mean(0) for image in drawn])
    excess = middle[:, 0] - middle[:, 2]  # of red over blue
    assert excess[:4].mean() > excess[4:].mean() + 30
