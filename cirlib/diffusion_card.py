"""The card of the miniature latent diffusion: `python -m cirlib.diffusion_card` measures the shipped checkpoint and writes what it is.

Three questions on pictures of `test`, which the training never saw. What does the autoencoder lose? How well does the UNet predict v at
each noise level, and how much of that is owed to the text? Do samples show what their text names? The last is judged by the miniature CLIP,
whose image tower had no part in the training (its text tower is the diffusion's text encoder, as in Stable Diffusion 2); the same judge
reads the pictures themselves and their reconstructions, which bound what samples can reach. `card.json` is read by `cirlib check`;
`README.md` says the same to people. Nothing on a card is written by hand.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from cirlib._cards import write_checkpoint_card
from cirlib.backbones.clip import load_clip
from cirlib.backbones.diffusion import LatentDiffusion, load_diffusion
from cirlib.backbones.diffusion_checkpoint import PUBLIC_DIFFUSION
from cirlib.backbones.miniature import miniature_path
from cirlib.card_numbers import interval_cell, interval_numbers
from cirlib.data.atelier import VERSION
from cirlib.data.atelier.captions import dictionary_text
from cirlib.data.atelier.render import split_pixels
from cirlib.data.atelier.schema import Design
from cirlib.data.atelier.splits import picture
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.zero_shot import attribute_hits, majority_share

PICTURES = 256  # of `test`, every eighth, for every measurement
LEVELS = (49, 249, 499, 749, 949)  # timesteps at which v is measured
STEPS, GUIDANCE = 20, 3.0  # of every sample here
BATCH = 32
CAPTIONS = (
    "a red dress",
    "a black coat with buttons",
    "a long blue skirt",
    "a yellow shirt with white stripes",
    "a photo of green pants",
    "a short purple dress with a belt",
    "category: dress, color: orange, pattern: floral",
    "category: coat, color: grey, sleeve: long",
)


def example_samples(diffusion: LatentDiffusion, captions: Sequence[str] = CAPTIONS, seed: int = 0) -> list[Image.Image]:
    """One picture per caption, always the same for a checkpoint and a seed on the same machine."""
    return diffusion.sample(diffusion.context_from_texts(captions), STEPS, GUIDANCE, seed)


def measure(diffusion: LatentDiffusion, judge: ClipEncoder, pictures: int = PICTURES) -> dict[str, Any]:
    """Everything on the card, as fractions (PSNR in dB) with 95 % intervals over pictures.

    Every eighth picture of `test` is taken, because neighbours look alike.
    """
    rows = 8 * np.arange(pictures)
    designs = [picture("test", int(row)).design for row in rows]
    pixels = split_pixels("test", int(rows[-1]) + 1)[rows]
    wanted = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    made = reconstructions(diffusion, wanted)
    texts = [dictionary_text(design) for design in designs]
    drawn = [
        image
        for start in range(0, pictures, BATCH)
        for image in diffusion.sample(diffusion.context_from_texts(texts[start : start + BATCH]), STEPS, GUIDANCE, seed=start)
    ]
    shown = {"pictures": [Image.fromarray(row) for row in pixels], "reconstructions": [_picture(row) for row in made], "samples": drawn}
    return {
        "pictures": pictures,
        "steps": STEPS,
        "guidance": GUIDANCE,
        "autoencoder": {
            "l1": interval_numbers((wanted - made).abs().mean((1, 2, 3)).numpy()),
            "psnr": interval_numbers(-10 * (wanted - made).square().mean((1, 2, 3)).log10().numpy()),
        },
        "v_loss": v_losses(diffusion, wanted, texts),
        "agreement": agreement(judge, shown, designs),
    }


@torch.no_grad()
def reconstructions(diffusion: LatentDiffusion, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """Pictures through the autoencoder and back, in [0, 1], on the CPU."""
    return torch.cat([diffusion.decode(diffusion.encode(part)).cpu() for part in pixels.split(BATCH)])


@torch.no_grad()
def v_losses(diffusion: LatentDiffusion, pixels: Float[Tensor, "n 3 h w"], texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Mean squared error of v at each of LEVELS: with the picture's own text, with the next picture's, and with the empty text."""
    latents = torch.cat([diffusion.encode(part) for part in pixels.split(BATCH)])
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(latents)
    own = torch.cat([diffusion.context_from_texts(texts[start : start + BATCH]) for start in range(0, len(texts), BATCH)])
    contexts = {"own text": own, "another text": own.roll(1, 0), "empty text": diffusion.context_from_texts([""]).expand_as(own)}
    losses: dict[str, dict[str, Any]] = {}
    for level in LEVELS:
        t = torch.full((len(latents),), level, device=latents.device)
        noisy, target = diffusion.add_noise(latents, noise, t), diffusion.v_target(latents, noise, t)
        losses[str(level)] = {
            name: interval_numbers((_batched(diffusion, noisy, t, context) - target).square().mean((1, 2, 3)).cpu().numpy())
            for name, context in contexts.items()
        }
    return losses


