"""Pretraining of the miniature Q-Former on atelier's `pretrain` split: `python -m cirlib.backbones.qformer_pretraining`.

The losses are two of BLIP-2's three: image-text contrast (the best of a picture's m tokens against the text, both ways) and image-text
matching in the joint branch, with negatives that the contrast finds hard. Three additions are those of the miniature CLIP, where they are
explained: every caption that fits is a positive; a picture is contrasted with one prompt per value of each attribute; and prototypes of the
values, thrown away at the end, classify both sides. Unlike BLIP-2's, the vision tower is trained along, since there is none to start from.
"""

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm import tqdm

from cirlib._atomic import atomic_path, atomic_write_text
from cirlib._cache import cache_dir
from cirlib.backbones.clip_pretraining import PROMPT_CODES, SPANS, caption_fits, learning_rate
from cirlib.backbones.qformer import QFormer
from cirlib.backbones.qformer_miniature import build_model, build_tokenizer, save_qformer
from cirlib.data.atelier.captions import caption, sample_mention
from cirlib.data.atelier.corpus import sentences
from cirlib.data.atelier.prompts import value_prompts
from cirlib.data.atelier.render import split_pixels
from cirlib.data.atelier.splits import picture
from cirlib.data.atelier.truth import NAMES, value_codes
from cirlib.data.transforms import CLIP_MEAN, CLIP_STD, ImageTransform

SAVE_EVERY = 250  # steps


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of the pretraining."""

    pictures: int = 40_960  # of the pretrain split
    steps: int = 2_000  # optimiser steps
    horizon: int = 4_000  # steps after which the cosine of the learning rate would reach zero
    cooldown: int = 750  # last steps, over which the rate is brought down to zero in a line
    batch: int = 64  # pictures a step, one caption each
    matched: int = 32  # of them also in the matching loss, once as they are, once with a wrong picture, once with a wrong caption
    peak_rate: float = 2e-3  # learning rate after the warm-up
    warmup: int = 100  # steps
    weight_decay: float = 0.05
    matching_weight: float = 1.0  # of the matching loss
    value_weight: float = 2.0  # of the contrast among the values of one attribute
    prototype_weight: float = 2.0  # of the classification by prototypes
    corpus: int = 20_000  # captions that the vocabulary is learnt from
    seed: int = 0


def token_scores(tokens: Float[Tensor, "b m d"], rows: Float[Tensor, "p d"]) -> Float[Tensor, "b p"]:
    """Best inner product of each picture's m tokens with each row: BLIP-2's score of a picture and a text."""
    return torch.einsum("bmd,pd->bmp", tokens, rows).amax(dim=1)


def contrastive_loss(logits: Float[Tensor, "b b"], fits: Bool[Tensor, "b b"]) -> Tensor:
    """Symmetric InfoNCE over pictures (rows) and captions; every fitting pair is a positive with an equal share of its row or column."""
    share = fits.float()
    by_image = -(share / share.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean()
    by_text = -(share / share.sum(0, keepdim=True) * logits.log_softmax(0)).sum(0).mean()
    return (by_image + by_text) / 2


def value_loss(logits: Float[Tensor, "b p"], codes: Int[Tensor, "b a"]) -> Tensor:
    """Mean over attributes of the cross-entropy among that attribute's values; codes of -1 are left out.

    `logits` has one column per value of every attribute, in schema order.
    """
    losses = [F.cross_entropy(logits[:, span], codes[:, a], ignore_index=-1) for a, span in enumerate(SPANS) if (codes[:, a] >= 0).any()]
    return torch.stack(losses).mean()


def matching_pairs(
    logits: Float[Tensor, "b b"], fits: Bool[Tensor, "b b"], count: int, generator: torch.Generator
) -> tuple[Int[Tensor, " p"], Int[Tensor, " p"]]:
    """Pictures and captions of p = 3 * count pairs: the first `count` as they belong, then with wrong pictures, then with wrong captions.

    Wrong ones are drawn with the softmax of the contrast's logits, as in BLIP-2, among those that do not fit. Where all fit, one that fits
    is drawn: labels are to be looked up in `fits`, not in the position.
    """
    wrong = logits.detach().float().cpu().masked_fill(fits.cpu(), -1e4)
    image = torch.multinomial(wrong.softmax(0).T[:count], 1, generator=generator)[:, 0]
    text = torch.multinomial(wrong.softmax(1)[:count], 1, generator=generator)[:, 0]
    own = torch.arange(count)
    return torch.cat([own, image, own]), torch.cat([own, own, text])


class Student(torch.nn.Module):
    """What is trained: the Q-Former with its vision tower, which are kept, and temperature and prototypes, which are not."""

    def __init__(self, qformer: QFormer) -> None:
        super().__init__()
        self.qformer = qformer.requires_grad_(True)
        self.log_scale = torch.nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # LAVIS' first temperature
        self.prototypes = torch.nn.Parameter(torch.randn(SPANS[-1].stop, qformer.embed_dim))
        self.prototype_log_scale = torch.nn.Parameter(torch.tensor(math.log(20.0)))

    def see(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b v w"]:
        """Vision tokens with gradients."""
        embed, encode = self.qformer.vision_tower
        return encode(inputs_embeds=embed(pixels)).last_hidden_state

    def classify(self, tokens: Float[Tensor, "b m d"], codes: Int[Tensor, "b a"]) -> Tensor:
        """Loss of naming values by the nearest prototypes."""
        scores = token_scores(tokens, F.normalize(self.prototypes, dim=-1))
        return value_loss(self.prototype_log_scale.exp() * scores, codes)


class Batches:
    """Endless random batches of pictures, captions and value codes; the step number alone decides a batch, so resuming repeats nothing."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.designs = [picture("pretrain", index).design for index in range(recipe.pictures)]
        self.codes = torch.from_numpy(value_codes(self.designs))
        self.pixels = split_pixels("pretrain", recipe.pictures)
        self.mean, self.std = torch.tensor(CLIP_MEAN).view(3, 1, 1), torch.tensor(CLIP_STD).view(3, 1, 1)

    def __call__(self, step: int) -> dict[str, Tensor | list[str]]:
        """Batch of one step."""
        rng = np.random.default_rng([self.recipe.seed, step])
        rows = rng.choice(self.recipe.pictures, self.recipe.batch, replace=False)
        mentions = [sample_mention(rng, self.designs[row]) for row in rows]
        pixels = torch.from_numpy(self.pixels[rows]).permute(0, 3, 1, 2).float() / 255  # (b, 3, s, s)
        return {
            "images": (pixels - self.mean) / self.std,
            "texts": [caption(rng, self.designs[row], mention) for row, mention in zip(rows, mentions, strict=True)],
            "prompts": [text for name in NAMES for text in value_prompts(rng, name)],
            "codes": self.codes[rows],
            "mentioned": torch.tensor([[name in mention for name in NAMES] for mention in mentions]),
        }


