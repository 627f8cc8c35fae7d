"""A trained Map-to-Compose on disk: weights as safetensors, sizes and origin as JSON."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from cirlib._atomic import atomic_path, atomic_write_text
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.map_to_compose.composer import Composer
from cirlib.methods.map_to_compose.composing import ComposingAdapters
from cirlib.methods.map_to_compose.injection import VisualInjection
from cirlib.methods.map_to_compose.method import MapToCompose
from cirlib.methods.pseudo_words.mappers import build_mapper, mapper_kind
from cirlib.types import InputError

WEIGHTS, DESCRIPTION = "map_to_compose.safetensors", "map_to_compose.json"
FORMAT = 1


def save_map_to_compose(method: MapToCompose, folder: str | os.PathLike[str], facts: Mapping[str, Any] | None = None) -> Path:
    """Write a trained method; whatever mapper, injection and adapters it has.

    Args:
        method: Its weights, name and template are written, and which CLIP it belongs to.
        folder: Made if it is not there; an older method in it is replaced.
        facts: What else should be remembered (recipe, seconds), as JSON can write it; nothing reads it back.

    Returns:
        The folder.
    """
    composer, folder = method.composer, Path(folder)
    description = {
        "format": FORMAT,
        "name": method.name,
        "template": method.template,
        "clip": {key: method.encoder.fingerprint[key] for key in ("checkpoint", "config", "transform")},
        "mapper": {"kind": mapper_kind(composer.mapper), **composer.mapper.settings},
        "injection": None if composer.injection is None else composer.injection.settings,
        "composing": None if composer.composing is None else composer.composing.settings,
        "parameters": sum(tensor.numel() for tensor in composer.parameters()),
        "facts": dict(facts or {}),
    }
    with atomic_path(folder / WEIGHTS) as draft:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in composer.state_dict().items()}, draft)
    atomic_write_text(folder / DESCRIPTION, json.dumps(description, indent=2) + "\n")
    return folder


def load_map_to_compose(folder: str | os.PathLike[str], encoder: ClipEncoder) -> MapToCompose:
    """Read a trained method, frozen and in eval mode, on the encoder's device.

    Args:
        folder: What `save_map_to_compose` wrote.
        encoder: CLIP that it was trained with.

    Raises:
        InputError: If the folder holds none, or one of another CLIP or preprocessing, or files that do not belong together.
    """
    folder = Path(folder)
    if not (folder / DESCRIPTION).is_file():
        raise InputError(f"{folder} holds no trained Map-to-Compose ({DESCRIPTION} is missing); train one as notebooks 07 and 08 do")
    try:
        told = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if told["format"] != FORMAT:
            raise InputError(f"{folder} has format {told['format']} and this cirlib reads {FORMAT}; train it again")
        own = encoder.fingerprint
        if wrong := [key for key, value in told["clip"].items() if own[key] != value]:
            raise InputError(
                f"{folder} was trained with another CLIP than {encoder.clip.name} (differs in {', '.join(wrong)}); load that one"
            )
        composer = _build(told)
        composer.load_state_dict(load_file(folder / WEIGHTS))
    except InputError:
        raise
    except Exception as error:  # damaged files raise errors of JSON, safetensors and torch, each their own
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{folder} is no trained Map-to-Compose, or is damaged ({reason}); train it again") from error
    return MapToCompose(encoder, composer.eval().requires_grad_(False).to(encoder.clip.device), told["name"], told["template"])


def _build(told: Mapping[str, Any]) -> Composer:
    with torch.random.fork_rng(devices=[]):
        return Composer(
            build_mapper(**told["mapper"]),
            VisualInjection(**told["injection"]) if told["injection"] else None,
            ComposingAdapters(**told["composing"]) if told["composing"] else None,
        )
