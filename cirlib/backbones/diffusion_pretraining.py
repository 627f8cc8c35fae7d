"""Pretraining of the miniature latent diffusion on atelier's `pretrain` split: `python -m cirlib.backbones.diffusion_pretraining`.

The UNet is diffusers' own, reads the text tower of the miniature CLIP through cross-attention, and learns to predict v on latents of the
miniature autoencoder, which must have been trained before (`python -m cirlib.backbones.vae_pretraining`). Captions are drawn anew at every
step, in sentences and as "key: value" pairs, and left empty at times for classifier-free guidance. The noise levels are those of Stable
Diffusion 2, rescaled so that nothing of the picture is left at the last one (Lin et al. 2024): otherwise every sample has a middling
brightness, and a black coat on white comes out grey. All sizes and numbers are our choice.
"""

import argparse
import hashlib
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cirlib import _torchvision
from cirlib._atomic import atomic_path, atomic_write_text
from cirlib._cache import cache_dir
from cirlib.backbones.clip import load_clip
from cirlib.backbones.clip_text_export import export_text_encoder, export_tokenizer
from cirlib.backbones.diffusion import LatentDiffusion
from cirlib.backbones.diffusion_checkpoint import DiffusionParts, write_diffusion
from cirlib.backbones.miniature import miniature_path
from cirlib.backbones.training_steps import learning_rate, run_steps
from cirlib.backbones.vae_pretraining import latents_of
from cirlib.data.atelier.captions import caption, dictionary_text
from cirlib.data.atelier.render import split_pixels
from cirlib.data.atelier.schema import Design
from cirlib.data.atelier.splits import picture

SCHEDULE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "clip_sample": False,
    "set_alpha_to_one": True,
}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of the UNet's pretraining, beside the autoencoder and the CLIP."""

    pictures: int = 12_288  # of the pretrain split
    steps: int = 1_400  # optimiser steps
    batch: int = 32  # pictures a step
    peak_rate: float = 1.5e-3  # learning rate after the warm-up
    warmup: int = 100  # steps
    weight_decay: float = 0.02  # of the matrices
    dictionary_share: float = 0.25  # of the captions that are the whole design as "key: value" pairs
    empty_share: float = 0.1  # of the captions that are left empty
    seed: int = 0


def unet_config(token_width: int) -> dict:
    """Configuration of the miniature UNet: two levels, 12 x 12 and 6 x 6, cross-attention at both, 1.5 million parameters."""
    return {
        "sample_size": 12,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [48, 64],
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "cross_attention_dim": token_width,
        "attention_head_dim": 4,  # diffusers reads the number of heads here
        "use_linear_projection": True,
        "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    }


def training_text(rng: np.random.Generator, design: Design, recipe: Recipe) -> str:
    """A text about a design: empty, the whole design as "key: value" pairs, or a caption that names a random part of it."""
    draw = rng.random()
    if draw < recipe.empty_share:
        return ""
    return dictionary_text(design) if draw < recipe.empty_share + recipe.dictionary_share else caption(rng, design)


def spread_timesteps(rng: np.random.Generator, batch: int, levels: int) -> np.ndarray:
    """Timesteps in [0, levels), each uniform, one from each of `batch` equal parts: the loss of a step varies less.

    Example:
        >>> (spread_timesteps(np.random.default_rng(0), 4, 1000) // 250).tolist()
        [0, 1, 2, 3]
    """
    return ((np.arange(batch) + rng.random(batch)) / batch * levels).astype(np.int64)


class Losses:
    """The loss of one step: pictures, captions, timesteps and noise drawn by the step's number."""

    def __init__(self, recipe: Recipe, diffusion: LatentDiffusion, unet: torch.nn.Module, accelerator) -> None:
        self.recipe, self.diffusion, self.unet, self.accelerator = recipe, diffusion, unet, accelerator
        self.designs = [picture("pretrain", index).design for index in range(recipe.pictures)]
        self.latents = _pretraining_latents(diffusion, recipe.pictures)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Named losses of a step."""
        rng, recipe, diffusion = np.random.default_rng([self.recipe.seed, step]), self.recipe, self.diffusion
        rows = rng.choice(recipe.pictures, recipe.batch, replace=False)
        latents = self.latents[rows].to(diffusion.device)
        noise = torch.from_numpy(rng.standard_normal(latents.shape, dtype=np.float32)).to(diffusion.device)
        t = torch.from_numpy(spread_timesteps(rng, recipe.batch, diffusion.steps)).to(diffusion.device)
        with self.accelerator.autocast():
            with torch.no_grad():
                context = diffusion.context_from_texts([training_text(rng, self.designs[row], recipe) for row in rows])
            made = self.unet(diffusion.add_noise(latents, noise, t), t, context).sample
        return {"v": F.mse_loss(made.float(), diffusion.v_target(latents, noise, t))}


def _pretraining_latents(diffusion: LatentDiffusion, count: int) -> Float[Tensor, "n c h w"]:
    """Scaled latents of the first pictures of the pretrain split, kept in the cache under the hash of the autoencoder."""
    path = cache_dir("pretraining") / f"latents-{diffusion.fingerprint['diffusion'][:16]}-{count}.npy"
    if not path.exists():
        latents = latents_of(diffusion.vae, split_pixels("pretrain", count)) * diffusion.vae.config.scaling_factor
        with atomic_path(path) as draft:
            np.save(draft, latents.numpy())
    return torch.from_numpy(np.load(path))


def build_optimizers(unet: torch.nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the transformer blocks, AdamW for convolutions and everything else."""
    matrices = [p for name, p in unet.named_parameters() if p.ndim == 2 and "transformer_blocks" in name]
    chosen = {id(p) for p in matrices}
    others = [p for p in unet.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=recipe.peak_rate, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=recipe.peak_rate, betas=(0.9, 0.99), weight_decay=0.0),
    ]


