import hashlib

import numpy as np
import pytest

from cirlib.data.atelier.draw import SIZE, draw
from cirlib.data.atelier.render import draw_picture, shard_pixels, split_pixels
from cirlib.data.atelier.schema import ATTRIBUTES, allowed_values, check_design
from cirlib.data.atelier.splits import SPLITS, picture
from cirlib.types import InputError


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path))
    return tmp_path


def test_same_arguments_same_pixels():
    known = picture("test", 5)
    first, second = draw(known.design, known.scene), draw(known.design, known.scene)
    assert first.shape == (SIZE, SIZE, 3) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)


def test_pictures_keep_their_look():
    """Mean colours of pictures drawn with version 1.0. A change beyond rounding means that the version must be raised."""
    means = [draw_picture(split, 3).reshape(-1, 3).mean(0) for split in SPLITS]
    expected = [
        [169.13, 180.13, 201.51],
        [146.01, 133.74, 135.3],
        [171.02, 163.69, 154.01],
        [132.55, 155.39, 152.07],
        [154.3, 152.96, 137.16],
    ]
    np.testing.assert_allclose(means, expected, atol=0.05)


def test_every_attribute_moves_pixels():
    """Changing any single attribute, in the same scene, changes what the camera sees in a visible number of pixels."""
    unseen = set(ATTRIBUTES) - {"category"}
    for index in range(60):
        known = picture("train", index)
        before = draw(known.design, known.scene).astype(int)
        for name in known.design:
            others = [v for v in allowed_values(known.design, name) if v != known.design[name]]
            if name in ("category", "pattern") or not others:
                continue
            changed = {**known.design, name: others[0]}
            check_design(changed)
            moved = np.abs(draw(changed, known.scene).astype(int) - before).max(-1) > 24
            assert moved.sum() >= 12, (name, known.design)
            unseen.discard(name)
    assert unseen == {"pattern"}


def test_pattern_moves_pixels():
    for index in range(40):
        known = picture("train", index)
        if known.design["pattern"] == "solid":
            continue
        plain = {name: value for name, value in known.design.items() if name != "second_color"} | {"pattern": "solid"}
        moved = np.abs(draw(known.design, known.scene).astype(int) - draw(plain, known.scene)).max(-1) > 24
        assert moved.sum() > 60, known.design


def test_larger_pictures_show_the_same_garment():
    known = picture("test", 0)
    large = draw(known.design, known.scene, 2 * SIZE).astype(float)
    small = draw(known.design, known.scene, SIZE).astype(float)
    halved = large.reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3))
    assert np.abs(halved - small).mean() < 6  # of 255: noise and softness differ, the garment does not


def test_too_small_a_picture_is_refused():
    known = picture("test", 0)
    with pytest.raises(ValueError, match="32 or more"):
        draw(known.design, known.scene, 16)


def test_splits_are_disjoint():
    """No two pictures of any splits are equal."""
    digests = {hashlib.sha256(draw_picture(split, index)).digest() for split in SPLITS for index in range(60)}
    assert len(digests) == 60 * len(SPLITS)


def test_unknown_split_is_named():
    with pytest.raises(InputError, match="no split 'dev'; it has pretrain, train"):
        picture("dev", 0)


def test_cached_pixels_are_the_drawn_ones(own_cache, monkeypatch):
    monkeypatch.setattr("cirlib.data.atelier.render.SHARD", 4)
    pixels = split_pixels("val", 6, 48, progress=False)
    np.testing.assert_array_equal(pixels[5], draw_picture("val", 5, 48))
    assert sorted(p.name for p in own_cache.rglob("*.npy")) == ["00000.npy", "00001.npy"]
    monkeypatch.setattr("cirlib.data.atelier.render.draw_picture", lambda *_: pytest.fail("drawn twice"))
    np.testing.assert_array_equal(shard_pixels("val", 1, 48)[1], pixels[5])
