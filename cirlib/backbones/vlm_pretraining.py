"""Pretraining of the miniature vision-language model on atelier's `pretrain` split: `python -m cirlib.backbones.vlm_pretraining`.

As with public models, the vision tower comes first and the language second; both stages are our choice. (1) The tower alone learns to
predict, through heads that are thrown away, what the shipped miniature CLIP makes of each patch before its last block, and the truth about
the picture from the merged tokens: without such dense supervision small details stay unread for long. (2) The whole model learns four
lessons in every step (`vlm_lessons`), with the loss on the answers' tokens only and the truth about the picture beside it.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from cirlib import _torchvision
from cirlib._atomic import atomic_write_text
from cirlib.backbones.clip import Clip, load_clip
from cirlib.backbones.miniature import CHECKPOINTS, miniature_path
from cirlib.backbones.training_steps import run_steps
from cirlib.backbones.vlm_lessons import Lesson, picture_lesson, sentences, text_lesson
from cirlib.backbones.vlm_miniature import IMAGE_TOKENS, build_processor, model_config, save_vlm, train_tokenizer
from cirlib.backbones.vlm_training_parts import answer_loss, batched_vision, patch_rows, token_rows, truth_loss
from cirlib.data.atelier.render import split_pixels
from cirlib.data.atelier.schema import ATTRIBUTES
from cirlib.data.atelier.splits import picture
from cirlib.data.atelier.truth import NAMES, value_codes


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the outcome of the pretraining."""

    pictures: int = 40_960  # of the pretrain split
    tower_steps: int = 500  # steps of the vision tower alone
    tower_batch: int = 64  # pictures a step there
    steps: int = 1_000  # steps of the whole model
    batch: int = 32  # pictures a step, one lesson each
    texts: int = 20  # lessons without a picture a step
    captions: float = 0.3  # share of the pictures' lessons
    peak_rate: float = 2e-3  # learning rate after the warm-up
    warmup: int = 50  # steps, of either stage
    cooldown: float = 0.4  # last share of the second stage, over which the rate is brought down to zero in a line
    weight_decay: float = 0.05
    truth_weight: float = 0.3  # of the truth about the picture, in the second stage
    vocabulary: int = 1_000  # tokens asked for
    corpus: int = 20_000  # lessons of each kind that the vocabulary is learnt from
    seed: int = 0


class Student(nn.Module):
    """What is trained: the model that is kept, and the two heads that are not."""

    def __init__(self, vlm: nn.Module, teacher_width: int) -> None:
        super().__init__()
        self.vlm = vlm
        vision = vlm.config.vision_config
        self.patch_head = nn.Linear(vision.hidden_size, teacher_width)
        self.truth_head = nn.Linear(IMAGE_TOKENS * vision.out_hidden_size, sum(len(ATTRIBUTES[name].values) for name in NAMES))


class Batches:
    """Random batches; stage and step alone decide one, so resuming repeats nothing."""

    def __init__(self, recipe: Recipe, processor: Any) -> None:
        self.recipe, self.processor = recipe, processor
        self.designs = [picture("pretrain", i).design for i in range(recipe.pictures)]
        self.codes = torch.from_numpy(value_codes(self.designs))
        self.pixels = split_pixels("pretrain", recipe.pictures)
        self.mean, self.std = (torch.tensor(getattr(processor.image_processor, name)).view(3, 1, 1) for name in ("image_mean", "image_std"))

    def pictures(self, stage: int, step: int, count: int) -> tuple[np.random.Generator, np.ndarray, Float[Tensor, "b 3 h w"]]:
        """Generator of this step, rows of its pictures, and their normalised pixels."""
        rng = np.random.default_rng([self.recipe.seed, stage, step])
        rows = rng.choice(self.recipe.pictures, count, replace=False)
        pixels = torch.from_numpy(self.pixels[rows]).permute(0, 3, 1, 2).float() / 255
        return rng, rows, (pixels - self.mean) / self.std

    def lessons(self, rng: np.random.Generator, rows: np.ndarray) -> list[Lesson]:
        """One lesson for each picture, then those without one."""
        seen = [picture_lesson(rng, self.designs[row], self.recipe.captions) for row in rows]
        return seen + [text_lesson(rng) for _ in range(self.recipe.texts)]


def learning_rate(step: int, recipe: Recipe) -> float:
    """A linear warm-up at the start of either stage, a plateau, and a line down to zero over the last steps; `step` counts both stages."""
    lesson = step - recipe.tower_steps
    warm = ((lesson if lesson >= 0 else step) + 1) / recipe.warmup
    return recipe.peak_rate * min(1.0, warm, (recipe.steps - lesson) / (recipe.cooldown * recipe.steps))


