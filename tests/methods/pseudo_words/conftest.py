"""A tiny CLIP and drawn pictures that the tests of pseudo-words share."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_clip import write_tiny_clip

from cirlib.backbones.clip import load_clip
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.types import Benchmark, BenchmarkProtocol, ImageSet, Query


def make_pictures(count, seed=0, name="p"):
    rng = np.random.default_rng(seed)
    pixels = {f"{name}{i}": rng.integers(0, 255, (32, 32, 3), dtype=np.uint8) for i in range(count)}
    return ImageSet(tuple(pixels), lambda i: Image.fromarray(pixels[i]), lambda i: f"{name}-{seed}-{i}")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return load_clip(write_tiny_clip(tmp_path_factory.mktemp("clip"), text={"context_length": 32}), device="cpu")


@pytest.fixture
def encoder(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return ClipEncoder(tiny, cache=tmp_path / "clip", progress=False)


@pytest.fixture
def pictures():
    return make_pictures(12)


@pytest.fixture
def val(pictures):
    queries = tuple(Query(f"q{i}", f"p{i}", f"red {i}", (f"p{i + 1}",)) for i in range(4))
    return Benchmark("made", "val", queries, pictures, pictures, BenchmarkProtocol(True, (1,)))


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)