def untrained_parts(vae_folder: Path, clip_folder: Path) -> DiffusionParts:
    """The trained autoencoder, the text tower of a CLIP, and a fresh UNet whose weights come from torch's global generator."""
    _torchvision.prepare()
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    clip = load_clip(clip_folder, device="cpu")
    text_encoder = export_text_encoder(clip)
    unet = UNet2DConditionModel.from_config(unet_config(text_encoder.config.hidden_size))
    vae = AutoencoderKL.from_pretrained(vae_folder, dtype=torch.float32)
    with open(vae_folder / "diffusion_pytorch_model.safetensors", "rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return DiffusionParts(unet, vae, text_encoder, export_tokenizer(clip), DDIMScheduler(**SCHEDULE), content)


def pretrain(recipe: Recipe, out: Path, clip_folder: Path | None = None, progress: bool = True) -> None:
    """Train the UNet from scratch or from the last saved state, then write the whole folder beside the autoencoder in `out`."""
    from accelerate import Accelerator

    torch.manual_seed(recipe.seed)
    accelerator = Accelerator(mixed_precision="bf16")
    parts = untrained_parts(out / "vae", clip_folder or miniature_path("clip"))
    diffusion = LatentDiffusion(parts, str(out), accelerator.device)
    parts.unet.train().requires_grad_(True)
    unet = accelerator.prepare(parts.unet)
    optimizers = [accelerator.prepare(optimizer) for optimizer in build_optimizers(parts.unet, recipe)]
    losses = Losses(recipe, diffusion, unet, accelerator)
    rate = partial(learning_rate, steps=recipe.steps, peak=recipe.peak_rate, warmup=recipe.warmup)
    seconds = run_steps("unet", asdict(recipe), unet, optimizers, accelerator, losses, steps=recipe.steps, rate=rate, progress=progress)
    training = {
        "recipe": asdict(recipe),
        "seconds": round(seconds),
        "device": str(accelerator.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "parameters": {name: sum(p.numel() for p in getattr(parts, name).parameters()) for name in ("unet", "vae", "text_encoder")},
        "vae": json.loads((out / "vae" / "training.json").read_text(encoding="utf-8")),
    }
    write_diffusion(out, parts)
    atomic_write_text(out / "training.json", json.dumps(training, indent=2) + "\n")


def main() -> None:
    """Command line: the folder that holds the autoencoder and is completed, and the fields of the recipe that one may want to change."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/checkpoints/diffusion"))
    for name in ("pictures", "steps", "batch", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Recipe, name))
    args = vars(parser.parse_args())
    pretrain(Recipe(**{name: value for name, value in args.items() if name != "out"}), args["out"])


if __name__ == "__main__":
    main()
