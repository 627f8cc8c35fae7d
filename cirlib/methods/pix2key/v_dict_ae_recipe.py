"""Everything that decides the outcome of a V-Dict-AE training, and how its learning rate runs.

From the paper: learning rate 5e-5, pooler depth 5, pictures of 224 pixels, LoRA. Every other default is our choice, because the paper
does not say; the miniature passes sizes of its own.
"""

import math
from dataclasses import dataclass, fields
from typing import Literal

from cirlib.methods.pix2key.soft_prompt import HeadKind
from cirlib.types import InputError


@dataclass(frozen=True)
class Recipe:
    """Settings of one training."""

    slots: int = 75  # Q; with BOS and EOS they fill the 77 tokens of the text context
    depth: int = 5  # layers of the pooler
    heads: int = 0  # of the pooler; 0: one per 128 channels
    head: HeadKind = "continuous"
    lora_rank: int = 16  # 0: no adapters
    lora_scale: float = 32.0
    lora_dropout: float = 0.05
    input_size: int = 224  # pixels a side that the vision-language model sees; 0: pictures as they are
    v_weight: float = 1.0  # of L_v; 0 trains by the guard alone, a control that shows what the diffusion model adds
    pixel_weight: float = 0.05  # gamma; 0 leaves the pixel loss out
    pixel_every: int = 4  # steps between two pixel losses
    pixel_below: int = 500  # timesteps at which a decoded estimate is worth comparing
    guard_weight: float = 0.0  # of the divergence from the stock model's dictionaries (not in the paper); 0: no guard
    keep_patches: bool = False  # guard and inference feed [P; Z] in place of Z (not in the paper)
    steps: int = 15_000
    batch: int = 64  # pictures a step, over all processes
    rate: float = 5e-5  # peak learning rate
    lora_rate: float = 0.0  # peak learning rate of the adapters; 0: the same
    warmup: int = 500  # steps
    weight_decay: float = 0.01  # not on norms, biases and single vectors
    clip: float = 1.0  # largest norm of the gradient
    ema: float = 0.999  # decay of the averaged weights, reached gradually
    augment: bool = True  # random crop and flip, the same for the language model and the autoencoder
    precision: Literal["fp32", "bf16"] = "bf16"  # of the forward pass; the trained weights stay in fp32
    checkpointing: bool = False  # compute activations twice to save memory
    save_every: int = 100  # steps between two states on disk
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "pixel_every", "save_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)} in a V-Dict-AE recipe; use 1 or more")
        for name in ("v_weight", "pixel_weight", "guard_weight", "weight_decay", "lora_rank", "input_size", "warmup", "lora_rate", "heads"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} = {getattr(self, name)} in a V-Dict-AE recipe; use 0 or more")
        if not self.v_weight and not self.guard_weight:
            raise InputError("v_weight = guard_weight = 0 in a V-Dict-AE recipe leaves nothing to train for; give one of them a weight")
        if not 0 <= self.ema < 1:
            raise InputError(f"ema = {self.ema} in a V-Dict-AE recipe; use a decay in [0, 1)")
        if self.precision not in ("fp32", "bf16"):
            raise InputError(f"precision {self.precision!r} in a V-Dict-AE recipe; it is fp32 or bf16")

    @classmethod
    def read(cls, values: dict) -> "Recipe":
        """A recipe from a stored dictionary. Raises InputError on a key that recipes do not have."""
        unknown = set(values) - {field.name for field in fields(cls)}
        if unknown:
            raise InputError(f"a V-Dict-AE recipe has no {', '.join(sorted(unknown))}; was it written by another version?")
        return cls(**values)

    def rate_share(self, step: int) -> float:
        """Share of the peak learning rate at a step: linear warm-up, then a cosine down to a tenth.

        Example:
            >>> recipe = Recipe(steps=100, warmup=10)
            >>> [round(recipe.rate_share(step), 3) for step in (0, 9, 10, 55, 99)]
            [0.1, 1.0, 1.0, 0.55, 0.1]
        """
        if step < self.warmup:
            return (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.1 + 0.45 * (1 + math.cos(math.pi * done))

    def ema_decay(self, step: int) -> float:
        """Decay of the averaged weights after a step: (1 + step) / (10 + step) until that reaches `ema`, so that the start is forgotten."""
        return min(self.ema, (1 + step) / (10 + step))
