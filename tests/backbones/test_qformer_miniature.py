"""The shipped miniature: its size, its class, and that it reads what its card says."""

import numpy as np
import pytest
import torch

from cirlib.backbones.miniature import miniature_path
from cirlib.backbones.qformer import QFormer, load_qformer
from cirlib.backbones.qformer_cache import encode_vision_tokens
from cirlib.data.atelier import SINGLE_VALUED, load_pictures
from cirlib.data.atelier.splits import picture
from cirlib.qformer_card import match, read

PICTURES = 512
REQUIRED = 0.85  # on every single-valued attribute, as for the miniature CLIP


@pytest.fixture(scope="module")
def miniature() -> QFormer:
    return load_qformer(miniature_path("qformer"), device="cpu")


@pytest.fixture(scope="module")
def seen(miniature, tmp_path_factory):
    vision = encode_vision_tokens(miniature, load_pictures("test", PICTURES), tmp_path_factory.mktemp("tokens"), progress=False)
    return vision, [picture("test", index).design for index in range(PICTURES)]


def test_it_is_small_and_of_the_class_that_the_papers_use(miniature):
    weights = miniature_path("qformer") / "model.safetensors"
    assert weights.stat().st_size <= 6.6e6 and sum(p.numel() for p in miniature.model.parameters()) <= 3.3e6
    assert type(miniature.model).__name__ == "Blip2ForImageTextRetrieval"
    assert (miniature.n_tokens, miniature.embed_dim) == (8, 128)


@torch.no_grad()
def test_it_reads_every_single_valued_attribute(miniature, seen):
    vision, designs = seen
    tokens = miniature.image_tokens(vision.rows(vision.ids))
    hits = read(miniature, tokens, designs)
    accuracy = {name: float(np.nanmean(hits[name])) for name in SINGLE_VALUED}
    assert min(accuracy.values()) >= REQUIRED, accuracy


@torch.no_grad()
def test_its_matching_head_tells_relatives_apart(miniature, seen):
    assert match(miniature, *seen).mean() >= 0.95
