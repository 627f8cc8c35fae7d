"""Tiny random models, a few pictures and a recipe of a few steps, shared by the tests of V-Dict-AE."""

import hashlib
from pathlib import Path

import numpy as np
from PIL import Image

from cirlib.methods.pix2key.v_dict_ae_recipe import Recipe
from cirlib.types import ImageSet

TINY = {"slots": 6, "depth": 2, "heads": 2, "lora_rank": 2, "input_size": 0, "steps": 6, "batch": 4, "rate": 2e-3, "warmup": 2}
TINY |= {"augment": False, "precision": "fp32", "save_every": 2, "pixel_every": 2, "guard_weight": 0.1}


def tiny_recipe(**changes) -> Recipe:
    return Recipe(**{**TINY, **changes})


def pictures(count: int = 10, size: int = 48) -> ImageSet:
    """Squares of different colours and patterns."""
    rng = np.random.default_rng(0)
    arrays = {f"p{i}": rng.integers(0, 256, (4, 4, 3), np.uint8).repeat(size // 4, 0).repeat(size // 4, 1) for i in range(count)}
    return ImageSet(tuple(arrays), lambda i: Image.fromarray(arrays[i]), lambda i: hashlib.sha256(arrays[i].tobytes()).hexdigest())


def tiny_models(folder: Path):
    """A random vision-language model and a random latent diffusion, both on the CPU."""
    from cirlib import _torchvision

    _torchvision.prepare()
    from tiny_diffusion import tiny_diffusion
    from tiny_vlm import tiny_vlm

    from cirlib.backbones.diffusion import load_diffusion
    from cirlib.backbones.vlm import load_vlm

    return load_vlm(tiny_vlm(folder / "vlm"), "cpu"), load_diffusion(tiny_diffusion(folder / "diffusion"), "cpu")
