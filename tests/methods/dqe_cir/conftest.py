"""A tiny random Q-Former and a small world of plain pictures that the tests of this folder share."""

import pytest
import torch
from PIL import Image
from tiny_qformer import write_tiny_qformer

from cirlib.backbones.qformer import QFormer, load_qformer
from cirlib.methods.dqe_cir.attributes import AttributeWeights
from cirlib.methods.dqe_cir.method import DqeCir
from cirlib.methods.dqe_cir.query import ComposedQuery
from cirlib.methods.qformer_encoder import QFormerEncoder
from cirlib.types import Benchmark, BenchmarkProtocol, ImageSet, Query

COLORS = ("red", "lime", "blue", "white", "black", "yellow", "cyan", "magenta", "gray", "orange", "brown", "pink")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path))


@pytest.fixture(scope="session")
def qformer(tmp_path_factory) -> QFormer:
    return load_qformer(write_tiny_qformer(tmp_path_factory.mktemp("qformer")), "cpu", torch.float32)


@pytest.fixture
def encoder(qformer) -> QFormerEncoder:
    return QFormerEncoder(qformer, progress=False, batch=4)


@pytest.fixture
def make_composer(qformer):
    """A composer with random attribute parameters, so that no slip hides behind a zero."""

    def make(mode="gated", groups=("color", "shape"), absent="skip", on=qformer, spread=0.3) -> ComposedQuery:
        attributes = AttributeWeights(on, mode, groups, absent)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for weight in attributes.parameters():
                weight.add_(spread * torch.randn(weight.shape, generator=generator))
        return ComposedQuery(on, attributes)

    return make


@pytest.fixture
def method(encoder, make_composer) -> DqeCir:
    return DqeCir(encoder, make_composer())


@pytest.fixture
def benchmark() -> Benchmark:
    """Twelve plain pictures; each query asks for the next colour, with it in words every second time."""
    images = ImageSet(COLORS, lambda name: Image.new("RGB", (24, 24), name), lambda name: f"{COLORS.index(name):064x}")
    queries = []
    for number, reference in enumerate(COLORS):
        target, far = COLORS[(number + 1) % 12], COLORS[(number + 6) % 12]
        text = "is red with shorter sleeves" if number % 2 else "the same but no belt"
        queries.append(Query(f"q{number}", reference, text, (target,), subset=(far, target)))
    protocol = BenchmarkProtocol(exclude_reference=True, recall_at=(1, 10), subset_at=(1,))
    return Benchmark("plain", "train", tuple(queries), images, images, protocol, version="1")
