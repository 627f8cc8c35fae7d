"""Pretraining of the miniature CLIP on atelier's `pretrain` split: `python -m cirlib.backbones.clip_pretraining`.

The model is OpenCLIP's own class and the loss is CLIP's contrastive loss with three additions, all our choice and possible only because
atelier knows the truth. (1) A caption that names few attributes fits many pictures of a batch; all of them are its positives, not only the
one that it was written for. (2) For every attribute, the picture is also contrasted with one prompt per value ("a coat", "a dress", ...):
the same contrast with the hardest negatives that there are. (3) Both towers are classified by the same learnt prototypes, one per value,
which are thrown away at the end. Without (3) details stay unread for a thousand steps: the gradient of a picture along "belt" is as long as
the difference of the two belt prompts, which is nearly nothing as long as no picture shows the text tower what a belt is.
"""

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from cirlib import _torchvision
from cirlib._atomic import atomic_path
from cirlib.backbones.bpe import train_merges, vocabulary_size, write_merges
from cirlib.backbones.training_steps import run_steps
from cirlib.data.atelier.captions import caption, sample_mention
from cirlib.data.atelier.corpus import sentences
from cirlib.data.atelier.prompts import value_prompts
from cirlib.data.atelier.render import split_pixels
from cirlib.data.atelier.schema import ATTRIBUTES
from cirlib.data.atelier.splits import picture
from cirlib.data.atelier.truth import NAMES, value_codes

SPANS = [
    slice(int(stop) - len(ATTRIBUTES[name].values), int(stop))
    for name, stop in zip(NAMES, np.cumsum([len(ATTRIBUTES[n].values) for n in NAMES]), strict=True)
]
PROMPT_CODES = torch.full((SPANS[-1].stop, len(NAMES)), -1)  # which value each prompt stands for
for _column, _span in enumerate(SPANS):
    PROMPT_CODES[_span, _column] = torch.arange(_span.stop - _span.start)
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # OpenAI's, as every OpenCLIP preprocessing expects


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of the pretraining."""

    pictures: int = 40_960  # of the pretrain split
    steps: int = 3_000  # optimiser steps
    horizon: int = 4_000  # steps after which the cosine of the learning rate would reach zero
    cooldown: int = 750  # last steps, over which the rate is brought down to zero in a line
    batch: int = 64  # pictures a step, one caption each
    peak_rate: float = 2e-3  # learning rate after the warm-up
    warmup: int = 100  # steps
    weight_decay: float = 0.05
    value_weight: float = 2.0  # of the contrast among the values of one attribute
    prototype_weight: float = 2.0  # of the classification by prototypes
    merges: int = 510  # BPE merges asked for
    corpus: int = 20_000  # captions that the vocabulary is learnt from
    seed: int = 0


def model_config(vocabulary: int) -> dict:
    """OpenCLIP configuration of the miniature: ViT with 96 px, patches of 12, width 192; text with CLIP's 77 tokens."""
    return {
        "embed_dim": 192,
        "vision_cfg": {"image_size": 96, "patch_size": 12, "width": 192, "head_width": 64, "layers": 6},
        "text_cfg": {"context_length": 77, "vocab_size": vocabulary, "width": 192, "heads": 3, "layers": 3},
    }


def caption_fits(codes: Int[Tensor, "b a"], mentioned: Tensor) -> Tensor:
    """(b, b) bool: does picture i have every value that caption j names? `mentioned` is (b, a) bool."""
    agree = codes[:, None, :] == codes[None, :, :]  # (b, b, a)
    return (agree | ~mentioned[None, :, :]).all(-1)


