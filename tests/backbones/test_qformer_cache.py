"""Vision tokens on disk are those of the tower, bit for bit, and are computed once."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_qformer import write_tiny_qformer

from cirlib.backbones.qformer import QFormer, load_qformer
from cirlib.backbones.qformer_cache import encode_vision_tokens
from cirlib.types import ImageSet, InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_qformer(tmp_path_factory.mktemp("qformer"))


@pytest.fixture
def qformer(folder: Path) -> QFormer:
    return load_qformer(folder, "cpu")


def pictures(count: int, broken: int | None = None) -> ImageSet:
    def noise(image_id: str) -> Image.Image:
        seed = int(image_id.removeprefix("copy of "))
        if seed == broken:
            raise InputError(f"image {image_id!r} cannot be read")
        return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (30, 26, 3), np.uint8))

    ids = (*map(str, range(count)), "copy of 1")
    return ImageSet(ids, noise, lambda image_id: hashlib.sha256(image_id.removeprefix("copy of ").encode()).hexdigest())


def count_encoded(qformer: QFormer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seen: list[int] = []
    real = qformer.vision_tokens
    monkeypatch.setattr(qformer, "vision_tokens", lambda images: (seen.append(len(images)), real(images))[1])
    return seen


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_what_is_read_is_what_the_tower_gave(folder: Path, tmp_path: Path, dtype: torch.dtype):
    qformer, images = load_qformer(folder, "cpu", dtype), pictures(7)
    tokens = encode_vision_tokens(qformer, images, tmp_path, batch_size=7, progress=False)
    direct = qformer.vision_tokens([images.open(str(number)) for number in range(7)])
    read = tokens.rows(["5", "copy of 1", "0", "5"])
    assert read.dtype == dtype and torch.equal(read, direct[[5, 1, 0, 5]])
    assert len(tokens) == 8 and tokens.rows(["3"]).shape == (1, *qformer.vision_shape)


def test_a_picture_is_encoded_once(qformer: QFormer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = count_encoded(qformer, monkeypatch)
    encode_vision_tokens(qformer, pictures(5), tmp_path, batch_size=2, progress=False)
    assert seen == [2, 2, 1], "the copy is not encoded"
    encode_vision_tokens(qformer, pictures(7), tmp_path, batch_size=4, progress=False)
    assert seen == [2, 2, 1, 2]
    with torch.no_grad():
        qformer.model.query_tokens += 1  # training changes nothing that matters here
    encode_vision_tokens(qformer, pictures(7), tmp_path, progress=False)
    qformer.transform = qformer.preset("squarepad")
    encode_vision_tokens(qformer, pictures(7), tmp_path, progress=False)
    assert seen == [2, 2, 1, 2, 7], "another preprocessing is another cache"


def test_batches_before_an_unreadable_picture_are_kept(qformer: QFormer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = count_encoded(qformer, monkeypatch)
    with pytest.raises(InputError, match="'4' cannot be read"):
        encode_vision_tokens(qformer, pictures(6, broken=4), tmp_path, batch_size=2, progress=False)
    encode_vision_tokens(qformer, pictures(6), tmp_path, batch_size=2, progress=False)
    assert seen == [2, 2, 2]


def test_only_pictures_of_the_set_can_be_asked_for(qformer: QFormer, tmp_path: Path):
    tokens = encode_vision_tokens(qformer, pictures(3), tmp_path, progress=False)
    with pytest.raises(InputError, match="'9' is not among the 4 pictures"):
        tokens.rows(["9"])
