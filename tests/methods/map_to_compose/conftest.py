"""A tiny CLIP, drawn pictures, triplets and a val split that the tests of both stages share."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_clip import write_tiny_clip

from cirlib.backbones.clip import load_clip
from cirlib.data.triplets import Triplet, TripletSet
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.map_to_compose.composer import Composer, new_composer, new_composing
from cirlib.methods.map_to_compose.recipe import Stage1Recipe, Stage2Recipe
from cirlib.methods.pseudo_words.fitting import Choice
from cirlib.types import Benchmark, BenchmarkProtocol, ImageSet, Query

SMALL = {"steps": 4, "batch": 4, "rate": 1e-2, "look_every": 2, "save_every": 2}


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    return write_tiny_clip(tmp_path_factory.mktemp("clip"), text={"context_length": 40})


@pytest.fixture(scope="session")
def tiny(tiny_folder):
    return load_clip(tiny_folder, device="cpu")


@pytest.fixture
def encoder(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path))
    return ClipEncoder(tiny, cache=tmp_path / "clip", progress=False)


@pytest.fixture(scope="session")
def pictures():
    rng = np.random.default_rng(0)
    pixels = {f"p{i}": rng.integers(0, 255, (32, 32, 3), dtype=np.uint8) for i in range(10)}
    return ImageSet(tuple(pixels), lambda i: Image.fromarray(pixels[i]), lambda i: f"random {i}")


@pytest.fixture
def captions(pictures):
    return {image_id: f"red dress {image_id}" for image_id in pictures.ids}


@pytest.fixture
def data(pictures, captions):
    made = [Triplet(f"p{i}", f"that is red {i}", f"p{(3 * i + 1) % 10}", captions[f"p{i}"]) for i in range(8)]
    return TripletSet("made", tuple(made), pictures)


@pytest.fixture
def choice(pictures):
    queries = tuple(Query(f"q{i}", f"p{i}", f"red {i}", (f"p{i + 1}",)) for i in range(4))
    val = Benchmark("made", "val", queries, pictures, pictures, BenchmarkProtocol(True, (1,)))

    def score(method, val):
        gallery = method.encode_gallery(val.gallery).rows
        targets = gallery[[val.gallery.rows[query.target] for query in val.queries]]
        return (method.compose(val.queries, val.references).rows * targets).sum(-1).mean()

    return Choice(val, score)


@pytest.fixture
def stage1():
    def make(**changes):
        return Stage1Recipe(**{**SMALL, "hidden": 8, "heads": 2, "mapper_width": 16, "answer": "released", **changes})

    return make


@pytest.fixture
def stage2():
    def make(**changes):
        return Stage2Recipe(**{**SMALL, "rank": 4, "negatives": 2, **changes})

    return make


@pytest.fixture
def composer(tiny, stage1):
    """An eval-mode stage 1 whose injection acts."""
    made = new_composer(tiny, stage1()).eval()
    with torch.no_grad():
        for adapter in made.injection.adapters:
            adapter.to_answer[3].bias.fill_(0.5)  # otherwise the last ReLU of a random start may be silent everywhere
    return made


@pytest.fixture
def composed(tiny, composer, stage2):
    """The same with composing adapters that act."""
    return Composer(composer.mapper, composer.injection, new_composing(tiny, stage2(init="released"))).eval()