def build_optimizers(model: torch.nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the transformer layers, AdamW for everything else, as for the miniature CLIP."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and ("encoder.layer." in name or "encoder.layers." in name)]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=recipe.peak_rate, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=recipe.peak_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def pretrain(recipe: Recipe, out: Path) -> None:
    """Train from scratch or from the last saved state, then write the checkpoint folder."""
    from accelerate import Accelerator

    torch.manual_seed(recipe.seed)
    tokenizer = build_tokenizer(sentences(recipe.corpus))
    accelerator = Accelerator(mixed_precision="bf16")
    # For sequences this short the plain attention is the fastest on a CPU: 1.1 s a step on one core, the fused one 1.9 s.
    model = build_model(tokenizer, attn_implementation="eager")
    side, positions = model.config.vision_config.image_size, model.config.qformer_config.max_position_embeddings
    transform = ImageTransform("clip", side, squash=True)
    student = Student(QFormer(model, tokenizer, transform, "miniature", positions, torch.float32)).train()
    student = accelerator.prepare(student)
    optimizers = [accelerator.prepare(optimizer) for optimizer in build_optimizers(accelerator.unwrap_model(student), recipe)]
    seconds = _train(recipe, student, optimizers, accelerator, Batches(recipe))
    _write_checkpoint(out, accelerator.unwrap_model(student), recipe, seconds, str(accelerator.device))


def _train(recipe: Recipe, student, optimizers, accelerator, batches: Batches) -> float:
    """Run the remaining steps; returns the seconds spent over all runs. The state is saved every `SAVE_EVERY` steps."""
    state_file = cache_dir("pretraining") / "qformer.pt"
    first, seconds = 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, map_location="cpu", weights_only=True)
        if state["recipe"] == asdict(recipe):
            accelerator.unwrap_model(student).load_state_dict(state["model"])
            for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            first, seconds = state["step"], state["seconds"]
    started = time.monotonic()
    progress = tqdm(range(first, recipe.steps), initial=first, total=recipe.steps, desc="Q-Former", mininterval=10)
    for step in progress:
        losses = _step(recipe, step, student, optimizers, accelerator, batches(step))
        progress.set_postfix({name: f"{value:.3f}" for name, value in losses.items()}, refresh=False)
        if (step + 1) % SAVE_EVERY == 0 and accelerator.is_main_process:
            spent = seconds + time.monotonic() - started
            state = {"recipe": asdict(recipe), "step": step + 1, "seconds": spent, "model": accelerator.unwrap_model(student).state_dict()}
            with atomic_path(state_file) as draft:
                torch.save({**state, "optimizers": [optimizer.state_dict() for optimizer in optimizers]}, draft)
    return seconds + time.monotonic() - started


