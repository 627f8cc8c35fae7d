"""The losses of the autoencoder against slow loops, and a whole pretraining in miniature of the miniature."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cirlib import _torchvision
from cirlib.backbones import vae_pretraining
from cirlib.backbones.vae_pretraining import PHASES, Recipe, colour_loss, edge_loss, latents_of, model_config, pretrain

_torchvision.prepare()


def pictures(seed: int, count: int = 2, size: int = 8) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow_edges(error: np.ndarray) -> float:
    """Differences of neighbours, number by number, right and down, at full size and at half size."""
    total = 0.0
    for _ in range(2):
        count, channels, height, width = error.shape
        places = [(b, c, y, x) for b in range(count) for c in range(channels) for y in range(height) for x in range(width)]
        total += np.mean([abs(error[b, c, y + 1, x] - error[b, c, y, x]) for b, c, y, x in places if y + 1 < height])
        total += np.mean([abs(error[b, c, y, x + 1] - error[b, c, y, x]) for b, c, y, x in places if x + 1 < width])
        error = error.reshape(count, channels, height // 2, 2, width // 2, 2).mean((3, 5))
    return total / 4


def slow_colours(error: np.ndarray) -> float:
    total = 0.0
    for scale in range(4):
        for red, green, blue in error.transpose(0, 2, 3, 1).reshape(-1, 3):
            squares = ((red + green + blue) / 3) ** 2 + 9 * (red - green) ** 2 + 9 * ((red + green) / 2 - blue) ** 2
            total += (1 + scale) * squares / 3 / (error.size / 3)
        count, channels, height, width = error.shape
        if scale < 3:
            error = error.reshape(count, channels, height // 2, 2, width // 2, 2).mean((3, 5))
    return total


@pytest.mark.parametrize("seed", range(3))
def test_losses_are_the_slow_loops(seed: int):
    made, wanted = pictures(seed), pictures(seed + 10)
    error = (made - wanted).numpy()
    assert edge_loss(made, wanted).item() == pytest.approx(slow_edges(error))
    assert colour_loss(made, wanted).item() == pytest.approx(slow_colours(error))


def test_a_shift_of_hue_costs_more_than_the_same_shift_of_brightness():
    grey = torch.zeros(1, 3, 8, 8)
    hue = torch.tensor([0.1, -0.1, 0.0]).view(1, 3, 1, 1).expand_as(grey)
    assert colour_loss(grey + hue, grey) > 5 * colour_loss(grey + 0.1, grey)
    assert edge_loss(grey + hue, grey) == 0


TINY = {
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "block_out_channels": [4, 4],
    "norm_num_groups": 2,
    "sample_size": 16,
}


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Sixteen flat pictures of 16 px and a model for them; the state goes to a folder of its own."""
    pixels = np.random.default_rng(0).integers(0, 256, (16, 1, 1, 3), np.uint8) * np.ones((1, 16, 16, 1), np.uint8)
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(vae_pretraining, "split_pixels", lambda split, count: pixels[:count])
    monkeypatch.setattr(vae_pretraining, "model_config", lambda: model_config() | TINY)
    return pixels


def test_phases_follow_each_other_and_the_folder_is_complete(tiny: np.ndarray, tmp_path: Path):
    from diffusers import AutoencoderKL

    common = {"pictures": 16, "batch": 4, "warmup": 1, "peak_rate": 1e-2}
    phases = {"one": Recipe(steps=30, **common), "two": Recipe(steps=30, colour_weight=1.0, seed=1, **common)}
    pretrain(phases, tmp_path / "out", progress=False)
    vae = AutoencoderKL.from_pretrained(tmp_path / "out" / "vae", dtype=torch.float32).eval()
    training = json.loads((tmp_path / "out" / "vae" / "training.json").read_text())
    assert training["parameters"] == sum(p.numel() for p in vae.parameters())
    assert list(training["phases"]) == ["one", "two"] and training["phases"]["two"]["colour_weight"] == 1.0
    latents = latents_of(vae, tiny)
    assert (latents.std() * vae.config.scaling_factor).item() == pytest.approx(1, abs=0.02)
    wanted = torch.from_numpy(tiny).permute(0, 3, 1, 2) / 127.5 - 1
    torch.manual_seed(0)
    fresh = AutoencoderKL.from_config(model_config() | TINY).eval()
    with torch.no_grad():
        error, before = ((model(wanted).sample - wanted).square().mean() for model in (vae, fresh))
    assert error < 0.8 * before
    last = torch.load(tmp_path / "cache" / "pretraining" / "two.pt", weights_only=True)["model"]
    for name, weight in vae.state_dict().items():
        torch.testing.assert_close(weight, last[name].half().float())


def test_the_shipped_configuration_is_small():
    from diffusers import AutoencoderKL

    assert sum(p.numel() for p in AutoencoderKL.from_config(model_config()).parameters()) < 1e6
    assert [phase.colour_weight for phase in PHASES.values()] == [0.0, 1.0, 0.15]