def contrastive_loss(image: Float[Tensor, "b d"], text: Float[Tensor, "b d"], scale: Tensor, fits: Tensor) -> Tensor:
    """Symmetric InfoNCE in which every fitting pair of the batch counts as a positive with an equal share."""
    logits = scale * image @ text.T
    weight = fits.float()
    by_image = -(weight / weight.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean()
    by_text = -(weight / weight.sum(0, keepdim=True) * logits.log_softmax(0)).sum(0).mean()
    return (by_image + by_text) / 2


def value_loss(rows: Float[Tensor, "b d"], values: Float[Tensor, "p d"], scale: Tensor, codes: Int[Tensor, "b a"]) -> Tensor:
    """Mean over attributes of the cross-entropy among that attribute's values; codes of -1 are left out.

    `values` holds one unit row per value of every attribute, in schema order: embedded prompts, or prototypes.
    """
    logits = scale * rows @ values.T
    losses = [F.cross_entropy(logits[:, span], codes[:, a], ignore_index=-1) for a, span in enumerate(SPANS) if (codes[:, a] >= 0).any()]
    return torch.stack(losses).mean()


class Student(torch.nn.Module):
    """What is trained: the CLIP that is kept, and the prototypes that are not."""

    def __init__(self, clip: torch.nn.Module, dim: int) -> None:
        super().__init__()
        self.clip = clip
        self.prototypes = torch.nn.Parameter(torch.randn(SPANS[-1].stop, dim))
        self.log_scale = torch.nn.Parameter(torch.tensor(math.log(20.0)))

    @torch.no_grad()
    def limit_scale(self) -> None:
        """Keep the scale of the logits within [1, 100], as CLIP does."""
        self.clip.logit_scale.clamp_(0, math.log(100))

    def classify(self, rows: Float[Tensor, "b d"], codes: Int[Tensor, "b a"]) -> Tensor:
        """Loss of naming the values of unit rows by their nearest prototypes."""
        return value_loss(rows, F.normalize(self.prototypes, dim=-1), self.log_scale.exp(), codes)


def encode_trimmed(model: torch.nn.Module, tokens: Int[Tensor, "b n"]) -> Float[Tensor, "b d"]:
    """OpenCLIP's encode_text on the used part of the context only, in two groups by length: the same numbers, a third of the time.

    The padding comes after the end of the text, where the causal mask lets nothing look at it.
    """
    lengths = tokens.argmax(-1) + 1
    out = None
    for group in lengths.argsort().chunk(2):
        part = tokens[group, : int(lengths[group].max())]
        x = model.token_embedding(part) + model.positional_embedding[: part.shape[1]]
        x = model.transformer(x, attn_mask=model.attn_mask[: part.shape[1], : part.shape[1]])
        x = model.ln_final(x)[torch.arange(len(part)), part.argmax(-1)] @ model.text_projection
        out = x.new_empty(len(tokens), x.shape[1]) if out is None else out
        out[group] = x
    return F.normalize(out.float(), dim=-1)


class Batches:
    """Endless random batches of pictures, captions and value codes; the step number alone decides a batch, so resuming repeats nothing."""

    def __init__(self, recipe: Recipe, tokenizer) -> None:
        self.recipe, self.tokenizer = recipe, tokenizer
        self.designs = [picture("pretrain", i).design for i in range(recipe.pictures)]
        self.codes = torch.from_numpy(value_codes(self.designs))
        self.pixels = split_pixels("pretrain", recipe.pictures)
        self.mean, self.std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Batch of one step."""
        rng = np.random.default_rng([self.recipe.seed, step])
        rows = rng.choice(self.recipe.pictures, self.recipe.batch, replace=False)
        mentions = [sample_mention(rng, self.designs[row]) for row in rows]
        texts = [caption(rng, self.designs[row], mention) for row, mention in zip(rows, mentions, strict=True)]
        prompts = [text for name in NAMES for text in value_prompts(rng, name)]
        return {
            "images": self._normalized(rows),
            "tokens": self.tokenizer(texts),
            "prompts": self.tokenizer(prompts),
            "codes": self.codes[rows],
            "mentioned": torch.tensor([[name in mention for name in NAMES] for mention in mentions]),
        }

    def _normalized(self, rows: np.ndarray) -> Float[Tensor, "b 3 h w"]:
        batch = torch.from_numpy(self.pixels[rows]).permute(0, 3, 1, 2).float() / 255
        return (batch - self.mean) / self.std


class Losses:
    """The losses of one step, by name."""

    def __init__(self, recipe: Recipe, student: Student, accelerator, batches: Batches) -> None:
        self.recipe, self.student, self.accelerator, self.batches = recipe, student, accelerator, batches

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Losses of a step."""
        recipe, student, clip = self.recipe, self.student, self.student.clip
        batch = {name: tensor.to(self.accelerator.device) for name, tensor in self.batches(step).items()}
        with self.accelerator.autocast():
            image = F.normalize(clip.encode_image(batch["images"]).float(), dim=-1)
            text = encode_trimmed(clip, batch["tokens"])
            prompts = encode_trimmed(clip, batch["prompts"])
        scale, codes = clip.logit_scale.exp(), batch["codes"]
        named = codes.masked_fill(~batch["mentioned"], -1)
        return {
            "pairs": contrastive_loss(image, text, scale, caption_fits(codes, batch["mentioned"])),
            "values": recipe.value_weight * value_loss(image, prompts, scale, codes),
            "pictures": recipe.prototype_weight * student.classify(image, codes),
            "captions": recipe.prototype_weight * student.classify(text, named),
            "prompts": recipe.prototype_weight * student.classify(prompts, PROMPT_CODES.to(prompts.device)),
        }


def learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine towards the horizon, brought down to zero in a line over the last steps."""
    if step < recipe.warmup:
        return recipe.peak_rate * (step + 1) / recipe.warmup
    cosine = 0.5 * (1 + math.cos(math.pi * (step - recipe.warmup) / max(1, recipe.horizon - recipe.warmup)))
    return recipe.peak_rate * cosine * min(1.0, (recipe.steps - step) / recipe.cooldown)


def build_optimizers(model: torch.nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the transformer blocks, AdamW for everything else.

    In a trial, Muon with twice the rate, a shorter warm-up and no random shifts had after 200 steps the loss among values that AdamW had
    after 400; the four changes were not told apart.
    """
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "resblocks" in name]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=recipe.peak_rate, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=recipe.peak_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def pretrain(recipe: Recipe, out: Path) -> None:
    """Train from scratch or from the last saved state, then write the checkpoint folder."""
    _torchvision.prepare()
    import open_clip
    from accelerate import Accelerator
    from open_clip.tokenizer import SimpleTokenizer

    torch.manual_seed(recipe.seed)
    out.mkdir(parents=True, exist_ok=True)
    vocabulary_file = out / "bpe_simple_vocab.txt.gz"
    merges = train_merges(sentences(recipe.corpus), recipe.merges)
    write_merges(vocabulary_file, merges)
    config = model_config(vocabulary_size(len(merges)))
    batches = Batches(recipe, SimpleTokenizer(bpe_path=str(vocabulary_file), context_length=config["text_cfg"]["context_length"]))
    clip = open_clip.CLIP(
        config["embed_dim"],
        vision_cfg=open_clip.CLIPVisionCfg(**config["vision_cfg"]),
        text_cfg=open_clip.CLIPTextCfg(**config["text_cfg"]),
    )
    accelerator = Accelerator(mixed_precision="bf16")
    model = accelerator.prepare(Student(clip, config["embed_dim"]))
    student = accelerator.unwrap_model(model)
    optimizers = [accelerator.prepare(optimizer) for optimizer in build_optimizers(student, recipe)]
    seconds = run_steps(
        "clip",
        asdict(recipe),
        model,
        optimizers,
        accelerator,
        Losses(recipe, model, accelerator, batches),
        steps=recipe.steps,
        rate=lambda step: learning_rate(step, recipe),
        after_step=student.limit_scale,
    )
    _write_checkpoint(out, student.clip, config, recipe, seconds, str(accelerator.device))


def _write_checkpoint(out: Path, model: torch.nn.Module, config: dict, recipe: Recipe, seconds: float, device: str) -> None:
    """Weights in fp16 safetensors, OpenCLIP's folder layout, and what the training was."""
    from safetensors.torch import save_file

    with atomic_path(out / "open_clip_model.safetensors") as draft:
        save_file({name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}, draft)
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    with atomic_path(out / "open_clip_config.json") as draft:
        draft.write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}, indent=2) + "\n")
    training = {
        "recipe": asdict(recipe),
        "seconds": round(seconds),
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    training["parameters"] = sum(p.numel() for p in model.parameters())
    with atomic_path(out / "training.json") as draft:
        draft.write_text(json.dumps(training, indent=2) + "\n")


def main() -> None:
    """Command line: the folder to write, and the fields of the recipe that one may want to change."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("data/checkpoints/clip"))
    for name in ("pictures", "steps", "batch", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Recipe, name))
    args = vars(parser.parse_args())
    pretrain(Recipe(**{name: value for name, value in args.items() if name != "out"}), args["out"])


if __name__ == "__main__":
    main()
