"""Tiny CLIPs that several tests share."""

from pathlib import Path

import pytest
from tiny_clip import write_tiny_clip

from cirlib.backbones.clip import Clip, load_clip

VARIANTS = {
    "CLIP": {},
    "CustomTextCLIP": {"custom_text": True},
    "linear projection": {"text": {"proj_bias": True}},
    "pooled at an end id": {"text": {"pool_type": "eos", "eos_id": 523}},
    "not causal": {"custom_text": True, "text": {"no_causal_mask": True}},
}


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Clip:
    return load_clip(tiny_folder, device="cpu")


@pytest.fixture(scope="session", params=VARIANTS)
def any_tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return load_clip(write_tiny_clip(tmp_path_factory.mktemp("clip"), **VARIANTS[request.param]), device="cpu")
