"""Weights of a trained module on a Q-Former, on disk: everything behind the frozen vision tower, which the public checkpoint gives."""

import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cirlib._atomic import atomic_path
from cirlib.backbones.qformer import QFormer
from cirlib.types import InputError


def save_behind_tower(module: nn.Module, qformer: QFormer, file: str | os.PathLike[str]) -> Path:
    """Write all weights of a module as safetensors but those of its Q-Former's vision tower. Returns the file."""
    with atomic_path(file) as draft:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in _behind_tower(module, qformer).items()}, draft)
    return Path(file)


def load_behind_tower(module: nn.Module, qformer: QFormer, file: str | os.PathLike[str]) -> None:
    """Put saved weights into a module, in place; the vision tower stays as it is.

    Raises:
        InputError: If the file cannot be read, or its names or shapes are not those of the module; the module is then unchanged.
    """
    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file} holds no weights ({error}); save them again") from error
    expected = _behind_tower(module, qformer)
    wrong = sorted(expected.keys() ^ weights.keys())
    wrong += sorted(name for name in expected.keys() & weights.keys() if expected[name].shape != weights[name].shape)
    if wrong:
        raise InputError(f"{file} does not fit {qformer.name}: {len(wrong)} weights differ, the first is {wrong[0]}")
    with torch.no_grad():
        for name, tensor in expected.items():
            tensor.copy_(weights[name])


def _behind_tower(module: nn.Module, qformer: QFormer) -> dict[str, Tensor]:
    frozen = {id(tensor) for part in qformer.vision_tower for tensor in part.state_dict(keep_vars=True).values()}
    return {name: tensor for name, tensor in module.state_dict(keep_vars=True).items() if id(tensor) not in frozen}
