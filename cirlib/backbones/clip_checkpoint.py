"""Where a CLIP comes from: an OpenCLIP name or a folder. Finds the files, reads the configuration, hashes the weights; builds nothing.

A folder follows OpenCLIP's own layout: `open_clip_config.json` (keys `model_cfg` and `preprocess_cfg`) and `open_clip_model.safetensors`,
plus the tokenizer: `bpe_simple_vocab.txt.gz` (byte pair merges, read by OpenCLIP's SimpleTokenizer) or a Hugging Face `tokenizer.json`
(named by `hf_tokenizer_name` in `text_cfg`). A model with CLIP's own vocabulary needs no tokenizer file.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cirlib import _torchvision
from cirlib.backbones.hub import hub_answers
from cirlib.types import InputError

CONFIG_FILE = "open_clip_config.json"
WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")  # best first
TOKENIZER_FILE = "bpe_simple_vocab.txt.gz"
PUBLIC_CHECKPOINT = "ViT-B-32/laion2b_s34b_b79k"  # what to use for photographs, named wherever the miniature meets them


@dataclass(frozen=True)
class Checkpoint:
    """Files and configuration of one CLIP.

    Attributes:
        name: As the user gave it.
        architecture: What `open_clip.create_model` is asked for: a built-in name or "local-dir:FOLDER".
        weights: File of the weights.
        model: OpenCLIP's model configuration.
        preprocess: OpenCLIP's preprocessing configuration; may be empty.
        folder: The folder it came from; None for a public name.
    """

    name: str
    architecture: str
    weights: Path
    model: Mapping[str, Any]
    preprocess: Mapping[str, Any]
    folder: Path | None = None

    def content_hash(self) -> str:
        """SHA-256 of the weights file, in hex: what `sha256sum` prints."""
        with open(self.weights, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def config_hash(self) -> str:
        """SHA-256 of the model configuration: the same weights in another architecture (activation, heads) are another encoder."""
        return hashlib.sha256(json.dumps(self.model, sort_keys=True).encode()).hexdigest()


def find_checkpoint(name_or_folder: str | os.PathLike[str]) -> Checkpoint:
    """Resolve "MODEL/TAG" (downloaded once, then from the local cache) or a folder.

    Raises:
        InputError: If there is neither such a folder nor such a public checkpoint, or its weights are not here and cannot be fetched.
    """
    name = os.fspath(name_or_folder)
    folder = Path(name.removeprefix("local-dir:"))
    if folder.is_dir():
        return _from_folder(name, folder)
    model, _, tag = name.rpartition("/")
    return _from_name(name, model.replace("/", "-"), tag)


def _from_folder(name: str, folder: Path) -> Checkpoint:
    config_path = folder / CONFIG_FILE
    if not config_path.is_file():
        raise InputError(f"{folder} is not a CLIP checkpoint: it holds no {CONFIG_FILE}; give a folder in OpenCLIP's layout")
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
        model = dict(config["model_cfg"])
        preprocess = dict(config.get("preprocess_cfg", {}))
        for key in ("embed_dim", "vision_cfg", "text_cfg"):
            model[key]
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{config_path} cannot be read as OpenCLIP's configuration: {error}") from error
    except KeyError as error:
        raise InputError(
            f"{config_path} lacks {error}; OpenCLIP's configuration has model_cfg with embed_dim, vision_cfg, text_cfg"
        ) from error
    for file in WEIGHT_FILES:
        if (folder / file).is_file():
            return Checkpoint(name, f"local-dir:{folder}", folder / file, model, preprocess, folder)
    raise InputError(f"{folder} holds no weights; one of {', '.join(WEIGHT_FILES)} must lie beside {CONFIG_FILE}")


def _from_name(name: str, model: str, tag: str) -> Checkpoint:
    _torchvision.prepare()
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    tags = open_clip.list_pretrained_tags_by_model(model or tag)
    if not tags:
        raise InputError(
            f"{name!r} is neither a folder nor an OpenCLIP checkpoint; give MODEL/TAG such as {PUBLIC_CHECKPOINT}, or a folder"
        )
    pretrained = get_pretrained_cfg(model, tag)
    if not pretrained:
        raise InputError(f"{name!r} names no weights of {model or tag}; allowed: {', '.join(f'{model or tag}/{t}' for t in tags)}")
    config = open_clip.get_model_config(model)
    if pretrained.get("quick_gelu"):  # without it the weights load and silently do worse
        config["quick_gelu"] = True
    keys = ("mean", "std", "interpolation", "resize_mode")
    preprocess = {key: pretrained[key] for key in keys if pretrained.get(key) is not None}
    return Checkpoint(name, model, _fetch(name, pretrained), config, preprocess)


def _fetch(name: str, pretrained: Mapping[str, Any]) -> Path:
    """The weights file of a public checkpoint: from the local cache if it is there, else downloaded."""
    from huggingface_hub import hf_hub_download
    from open_clip.pretrained import download_pretrained

    repo, _, file = pretrained.get("hf_hub", "").rpartition("/")
    if repo:
        for candidate in (file,) if file else (WEIGHT_FILES[0], WEIGHT_FILES[2]):
            try:
                return Path(hf_hub_download(repo, candidate, local_files_only=True))
            except OSError:  # not in the cache; huggingface_hub's error derives from FileNotFoundError
                continue
    try:
        if repo and not hub_answers():
            raise OSError("the Hugging Face hub cannot be reached")
        return Path(download_pretrained(dict(pretrained)))
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"the weights of {name} are not on this machine and could not be downloaded ({reason}); connect to the network once,"
            f" or give a folder with {CONFIG_FILE} and {WEIGHT_FILES[0]}"
        ) from error