def _step(recipe: Recipe, step: int, student, optimizers, accelerator, batch: dict) -> dict[str, float]:
    codes, mentioned = batch["codes"].to(accelerator.device), batch["mentioned"].to(accelerator.device)
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["lr"] = learning_rate(step, recipe)
    with accelerator.autocast():
        losses = _losses(recipe, step, student, batch["images"].to(accelerator.device), batch["texts"], batch["prompts"], codes, mentioned)
    accelerator.backward(sum(losses.values()))
    accelerator.clip_grad_norm_(student.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        student.log_scale.clamp_(0, math.log(100))
    return {name: loss.item() for name, loss in losses.items()}


def _losses(recipe: Recipe, step: int, student: Student, images, texts, prompts, codes, mentioned) -> dict[str, Tensor]:
    qformer, scale = student.qformer, student.log_scale.exp()
    vision, captions = student.see(images), qformer.tokenize(texts, on_long="raise")
    tokens, text = qformer.image_tokens(vision).float(), qformer.text_embedding(captions).float()
    values = qformer.text_embedding(prompts).float()
    fits = caption_fits(codes, mentioned)
    logits = scale * token_scores(tokens, text)
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    image_rows, text_rows = matching_pairs(logits, fits, recipe.matched, generator)
    matching = qformer.matching_logits(vision[image_rows], captions.select(text_rows)).float()
    named, prompt_codes = codes.masked_fill(~mentioned, -1), PROMPT_CODES.to(codes.device)
    return {
        "pairs": contrastive_loss(logits, fits),
        "matching": recipe.matching_weight * F.cross_entropy(matching, fits[image_rows, text_rows].long()),
        "values": recipe.value_weight * value_loss(scale * token_scores(tokens, values), codes),
        "pictures": recipe.prototype_weight * student.classify(tokens, codes),
        "captions": recipe.prototype_weight * student.classify(text[:, None], named),
        "prompts": recipe.prototype_weight * student.classify(values[:, None], prompt_codes),
    }


def _write_checkpoint(out: Path, student: Student, recipe: Recipe, seconds: float, device: str) -> None:
    model, tokenizer = student.qformer.model, student.qformer.tokenizer
    training = {
        "recipe": asdict(recipe),
        "seconds": round(seconds),
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "temperature": round(1 / student.log_scale.exp().item(), 5),  # transformers' class has no place for it
    }
    save_qformer(out, model, tokenizer)
    atomic_write_text(out / "training.json", json.dumps(training, indent=2) + "\n")


def main() -> None:
    """Command line: the folder to write, and the fields of the recipe that one may want to change."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/checkpoints/qformer"))
    for name in ("pictures", "steps", "batch", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Recipe, name))
    args = vars(parser.parse_args())
    pretrain(Recipe(**{name: value for name, value in args.items() if name != "out"}), args["out"])


if __name__ == "__main__":
    main()
