"""What trained methods say of a query, and that nothing of an upload is left anywhere."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_clip import write_tiny_clip
from tiny_qformer import write_tiny_qformer

from cirlib.backbones.clip import load_clip
from cirlib.backbones.qformer import load_qformer
from cirlib.explore.asking import Wish
from cirlib.explore.collection import Collection
from cirlib.explore.reference import Reference
from cirlib.explore.session import Explorer, Request
from cirlib.explore.uploads import Upload
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.dqe_cir.attributes import AttributeWeights
from cirlib.methods.dqe_cir.method import DqeCir
from cirlib.methods.dqe_cir.query import ComposedQuery
from cirlib.methods.pseudo_words.mappers import build_mapper
from cirlib.methods.pseudo_words.method import PseudoWordMethod
from cirlib.methods.qformer_encoder import QFormerEncoder
from cirlib.types import ImageSet


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    clip = load_clip(write_tiny_clip(root / "clip", text={"context_length": 32}), device="cpu")
    return clip, load_qformer(write_tiny_qformer(root / "qformer"), "cpu", torch.float32)


@pytest.fixture
def explorer(models):
    clip, qformer = models
    rng = np.random.default_rng(0)
    pixels = {f"p{i}": rng.integers(0, 255, (32, 32, 3), dtype=np.uint8) for i in range(6)}
    images = ImageSet(tuple(pixels), lambda i: Image.fromarray(pixels[i]), lambda i: f"{i[1:]:0>64}")
    words = PseudoWordMethod(ClipEncoder(clip, progress=False), build_mapper("pic2word", d=20, t=24, hidden=16), "words")
    encoder = QFormerEncoder(qformer, progress=False)
    weighted = DqeCir(encoder, ComposedQuery(qformer, AttributeWeights(qformer, "gated", ("color", "shape"), "skip")))
    return Explorer(Collection("noise", images, images.opener), {"words": words, "DQE-CIR": weighted})


def search(explorer, name, reference, text="is red"):
    (answer,) = explorer.search(Request((name,), reference, Wish(text)))
    return answer


def test_a_pseudo_word_tells_its_neighbours(explorer):
    answer = search(explorer, "words", Reference(row=2))
    method = explorer.methods["words"]
    near = method.neighbours(method.words(explorer.collection.images.select(["p2"])), 6)[0]
    assert list(answer.facts[0].values) == near and len(answer.hits) == 5


def test_attribute_weights_are_told_where_they_act(explorer):
    named = dict(search(explorer, "DQE-CIR", Reference(row=2), "is red").facts[0].values)
    assert 0 < named["color"] < 1 and named["shape (not named)"] is None
    assert dict(search(explorer, "DQE-CIR", Reference(row=2), "the same").facts[0].values).keys() == {
        "color (not named)",
        "shape (not named)",
    }


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", ["words", "DQE-CIR"])
def test_nothing_of_an_upload_is_left(explorer, name, own_cache, tmp_path, monkeypatch):
    explorer.prepare()
    search(explorer, name, Reference(row=1))
    before = files(own_cache)
    assert before, "the gallery is kept"
    upload = Upload(Image.new("RGB", (40, 40), "red"), "mine.png", "f" * 64)
    found = search(explorer, name, Reference(upload=upload))
    assert len(found.hits) == 6 and files(own_cache) == before
    held = getattr(explorer.methods[name].encoder, "_vision", {})
    assert not any("uploaded picture" in images.ids for images in held)
    monkeypatch.setattr("cirlib.explore.session.ask", lambda *_: (_ for _ in ()).throw(RuntimeError))
    with pytest.raises(RuntimeError):
        search(explorer, name, Reference(upload=upload))
    assert files(own_cache) == before
