"""The card of the latent diffusion: its measurements against slow loops, and what it says to people and to `cirlib check`."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_diffusion import tiny_diffusion

from cirlib import diffusion_card
from cirlib.backbones.clip import load_clip
from cirlib.backbones.diffusion import LatentDiffusion, load_diffusion
from cirlib.backbones.miniature import miniature_path
from cirlib.data.atelier.render import shard_pixels
from cirlib.data.atelier.splits import picture
from cirlib.diffusion_card import CAPTIONS, LEVELS, agreement, example_samples, measure, v_losses, write_card
from cirlib.environment import check_environment
from cirlib.methods.clip_encoder import ClipEncoder

TRAINING = {
    "recipe": {"pictures": 12_288, "steps": 1_400, "batch": 32},
    "seconds": 660,
    "device": "cpu",
    "threads": 1,
    "torch": "9.8.7",
    "parameters": {"unet": 1_500_000, "vae": 800_000, "text_encoder": 1_100_000},
    "vae": {"phases": {"a": {"steps": 2_700, "batch": 8}, "b": {"steps": 700, "batch": 8}}, "seconds": 1800},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> LatentDiffusion:
    return load_diffusion(tiny_diffusion(tmp_path_factory.mktemp("tiny")), device="cpu")


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> ClipEncoder:
    return ClipEncoder(load_clip(miniature_path("clip"), device="cpu"), cache=tmp_path_factory.mktemp("cache"), progress=False)


def test_errors_of_v_are_those_of_one_picture_at_a_time(tiny: LatentDiffusion):
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    texts = ["red", "dress", "that"]
    losses = v_losses(tiny, pixels, texts)
    assert list(losses) == [str(level) for level in LEVELS]
    latents = tiny.encode(pixels)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    for level in (LEVELS[0], LEVELS[-1]):
        alpha = tiny.scheduler.alphas_cumprod[level]
        for kind, said in (("own text", texts), ("another text", [texts[-1], *texts[:-1]]), ("empty text", [""] * 3)):
            errors = []
            for row in range(3):
                noisy = alpha.sqrt() * latents[row : row + 1] + (1 - alpha).sqrt() * noise[row : row + 1]
                v = tiny.predict_v(noisy, torch.tensor([level]), tiny.context_from_texts([said[row]]))
                errors.append((v - (alpha.sqrt() * noise[row] - (1 - alpha).sqrt() * latents[row])).square().mean().item())
            assert losses[str(level)][kind]["mean"] == pytest.approx(np.mean(errors), abs=1e-4)


def test_the_judge_agrees_with_the_pictures_themselves_and_not_with_others(judge: ClipEncoder):
    rows = range(0, 256, 8)
    designs = [picture("test", row).design for row in rows]
    own = [Image.fromarray(shard_pixels("test", 0)[row]) for row in rows]
    read = agreement(judge, {"own": own, "grey": [Image.new("RGB", (96, 96), "grey")] * len(own)}, designs)
    assert read["color"]["own"]["mean"] > 0.8
    values = [design["color"] for design in designs]
    assert read["color"]["majority"] == pytest.approx(max(map(values.count, values)) / len(values), abs=1e-4)
    assert read["color"]["grey"]["mean"] <= read["color"]["majority"]


def test_example_samples_are_repeatable(tiny: LatentDiffusion, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(diffusion_card, "STEPS", 2)
    first, again = (example_samples(tiny, ["red", "dress"]) for _ in range(2))
    assert [image.tobytes() for image in first] == [image.tobytes() for image in again]
    assert len(CAPTIONS) == 8


def test_measurements_of_a_few_pictures_fit_on_a_card(
    tiny: LatentDiffusion, judge: ClipEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(diffusion_card, "STEPS", 2)
    monkeypatch.setattr(diffusion_card, "dictionary_text", lambda design: design["color"])  # the tiny vocabulary spells letter by letter
    folder = tmp_path / "data" / "checkpoints" / "diffusion"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "weights").write_bytes(b"weights")
    (folder / "training.json").write_text(json.dumps(TRAINING))
    metrics = measure(tiny, judge, pictures=32)
    write_card(folder, metrics)
    card, text = json.loads((folder / "card.json").read_text()), (folder / "README.md").read_text()
    assert set(card["sha256"]) == {"training.json", "unet/weights"}
    assert "3.4 million parameters" in text and "2,700 + 700 steps of 8 pictures" in text and "(30 minutes)" in text
    psnr = metrics["autoencoder"]["psnr"]
    assert f"PSNR {psnr['mean']:.2f} ({psnr['low']:.2f} to {psnr['high']:.2f}) dB" in text
    color = metrics["agreement"]["color"]
    row = re.search(r"^\| color \| (.*) \|$", text, re.MULTILINE).group(1).split(" | ")
    assert row[0].startswith(f"{100 * color['samples']['mean']:.1f} (") and row[-1] == f"{100 * color['majority']:.1f}"


def test_check_notices_a_changed_file_in_a_part(tmp_path: Path):
    folder = tmp_path / "data" / "checkpoints" / "diffusion"
    (folder / "vae").mkdir(parents=True)
    (folder / "vae" / "config.json").write_text("{}")
    (folder / "training.json").write_text("{}")
    diffusion_card.write_checkpoint_card(folder, {}, {}, lambda card: "")
    states = []
    for content in ("{}", "{ }"):
        (folder / "vae" / "config.json").write_text(content)
        states += [(f.state, f.detail) for f in check_environment(tmp_path) if f.name == "checkpoint diffusion"]
    assert states[0] == ("OK", "2 files as on the card")
    assert states[1][0] == "FAIL" and states[1][1].startswith("vae/config.json has sha256")
