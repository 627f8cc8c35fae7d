"""Pretraining of the miniature autoencoder of the latent diffusion: `python -m cirlib.backbones.vae_pretraining`.

diffusers' `AutoencoderKL` on atelier's `pretrain` split: 96 px to 4 x 12 x 12 latents, as Stable Diffusion 2 makes 768 px to 4 x 96 x 96.
The loss, our choice, is L1 on pixels, L1 on the differences of neighbouring pixels at two scales, which keeps thin stripes and edges sharp,
and a weak pull of the latents to a normal distribution. No network judges the reconstructions here, so that the miniature CLIP can later be
an outside judge of what the diffusion draws.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from cirlib import _torchvision
from cirlib._atomic import atomic_write_text
from cirlib.backbones.training_steps import run_steps
from cirlib.data.atelier.render import split_pixels


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of the autoencoder's pretraining."""

    pictures: int = 24_576  # of the pretrain split
    steps: int = 2_700  # optimiser steps
    batch: int = 8  # pictures a step
    peak_rate: float = 2e-3  # learning rate after the warm-up
    warmup: int = 100  # steps
    edge_weight: float = 1.0  # of the differences of neighbouring pixels
    normal_weight: float = 1e-3  # of the divergence from a standard normal, per latent number
    seed: int = 0


def model_config() -> dict:
    """Configuration of the miniature autoencoder: factor 8, 4 latent channels, 0.8 million parameters."""
    channels = (16, 32, 48, 64)
    return {
        "sample_size": 96,
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        "block_out_channels": list(channels),
        "layers_per_block": 1,
        "latent_channels": 4,
        "norm_num_groups": 8,
        "mid_block_add_attention": False,
    }


def edge_loss(made: Float[Tensor, "b c h w"], wanted: Float[Tensor, "b c h w"]) -> Tensor:
    """Mean absolute error of the differences of neighbouring pixels, right and down, at full size and at half size.

    Example:
        >>> picture = torch.rand(1, 3, 8, 8)
        >>> round(edge_loss(picture + 0.5, picture).item(), 6)  # another brightness has the same edges
        0.0
    """
    error, total = made - wanted, made.new_zeros(())
    for _ in range(2):
        total = total + error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
        error = F.avg_pool2d(error, 2)
    return total / 4


class Losses:
    """Losses of one step: pictures drawn by the step's number, reconstructed from a sample of the posterior."""

    def __init__(self, recipe: Recipe, model: torch.nn.Module, accelerator) -> None:
        self.recipe, self.model, self.accelerator = recipe, model, accelerator
        self.pixels = split_pixels("pretrain", recipe.pictures)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Named losses of a step."""
        rows = np.random.default_rng([self.recipe.seed, step]).choice(self.recipe.pictures, self.recipe.batch, replace=False)
        wanted = torch.from_numpy(self.pixels[rows]).to(self.accelerator.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        noise = torch.Generator(wanted.device).manual_seed(self.recipe.seed + step)
        with self.accelerator.autocast():
            posterior = self.model.encode(wanted).latent_dist
            made = self.model.decode(posterior.sample(noise)).sample.float()
        spread = (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean() / 2
        return {
            "pixels": (made - wanted).abs().mean(),
            "edges": self.recipe.edge_weight * edge_loss(made, wanted),
            "normal": self.recipe.normal_weight * spread,
        }


@torch.no_grad()
def latents_of(vae: torch.nn.Module, pixels: np.ndarray, batch: int = 64) -> Float[Tensor, "n c h w"]:
    """Posterior modes of pictures, (n, h, w, 3) uint8, not scaled, in fp32 on the CPU."""
    rows = []
    for start in range(0, len(pixels), batch):
        part = torch.from_numpy(pixels[start : start + batch]).to(vae.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        rows.append(vae.encode(part).latent_dist.mode().cpu())
    return torch.cat(rows)


def pretrain(recipe: Recipe, out: Path, progress: bool = True) -> None:
    """Train from scratch or from the last saved state, then write the folder `vae` of a Stable Diffusion layout.

    The scaling factor is the inverse of the standard deviation of the latents of 1,024 pictures, as Stable Diffusion's was found.
    """
    _torchvision.prepare()
    from accelerate import Accelerator
    from diffusers import AutoencoderKL

    torch.manual_seed(recipe.seed)
    accelerator = Accelerator(mixed_precision="bf16")
    model = accelerator.prepare(AutoencoderKL.from_config(model_config()))
    optimizer = accelerator.prepare(torch.optim.AdamW(model.parameters(), recipe.peak_rate, betas=(0.9, 0.99), weight_decay=0.0))
    losses = Losses(recipe, accelerator.unwrap_model(model), accelerator)
    seconds = run_steps("vae", asdict(recipe), model, [optimizer], accelerator, losses, progress)
    vae = accelerator.unwrap_model(model).eval()
    vae.register_to_config(scaling_factor=round(1 / latents_of(vae, losses.pixels[:1024]).std().item(), 4))
    vae.half().save_pretrained(out / "vae")
    training = {
        "recipe": asdict(recipe),
        "seconds": round(seconds),
        "device": str(accelerator.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in vae.parameters()),
    }
    atomic_write_text(out / "vae" / "training.json", json.dumps(training, indent=2) + "\n")


def main() -> None:
    """Command line: the folder to write, and the fields of the recipe that one may want to change."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/checkpoints/diffusion"))
    for name in ("pictures", "steps", "batch", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Recipe, name))
    args = vars(parser.parse_args())
    pretrain(Recipe(**{name: value for name, value in args.items() if name != "out"}), args["out"])


if __name__ == "__main__":
    main()
