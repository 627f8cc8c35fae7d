"""A tiny random latent diffusion in the layout of a Stable Diffusion folder: 32 px, 4 x 8 x 8 latents, width 24, 77 tokens."""

from pathlib import Path

import torch
from tiny_clip import write_tiny_clip

from cirlib import _torchvision
from cirlib.backbones.clip import load_clip
from cirlib.backbones.clip_text_export import export_text_encoder, export_tokenizer
from cirlib.backbones.diffusion_checkpoint import DiffusionParts, write_diffusion

SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False, "steps_offset": 1}


def tiny_parts(folder: Path, *, prediction: str = "v_prediction", seed: int = 0) -> DiffusionParts:
    """Modules with weights drawn from `seed`; the tiny CLIP that the text encoder comes from is written into `folder`."""
    _torchvision.prepare()
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    clip = load_clip(write_tiny_clip(folder / "clip", seed=seed, text={"context_length": 77}), device="cpu")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(16, 16),
            layers_per_block=1,
            norm_num_groups=4,
            cross_attention_dim=24,
            attention_head_dim=2,
            use_linear_projection=True,
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        )
        vae = AutoencoderKL(
            sample_size=32,
            block_out_channels=(8, 8, 8),
            norm_num_groups=4,
            latent_channels=4,
            scaling_factor=0.8,
            mid_block_add_attention=False,
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
        )
    scheduler = DDIMScheduler(**SCHEDULE, set_alpha_to_one=False, prediction_type=prediction)
    return DiffusionParts(unet, vae, export_text_encoder(clip), export_tokenizer(clip), scheduler)


def tiny_diffusion(tmp_path: Path, *, prediction: str = "v_prediction", seed: int = 0) -> Path:
    """Write the tiny diffusion and return its folder."""
    folder = tmp_path / "diffusion"
    write_diffusion(folder, tiny_parts(tmp_path, prediction=prediction, seed=seed))
    return folder
