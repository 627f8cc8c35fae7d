"""Trained mappers on disk: weights as safetensors, everything else as JSON beside them."""

import json
import os
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from cirlib._atomic import atomic_path, atomic_write_text
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.pseudo_words.fitting import TrainedMapper
from cirlib.methods.pseudo_words.mappers import build_mapper, mapper_kind
from cirlib.methods.pseudo_words.method import PseudoWordMethod
from cirlib.types import InputError

WEIGHTS, FACTS = "mapper.safetensors", "mapper.json"
SAME_MODEL = ("checkpoint", "config")  # what must agree of CLIP's fingerprint; preprocessing and precision may differ


def save_mapper(trained: TrainedMapper, folder: str | os.PathLike[str]) -> Path:
    """Write `mapper.safetensors` and `mapper.json` (kind, sizes, name, template, recipe, chosen step, CLIP). Returns the folder."""
    folder, method = Path(folder), trained.method
    facts = {
        "kind": mapper_kind(method.mapper),
        "settings": method.mapper.settings,
        "name": method.name,
        "template": method.template,
        "recipe": trained.recipe,
        "chosen": trained.outcome.chosen,
        "seconds": round(trained.outcome.seconds, 1),
        "clip": method.encoder.fingerprint,
    }
    with atomic_path(folder / WEIGHTS) as draft:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in method.mapper.state_dict().items()}, draft)
    atomic_write_text(folder / FACTS, json.dumps(facts, indent=2) + "\n")
    return folder


def load_mapper(folder: str | os.PathLike[str], encoder: ClipEncoder) -> PseudoWordMethod:
    """Read a mapper as a method, in eval mode.

    Raises:
        InputError: If the folder holds no mapper, or one that was trained on another CLIP.
    """
    folder = Path(folder)
    if not (folder / WEIGHTS).is_file() or not (folder / FACTS).is_file():
        raise InputError(f"{folder} holds no mapper ({WEIGHTS} and {FACTS}); train one, or name another folder")
    facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    here = encoder.fingerprint
    if any(facts["clip"][part] != here[part] for part in SAME_MODEL):
        raise InputError(f"the mapper of {folder} was trained on another CLIP than {encoder.clip.name}; load that one")
    mapper = build_mapper(facts["kind"], **facts["settings"])
    mapper.load_state_dict(load_file(folder / WEIGHTS))
    return PseudoWordMethod(encoder, mapper.to(encoder.clip.device).eval(), facts["name"], facts["template"])
