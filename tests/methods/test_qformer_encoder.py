"""Galleries and queries of a Q-Former follow its weights; vision tokens and the tower do not."""

import pytest
import torch
from PIL import Image
from tiny_qformer import write_tiny_qformer

from cirlib.backbones.qformer import QFormer, load_qformer
from cirlib.methods.qformer_encoder import CIRCO_TEMPLATE, QFormerEncoder, TokenTable
from cirlib.types import ImageSet, InputError, Method, Query

COLORS = ("red", "lime", "blue", "white", "black")
IMAGES = ImageSet(COLORS, lambda name: Image.new("RGB", (30, 24), name), lambda name: f"{COLORS.index(name):064x}")
QUERIES = tuple(Query(f"q{number}", reference, f"is {reference}") for number, reference in enumerate(("blue", "red", "blue")))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def qformer(tmp_path_factory) -> QFormer:
    return load_qformer(write_tiny_qformer(tmp_path_factory.mktemp("qformer")), "cpu", torch.float32)


@pytest.fixture
def encoder(qformer):
    return QFormerEncoder(qformer, progress=False, batch=2)


def test_gallery_rows_are_the_models(encoder, qformer):
    gallery = encoder.gallery(IMAGES)
    wanted = qformer.image_tokens(qformer.vision_tokens([IMAGES.open(name) for name in COLORS]))
    assert gallery.ids == COLORS
    torch.testing.assert_close(gallery.rows, wanted)
    assert encoder.gallery(IMAGES.select(())).rows.shape == (0, 3, 12)


def test_queries_meet_their_reference_and_text(encoder, qformer):
    rows = encoder.queries(QUERIES, IMAGES, qformer.joint_query)
    vision = qformer.vision_tokens([IMAGES.open(query.reference) for query in QUERIES])
    assert rows.ids == ("q0", "q1", "q2")
    torch.testing.assert_close(rows.rows, qformer.joint_query(vision, [query.text for query in QUERIES]))
    assert encoder.queries((), IMAGES, qformer.joint_query).rows.shape == (0, 12)


def test_a_fresh_copy_trains_alone_and_shares_the_tower(encoder, qformer):
    other = encoder.fresh()
    before = encoder.gallery(IMAGES).rows
    assert all(own is theirs for own, theirs in zip(other.qformer.vision_tower, qformer.vision_tower, strict=True))
    with torch.no_grad():
        other.qformer.unfreeze().model.query_tokens.mul_(-2)
    assert torch.equal(encoder.gallery(IMAGES).rows, before)
    assert not torch.allclose(other.gallery(IMAGES).rows, before)
    assert other.fingerprint != encoder.fingerprint
    assert other.qformer.vision_fingerprint == qformer.vision_fingerprint
    assert not any(parameter.requires_grad for parameter in qformer.parameters())


def test_the_mode_comes_back(encoder):
    encoder.qformer.train()
    encoder.gallery(IMAGES)
    assert encoder.qformer.training
    encoder.qformer.eval()


def test_tables_in_memory_and_on_disk_are_equal(encoder):
    held, read = encoder.table(IMAGES), encoder.table(IMAGES, most_mib=0)
    numbers = torch.tensor([4, 0, 0])
    assert len(held) == 5 and torch.equal(held.rows(numbers), read.rows(numbers))
    assert len(TokenTable(encoder.vision(IMAGES.select(())))) == 0


def test_templates(qformer):
    encoder = QFormerEncoder(qformer, progress=False, template=CIRCO_TEMPLATE)
    assert encoder.text(QUERIES[0]) == "a photo of $ that is blue"
    assert encoder.text(Query("q", "red", "{} in braces")) == "a photo of $ that {} in braces"
    with pytest.raises(InputError, match="once"):
        QFormerEncoder(qformer, template="a photo of $")


def test_half_precision_galleries(qformer):
    rows = QFormerEncoder(qformer, progress=False, dtype=torch.float16).gallery(IMAGES).rows
    assert rows.dtype == torch.float16
    assert not isinstance(QFormerEncoder(qformer), Method)
