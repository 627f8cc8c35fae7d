import numpy as np
import pytest
from PIL import Image

from cirlib.methods.map_to_compose.views import RATIOS, VIEWS, View, draw_view, random_crop, random_views


@pytest.mark.parametrize("scale", [0.5, 0.8, 0.9])
def test_crops_keep_their_share_of_the_area_and_their_shape(scale):
    rng, size = np.random.default_rng(0), (200, 160)
    shares = []
    for _ in range(300):
        left, top, right, bottom = random_crop(rng, size, scale)
        assert 0 <= left < right <= 200 and 0 <= top < bottom <= 160
        assert RATIOS[0] * 0.97 < (right - left) / (bottom - top) < RATIOS[1] * 1.03
        shares.append((right - left) * (bottom - top) / (200 * 160))
    assert scale - 0.02 < min(shares) and max(shares) > scale + 0.5 * (1 - scale)


def test_a_picture_too_long_for_any_crop_is_taken_whole():
    assert random_crop(np.random.default_rng(0), (1000, 10), 0.9) == (0, 0, 1000, 10)


def test_half_of_the_weak_views_are_mirrored_and_no_train_view_is():
    image = Image.fromarray(np.repeat(np.linspace(0, 255, 32, dtype=np.uint8)[None, :, None], 32, axis=0).repeat(3, axis=2))
    rng = np.random.default_rng(0)

    def mirrored(kind):
        views = [np.asarray(draw_view(rng, image, VIEWS[kind], 16), dtype=float) for _ in range(60)]
        return np.mean([view[:, 0].mean() > view[:, -1].mean() for view in views])

    assert mirrored("train") == 0 and 0.3 < mirrored("weak") < 0.7


def test_a_turn_turns():
    image = Image.new("RGB", (32, 32), "white")
    turned = np.asarray(draw_view(np.random.default_rng(3), image, View(1.0, turn=30.0), 32))
    assert turned[0, 0].max() == 0 and turned[16, 16].min() == 255


def test_views_are_named_by_content_kind_and_number(pictures):
    views = random_views(pictures, "weak", 3, 24)
    assert len(views) == 30 and views.ids[10 + 4] == "p4#weak1"
    assert views.open("p4#weak1").size == (24, 24)
    assert len({views.content_hash(name) for name in views.ids}) == 30
    again = random_views(pictures, "weak", 3, 24)
    assert np.array_equal(views.open("p4#weak1"), again.open("p4#weak1"))
    assert views.content_hash("p4#weak1") == again.content_hash("p4#weak1")
    for other in (
        random_views(pictures, "train", 3, 24),
        random_views(pictures, "weak", 3, 24, seed=1),
        random_views(pictures, "weak", 3, 32),
    ):
        assert not {other.content_hash(name) for name in other.ids} & {views.content_hash(name) for name in views.ids}