def _batched(diffusion: LatentDiffusion, noisy: Tensor, t: Tensor, context: Tensor) -> Tensor:
    parts = zip(noisy.split(BATCH), t.split(BATCH), context.split(BATCH), strict=True)
    return torch.cat([diffusion.predict_v(*part) for part in parts])


def agreement(judge: ClipEncoder, shown: Mapping[str, Sequence[Image.Image]], designs: Sequence[Design]) -> dict[str, dict[str, Any]]:
    """Per attribute: how often the judge reads the design's value off each kind of pictures, beside always saying the most frequent."""
    hits = {kind: attribute_hits(judge, normalize(judge.clip.encode_images(images), dim=-1), designs) for kind, images in shown.items()}
    return {
        name: {
            **{kind: interval_numbers(values[name]) for kind, values in hits.items()},
            "majority": round(majority_share(designs, name), 4),
        }
        for name in next(iter(hits.values()))
    }


def _picture(pixels: Float[Tensor, "3 h w"]) -> Image.Image:
    return Image.fromarray((pixels.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))


def write_card(folder: Path, metrics: dict[str, Any]) -> None:
    """Write `card.json` and `README.md` of a checkpoint folder from its `training.json` and fresh measurements."""
    facts = {
        "name": "miniature latent diffusion",
        "class": "diffusers.StableDiffusionPipeline",
        "data": f"atelier {VERSION}, split pretrain",
    }
    write_checkpoint_card(folder, facts, metrics, readme)


def readme(card: dict[str, Any]) -> str:
    """The card in Markdown."""
    training, metrics = card["training"], card["metrics"]
    parameters, auto = training["parameters"], metrics["autoencoder"]
    lines = [
        "# Miniature latent diffusion",
        "",
        f"{sum(parameters.values()) / 1e6:.1f} million parameters in the layout of diffusers' `StableDiffusionPipeline`:",
        f"`UNet2DConditionModel` ({parameters['unet'] / 1e6:.1f}), `AutoencoderKL` ({parameters['vae'] / 1e6:.1f}; 96 px to 4 x 12 x 12)",
        f"and `CLIPTextModel` ({parameters['text_encoder'] / 1e6:.1f}; the miniature CLIP's text tower without its last block).",
        "It predicts v. Weights in fp16.",
        f"**It knows drawn clothes only**: for photographs use a public model such as `{PUBLIC_DIFFUSION}`.",
        "",
        *_training_lines(card["data"], training),
        "",
        f"Measured on {metrics['pictures']:,} pictures of `test`, with 95 % intervals.",
        "",
        f"Autoencoder: mean absolute error {interval_cell(auto['l1'], 4)} of the range, PSNR {interval_cell(auto['psnr'], 2)} dB.",
        "",
        "Mean squared error of v, by timestep (0 is clean, 999 is noise):",
        "",
        *_table("timestep", ("own text", "another text", "empty text"), metrics["v_loss"], 3),
        "",
        f"Do samples ({metrics['steps']} steps, guidance {metrics['guidance']:g}) show what their text names? Percent of values that the",
        "miniature CLIP reads as they should be; reconstructions bound what a sample can reach. Each text named all attributes.",
        "",
        *_table("attribute", ("samples", "reconstructions", "pictures"), metrics["agreement"], 1, 100, "majority"),
    ]
    return "\n".join(lines) + "\n"


def _training_lines(data: str, training: dict[str, Any]) -> list[str]:
    recipe, vae = training["recipe"], training["vae"]
    phases = list(vae["phases"].values())
    steps = " + ".join(f"{phase['steps']:,}" for phase in phases)
    minutes, vae_minutes = (f"{part['seconds'] / 60:.0f} minutes" for part in (training, vae))
    return [
        f"Trained from scratch on {data}: the autoencoder for {steps} steps of {phases[0]['batch']} pictures",
        f"({vae_minutes}), the UNet for {recipe['steps']:,} steps of {recipe['batch']} out of {recipe['pictures']:,} pictures ({minutes}),",
        f"beside other work on {training['device']} (threads: {training['threads']}, torch {training['torch']}).",
        "Remake it with `python -m cirlib.backbones.vae_pretraining`, then",
        "`python -m cirlib.backbones.diffusion_pretraining`, and this card with `python -m cirlib.diffusion_card`.",
    ]


def _table(
    first: str, columns: Sequence[str], rows: Mapping[str, Mapping[str, Any]], digits: int, scale: float = 1.0, floor: str | None = None
) -> list[str]:
    """A Markdown table of means with intervals, with the level that takes no skill as the last column where there is one."""
    last = [] if floor is None else ["always the most frequent value"]
    lines = [f"| {' | '.join([first, *columns, *last])} |", "|---|" + "---:|" * (len(columns) + len(last))]
    for name, row in rows.items():
        cells = [interval_cell(row[column], digits, scale) for column in columns]
        cells += [] if floor is None else [f"{scale * row[floor]:.{digits}f}"]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return lines


def main() -> None:
    """Measure the shipped checkpoint and write its card."""
    folder = miniature_path("diffusion")
    write_card(folder, measure(load_diffusion(folder), ClipEncoder(load_clip(miniature_path("clip")))))
    print((folder / "README.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
