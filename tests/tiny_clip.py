"""Tiny random OpenCLIP checkpoints in the layout of a real folder."""

import gzip
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

MERGES = ["r e", "re d</w>", "d r", "dr e", "dre s", "dres s</w>", "t h", "th a", "tha t</w>", "o f</w>"]
WORDS = 2 * 256 + len(MERGES) + 2  # bytes, bytes at a word's end, merges, start and end
CONTEXT = 16


def tiny_config(**changes) -> dict:
    text = {"context_length": CONTEXT, "vocab_size": WORDS, "width": 24, "heads": 2, "layers": 3} | changes.pop("text", {})
    vision = {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2} | changes.pop("vision", {})
    return {"embed_dim": 20, "vision_cfg": vision, "text_cfg": text} | changes


def write_tokenizer(folder: Path) -> None:
    with gzip.open(folder / "bpe_simple_vocab.txt.gz", "wb") as file:
        file.write("\n".join(["#version: tiny", *MERGES]).encode())


def write_tiny_clip(folder: Path, *, seed: int = 0, dtype: torch.dtype = torch.float16, preprocess: dict | None = None, **changes) -> Path:
    """A random model with weights drawn from `seed`, saved as fp16, with a tokenizer of ten merges."""
    from cirlib import _torchvision

    _torchvision.prepare()
    from open_clip.model import CLIP, CustomTextCLIP

    folder.mkdir(parents=True, exist_ok=True)
    config = tiny_config(**changes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        arguments = {key: value for key, value in config.items() if key != "custom_text"}
        model = (CustomTextCLIP if config.get("custom_text") else CLIP)(**arguments)
    save_file({name: value.to(dtype).contiguous() for name, value in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess or {}}))
    write_tokenizer(folder)
    return folder
