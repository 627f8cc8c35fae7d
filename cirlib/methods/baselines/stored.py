"""Trained baselines on disk: weights as safetensors, kind and recipe as JSON beside them."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cirlib._atomic import atomic_path, atomic_write_text
from cirlib.methods.baselines.combiner import Combiner, CombinerMethod, CombinerRecipe
from cirlib.methods.baselines.contrast import ContrastRecipe
from cirlib.methods.baselines.qformer_contrast import QFormerBaseline
from cirlib.methods.baselines.sprc import Sprc, SprcRecipe
from cirlib.methods.baselines.tuned_sum import TunedSum, TunedSumRecipe
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.qformer_encoder import QFormerEncoder
from cirlib.methods.qformer_weights import load_behind_tower, save_behind_tower
from cirlib.types import InputError

WEIGHTS, CARD = "baseline.safetensors", "baseline.json"
SAME_CLIP = ("checkpoint", "config", "transform")  # what must agree of CLIP's fingerprint
_ON_QFORMER = {"TunedSum": (TunedSum, TunedSumRecipe), "Sprc": (Sprc, SprcRecipe)}


def save_baseline(method: QFormerBaseline | CombinerMethod, recipe: ContrastRecipe, folder: str | os.PathLike[str]) -> Path:
    """Write a trained tuned sum, SPRC or Combiner; `load_baseline` reads it.

    Args:
        method: Everything of it is written but the frozen part: the vision tower of a Q-Former, or CLIP.
        recipe: Of its training.
        folder: Made when missing; an older baseline in it is replaced.

    Returns:
        The folder.
    """
    folder = Path(folder)
    card = {"name": method.name, "recipe": asdict(recipe)}
    if isinstance(method, CombinerMethod):
        card |= {"kind": "Combiner", "frozen": {key: method.encoder.fingerprint[key] for key in SAME_CLIP}}
        with atomic_path(folder / WEIGHTS) as draft:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in method.combiner.state_dict().items()}, draft)
    else:
        card |= {"kind": type(method.module).__name__, "frozen": method.encoder.qformer.vision_fingerprint}
        save_behind_tower(method.module, method.encoder.qformer, folder / WEIGHTS)
    atomic_write_text(folder / CARD, json.dumps(card, indent=2) + "\n")
    return folder


def load_baseline(folder: str | os.PathLike[str], encoder: QFormerEncoder | ClipEncoder) -> QFormerBaseline | CombinerMethod:
    """Read a trained baseline, frozen.

    Args:
        folder: What `save_baseline` wrote.
        encoder: Over the checkpoint that the training started from, a Q-Former or, for the Combiner, CLIP; it stays as it is.

    Raises:
        InputError: If the folder holds none, the encoder is of the wrong kind or of another checkpoint, or weights do not fit.
    """
    folder = Path(folder)
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        kind, name, recipe, frozen = (card[key] for key in ("kind", "name", "recipe", "frozen"))
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder} holds no trained baseline ({error}); give a folder with {CARD} and {WEIGHTS}") from error
    wanted = ClipEncoder if kind == "Combiner" else QFormerEncoder
    if not isinstance(encoder, wanted):
        raise InputError(f"{folder} holds a {kind}, which needs a {wanted.__name__}; a {type(encoder).__name__} is given")
    here = encoder.fingerprint if kind == "Combiner" else encoder.qformer.vision_fingerprint
    if wrong := [key for key, value in frozen.items() if here.get(key) != value]:
        raise InputError(f"{folder} was trained on another checkpoint than this one (differs in {', '.join(wrong)}); load that one")
    if kind == "Combiner":
        return _combiner(folder, name, CombinerRecipe(**recipe), encoder)
    module_of, recipe_of = _ON_QFORMER[kind]
    encoder = encoder.fresh()
    module = module_of(encoder.qformer, recipe_of(**recipe))
    load_behind_tower(module, encoder.qformer, folder / WEIGHTS)
    return QFormerBaseline(encoder, module.requires_grad_(False).eval(), name)


def _combiner(folder: Path, name: str, recipe: CombinerRecipe, encoder: ClipEncoder) -> CombinerMethod:
    combiner = Combiner(encoder.clip.embedding_dim, recipe)
    try:
        combiner.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{folder / WEIGHTS} does not fit the recipe beside it ({' '.join(str(error).split())[:200]}); save again"
        ) from error
    return CombinerMethod(encoder, combiner.requires_grad_(False).eval(), name)
