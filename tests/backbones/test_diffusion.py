"""A latent diffusion: the identities of v, soft prompts, gradients through frozen parts, and diffusers' own pipeline as the reference."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_diffusion import tiny_diffusion

from cirlib.backbones.diffusion import LatentDiffusion, load_diffusion
from cirlib.types import InputError

TEXTS = ["a red dress", "of that"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_diffusion(tmp_path_factory.mktemp("v"))


@pytest.fixture(scope="module")
def tiny(folder: Path) -> LatentDiffusion:
    return load_diffusion(folder, device="cpu")


@pytest.fixture(scope="module")
def epsilon(tmp_path_factory: pytest.TempPathFactory) -> LatentDiffusion:
    """The same weights, read as a prediction of the noise."""
    return load_diffusion(tiny_diffusion(tmp_path_factory.mktemp("epsilon"), prediction="epsilon"), device="cpu")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("t", [0, 1, 500, 998, 999])
def test_the_clean_latents_come_back_from_v(tiny: LatentDiffusion, t: int):
    latents, noise, when = random(3, 4, 8, 8), random(3, 4, 8, 8, seed=1), torch.full((3,), t)
    noisy, v = tiny.add_noise(latents, noise, when), tiny.v_target(latents, noise, when)
    torch.testing.assert_close(tiny.estimate_latents(noisy, v, when), latents, atol=1e-5, rtol=0)


def test_noise_and_target_are_those_of_diffusers(tiny: LatentDiffusion):
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler.from_config(tiny.scheduler.config)
    latents, noise, when = random(4, 4, 8, 8), random(4, 4, 8, 8, seed=1), torch.tensor([0, 10, 600, 999])
    torch.testing.assert_close(tiny.add_noise(latents, noise, when), theirs.add_noise(latents, noise, when))
    torch.testing.assert_close(tiny.v_target(latents, noise, when), theirs.get_velocity(latents, noise, when))


@pytest.mark.parametrize("text", ["a red dress", "", "that dress of red that"])
def test_a_soft_prompt_of_a_texts_own_tokens_is_the_text(tiny: LatentDiffusion, text: str):
    ids = tiny.tokenizer(text).input_ids[1:-1]
    rows = tiny.token_embeddings()[torch.tensor([ids], dtype=torch.long)]
    torch.testing.assert_close(tiny.context_from_embeddings(rows), tiny.context_from_texts([text]))


def test_the_longest_soft_prompt_fits_and_a_longer_one_is_refused(tiny: LatentDiffusion):
    assert tiny.context_from_embeddings(random(2, 75, 24)).shape == (2, 77, 24)
    with pytest.raises(InputError, match="76 rows of width 24 does not fit: at most 75"):
        tiny.context_from_embeddings(random(1, 76, 24))
    with pytest.raises(InputError, match="of width 24"):
        tiny.context_from_embeddings(random(1, 3, 23))


def test_after_a_soft_prompt_the_text_encoder_is_as_before(tiny: LatentDiffusion):
    before = tiny.context_from_texts(TEXTS)
    tiny.context_from_embeddings(random(1, 3, 24))
    assert torch.equal(before, tiny.context_from_texts(TEXTS))


def test_a_long_text_is_refused(tiny: LatentDiffusion):
    with pytest.raises(InputError, match="tokens and this diffusion reads 77; shorten"):
        tiny.context_from_texts(["dress " * 80])


def test_gradients_reach_the_rows_and_no_frozen_parameter(tiny: LatentDiffusion):
    rows = random(2, 5, 24).requires_grad_()
    pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    latents, noise, when = tiny.encode(pixels), random(2, 4, 8, 8), torch.tensor([10, 700])
    noisy = tiny.add_noise(latents, noise, when)
    v = tiny.predict_v(noisy, when, tiny.context_from_embeddings(rows))
    by_v = torch.autograd.grad((v - tiny.v_target(latents, noise, when)).square().mean(), rows, retain_graph=True)[0]
    (tiny.decode(tiny.estimate_latents(noisy, v, when)) - pixels).abs().mean().backward()
    assert (by_v.abs().sum(-1) > 0).all() and (rows.grad.abs().sum(-1) > 0).all()
    for module in (tiny.unet, tiny.vae, tiny.text_encoder):
        assert not module.training and all(p.grad is None and not p.requires_grad for p in module.parameters())


def test_a_prediction_of_the_noise_is_converted(tiny: LatentDiffusion, epsilon: LatentDiffusion):
    latents, noise, when = random(3, 4, 8, 8), random(3, 4, 8, 8, seed=1), torch.tensor([0, 400, 999])
    noisy, context = tiny.add_noise(latents, noise, when), tiny.context_from_texts(["a red dress"]).expand(3, -1, -1)
    guess, v = tiny.predict_v(noisy, when, context), epsilon.predict_v(noisy, when, context)  # the same network says both
    alpha = epsilon.scheduler.alphas_cumprod[when].view(-1, 1, 1, 1)
    from_noise = (noisy - (1 - alpha).sqrt() * guess) / alpha.sqrt()  # x_0 as an epsilon model has it
    torch.testing.assert_close(epsilon.estimate_latents(noisy, v, when), from_noise, rtol=1e-4, atol=1e-4)
    error_of_v = (v - epsilon.v_target(latents, noise, when)).square().mean((1, 2, 3))
    error_of_noise = (guess - noise).square().mean((1, 2, 3))
    torch.testing.assert_close(error_of_v * epsilon.loss_weight(when), error_of_noise, rtol=1e-4, atol=1e-4)
    assert torch.equal(tiny.loss_weight(when), torch.ones(3))


@pytest.mark.parametrize("model", ["tiny", "epsilon"])
@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_samples_are_those_of_diffusers_pipeline(model: str, guidance: float, request: pytest.FixtureRequest):
    from diffusers import StableDiffusionPipeline

    diffusion = request.getfixturevalue(model)
    pipeline = StableDiffusionPipeline.from_pretrained(diffusion.name, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    start = random(2, 4, 8, 8, seed=3)
    theirs = pipeline(TEXTS, 32, 32, 5, guidance_scale=guidance, latents=start, output_type="np").images
    ours = diffusion.sample(diffusion.context_from_texts(TEXTS), steps=5, guidance=guidance, seed=3)
    assert np.abs(theirs - np.stack([np.asarray(image) / 255 for image in ours])).max() < 0.01


def test_a_sample_depends_on_its_seed_and_not_on_the_batch(tiny: LatentDiffusion):
    context = tiny.context_from_texts(TEXTS)
    both, one, other = (tiny.sample(context[:n], steps=2, seed=seed) for n, seed in ((2, 0), (1, 0), (1, 1)))
    assert np.abs(np.asarray(both[0], int) - np.asarray(one[0], int)).max() <= 1
    assert np.asarray(one[0]).tobytes() != np.asarray(other[0]).tobytes()


def test_pixels_and_latents(tiny: LatentDiffusion):
    white = tiny.pixels([Image.new("RGB", (40, 64), "white"), Image.new("L", (32, 32), 255)])
    assert white.shape == (2, 3, 32, 32) and white.min() == white.max() == 1.0
    latents = tiny.encode(white)
    mode = tiny.vae.encode(2 * white - 1).latent_dist.mean
    torch.testing.assert_close(latents, 0.8 * mode)
    with torch.no_grad():
        inside = tiny.decode(50 * latents)
    assert inside.min() >= 0 and inside.max() <= 1
    torch.testing.assert_close(tiny.decode(50 * latents).clamp(0, 1), inside)


def test_numbers_of_the_checkpoint(tiny: LatentDiffusion, folder: Path):
    assert (tiny.image_size, tiny.context_length, tiny.token_width, tiny.steps) == (32, 77, 24, 1000)
    assert tiny.token_embeddings().shape == (tiny.text_encoder.config.vocab_size, 24)
    assert load_diffusion(folder, device="cpu").fingerprint == tiny.fingerprint
    larger = load_diffusion(folder, device="cpu", image_size=64)
    assert larger.fingerprint != tiny.fingerprint and larger.sample(larger.context_from_texts([""]), steps=1)[0].size == (64, 64)


def test_an_image_size_that_does_not_fit_is_refused(folder: Path):
    with pytest.raises(InputError, match="image size 36 does not fit this diffusion; give a multiple of 8"):
        load_diffusion(folder, device="cpu", image_size=36)
