"""Load a BLIP-2 image-text retrieval model, by name or from a folder of `save_pretrained`, and refuse one that would half fit."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cirlib import _torchvision
from cirlib.backbones.hub import hub_answers
from cirlib.data.transforms import ImageTransform
from cirlib.types import InputError

PUBLIC_QFORMER = "Salesforce/blip2-itm-vit-g"
RESAMPLING = {2: "bilinear", 3: "bicubic"}  # PIL's numbers


@dataclass(frozen=True)
class QFormerFiles:
    """What a checkpoint holds.

    Attributes:
        model: transformers' Blip2ForImageTextRetrieval, float32, on the CPU.
        tokenizer: A fast BERT tokenizer.
        transform: The checkpoint's own preprocessing.
    """

    model: Any
    tokenizer: Any
    transform: ImageTransform


def read_qformer(name_or_folder: str | os.PathLike[str]) -> QFormerFiles:
    """Resolve a public name (downloaded once, then from the local cache) or a folder, and load everything in it.

    Raises:
        InputError: If it cannot be found, is another model, lacks weights, or its parts do not fit each other.
    """
    name = os.fspath(name_or_folder)
    folder = Path(name) if Path(name).is_dir() else _fetch(name)
    config = _read(folder / "config.json")
    if config.get("model_type") != "blip-2":
        raise InputError(f"{name} is a model of type {config.get('model_type')!r}, not blip-2; use one such as {PUBLIC_QFORMER}")
    transform = _own_transform(folder)
    model, tokenizer = _load_parts(name, folder)
    if transform.image_size != model.config.vision_config.image_size:
        wanted = model.config.vision_config.image_size
        raise InputError(f"{name} prepares pictures of {transform.image_size} px for a model of {wanted} px; mend its files")
    return QFormerFiles(model, tokenizer, transform)


def _load_parts(name: str, folder: Path) -> tuple[Any, Any]:
    _torchvision.prepare()
    from transformers import AutoTokenizer, Blip2ForImageTextRetrieval

    try:
        model, report = Blip2ForImageTextRetrieval.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except Exception as error:  # transformers, tokenizers and safetensors raise their own kinds; each of them means unusable files
        raise InputError(f"{name} cannot be loaded: {' '.join(str(error).split())[:300]}") from error
    # transformers fills what a file lacks with random numbers and only logs it: BLIP-2 models for captions lack the text side.
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise InputError(f"{name} lacks {len(missing)} weights for retrieval ({missing[0]}, ...); use one such as {PUBLIC_QFORMER}")
    vocabulary = model.config.qformer_config.vocab_size
    if not tokenizer.is_fast or tokenizer.vocab_size > vocabulary:
        raise InputError(f"the tokenizer of {name} has {tokenizer.vocab_size} tokens for {vocabulary} embeddings; mend its files")
    return model, tokenizer


def _own_transform(folder: Path) -> ImageTransform:
    """Preprocessing as the checkpoint's image processor says: BLIP squashes both sides to the same length."""
    settings = _read(folder / "preprocessor_config.json")
    size = settings.get("size")
    size = {"height": size, "width": size} if isinstance(size, int) else size or {}
    sides = set(size.values())
    if len(sides) != 1 or settings.get("resample") not in RESAMPLING:
        given = f"size {size} and resample {settings.get('resample')}"
        raise InputError(f"{folder}/preprocessor_config.json gives {given}; known are squares, resample 2 or 3")
    mean, std = tuple(settings["image_mean"]), tuple(settings["image_std"])
    return ImageTransform("clip", sides.pop(), mean, std, RESAMPLING[settings["resample"]], squash="shortest_edge" not in size)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); a Q-Former's folder holds config.json and preprocessor_config.json") from error


def _fetch(name: str) -> Path:
    """Folder of a public checkpoint: downloaded once, then from the local cache."""
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.txt", "*.safetensors"]
    online = hub_answers()
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=not online))
    except (OSError, ValueError) as error:
        reason = "it is no folder and the hub knows no such model" if online else "it is no folder, and the hub cannot be reached"
        raise InputError(f"{name!r} cannot be found ({reason}); give a folder, or a name such as {PUBLIC_QFORMER}") from error