def build_optimizers(student: Student, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of blocks, layers and merger, AdamW for everything else (as for the miniature CLIP)."""
    inner = ("blocks.", "layers.", "merger.mlp.")
    matrices = [p for name, p in student.named_parameters() if p.ndim == 2 and any(part in name for part in inner)]
    chosen = {id(p) for p in matrices}
    others = [p for p in student.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=recipe.peak_rate, weight_decay=recipe.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=recipe.peak_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def teacher_tokens(clip: Clip, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b p w"]:
    """Patch tokens before CLIP's last block, each at zero mean and unit variance.

    The last block is left out: CLIP's loss sees the pooled token only, so that nothing ever trained what it makes of the others.
    """
    visual, found = clip.model.visual, []
    handle = visual.transformer.resblocks[-2].register_forward_hook(lambda module, args, out: found.append(out))
    try:
        with torch.no_grad():
            clip.pixel_tokens(pixels)
    finally:
        handle.remove()
    return F.layer_norm(found[0][:, 1:].float(), found[0].shape[-1:])


class Trainer:
    """Both stages over one student."""

    def __init__(self, recipe: Recipe, accelerator: Any, vlm: nn.Module, teacher: Clip, batches: Batches) -> None:
        self.recipe, self.accelerator, self.teacher, self.batches = recipe, accelerator, teacher, batches
        student = Student(vlm, teacher.model.visual.conv1.out_channels)
        self.student = accelerator.prepare(student)
        self.optimizers = [accelerator.prepare(optimizer) for optimizer in build_optimizers(student, recipe)]

    def tower_losses(self, step: int) -> dict[str, Tensor]:
        """Losses of the first stage."""
        _, rows, pixels = self.batches.pictures(0, step, self.recipe.tower_batch)
        student, pixels = self.student, pixels.to(self.accelerator.device)
        visual = student.vlm.model.visual
        with self.accelerator.autocast():
            wanted = patch_rows(teacher_tokens(self.teacher, pixels), visual.spatial_merge_size)
            hidden, merged = batched_vision(visual, pixels)
            patches = F.mse_loss(student.patch_head(F.layer_norm(hidden.float(), hidden.shape[-1:])).float(), wanted)
            truth = truth_loss(student.truth_head(merged.flatten(1)), self.batches.codes[rows].to(pixels.device))
        return {"patches": patches, "truth": truth}

    def lesson_losses(self, step: int) -> dict[str, Tensor]:
        """Losses of the second stage: the mean over all tokens of the answers, and the truth about the pictures."""
        rng, rows, pixels = self.batches.pictures(1, step, self.recipe.batch)
        pixels = pixels.to(self.accelerator.device)
        lessons = self.batches.lessons(rng, rows)
        student, codes = self.student, self.batches.codes[rows].to(pixels.device)
        with self.accelerator.autocast():
            _, merged = batched_vision(student.vlm.model.visual, pixels)
            truth = truth_loss(student.truth_head(merged.flatten(1)), codes)
            sums, tokens = zip(*(answer_loss(student.vlm, part, merged) for part in self._parts(lessons)), strict=True)
        return {"answers": sum(sums) / sum(tokens), "truth": self.recipe.truth_weight * truth}

    def _parts(self, lessons: list[Lesson]) -> Iterator[dict[str, Tensor]]:
        """Lessons with and without pictures apart: neither pads the other."""
        for part in (lessons[: self.recipe.batch], lessons[self.recipe.batch :]):
            batch = token_rows(self.batches.processor, part)
            yield {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}

    def losses(self, step: int) -> dict[str, Tensor]:
        """Losses of a step; `step` counts both stages."""
        lesson = step - self.recipe.tower_steps
        return self.lesson_losses(lesson) if lesson >= 0 else self.tower_losses(step)

    def run(self) -> float:
        """Run what remains of both stages; returns the seconds spent over all runs."""
        recipe = self.recipe
        return run_steps(
            "vlm",
            asdict(recipe),
            self.student,
            self.optimizers,
            self.accelerator,
            self.losses,
            steps=recipe.tower_steps + recipe.steps,
            rate=lambda step: learning_rate(step, recipe),
        )


def pretrain(recipe: Recipe, out: Path) -> None:
    """Train from scratch or from the last saved state, then write the checkpoint folder."""
    _torchvision.prepare()
    from accelerate import Accelerator
    from transformers import Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(recipe.seed)
    tokenizer = train_tokenizer(sentences(np.random.default_rng(recipe.seed), recipe.corpus), recipe.vocabulary)
    processor, config = build_processor(tokenizer), model_config(tokenizer)
    accelerator = Accelerator(mixed_precision="bf16")
    vlm = Qwen2_5_VLForConditionalGeneration(config)
    teacher = load_clip(miniature_path("clip"), device=str(accelerator.device))
    trainer = Trainer(recipe, accelerator, vlm, teacher, Batches(recipe, processor))
    seconds = trainer.run()
    if accelerator.is_main_process:
        _write(out, vlm, processor, recipe, seconds, str(accelerator.device))


def _write(out: Path, vlm: nn.Module, processor: Any, recipe: Recipe, seconds: float, device: str) -> None:
    save_vlm(out, vlm, processor)
    training = {
        "recipe": asdict(recipe),
        "seconds": round(seconds),
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in vlm.parameters()),
    }
    atomic_write_text(out / "training.json", json.dumps(training, indent=2) + "\n")


def main() -> None:
    """Command line: where to write, and any number of the recipe."""
    parser = argparse.ArgumentParser(description="Pretrain the miniature vision-language model on atelier.")
    parser.add_argument("--out", type=Path, default=CHECKPOINTS / "vlm")
    for name, value in asdict(Recipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    chosen = vars(parser.parse_args())
    out = chosen.pop("out")
    pretrain(Recipe(**chosen), out)


if __name__ == "__main__":
    main()
