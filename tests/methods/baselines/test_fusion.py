import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import normalize

from cirlib.methods.baselines import ImageOnly, Slerp, TextOnly, WeightedSum, slerp, weighted_sum
from cirlib.types import Embeddings, ImageSet, InputError, Query

shares = st.floats(0, 1)


def unit_rows(seed, rows=5, dim=7):
    return normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


@given(shares)
def test_rows_are_unit_and_the_ends_are_the_single_modalities(share):
    image, text = unit_rows(0), unit_rows(1)
    for rows in (weighted_sum(image, text, share), slerp(image, text, share)):
        torch.testing.assert_close(rows.norm(dim=-1), torch.ones(5))
    torch.testing.assert_close(weighted_sum(image, text, 1.0), image)
    torch.testing.assert_close(weighted_sum(image, text, 0.0), text)
    torch.testing.assert_close(slerp(image, text, 0.0), image)
    torch.testing.assert_close(slerp(image, text, 1.0), text)


@given(shares)
def test_slerp_moves_at_constant_angle(share):
    """Independent check in the plane: the angle from the image grows in proportion to the share."""
    angle = 2.0
    image, text = torch.tensor([[1.0, 0.0]]), torch.tensor([[math.cos(angle), math.sin(angle)]])
    expected = torch.tensor([[math.cos(share * angle), math.sin(share * angle)]])
    torch.testing.assert_close(slerp(image, text, share), expected, atol=1e-5, rtol=0)


def test_halfway_slerp_is_the_even_sum():
    image, text = unit_rows(2), unit_rows(3)
    torch.testing.assert_close(slerp(image, text, 0.5), weighted_sum(image, text, 0.5))


@pytest.mark.parametrize("sign", [1, -1])
def test_slerp_of_parallel_and_opposite_rows_is_finite(sign):
    image = unit_rows(4)
    rows = slerp(image, sign * image, 0.3)
    torch.testing.assert_close(rows, image)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_shares_outside_the_range_are_named(share):
    image = unit_rows(0)
    for call in (
        lambda: weighted_sum(image, image, share),
        lambda: slerp(image, image, share),
        lambda: WeightedSum(None, share),
        lambda: Slerp(None, share),
    ):
        with pytest.raises(InputError, match="between 0 and 1"):
            call()


class StubEncoder:
    """Embeds a picture by its id and a text by its length: enough to see which of them a baseline uses."""

    def images(self, images):
        return Embeddings(images.ids, torch.stack([self._row(int(image_id)) for image_id in images.ids]))

    def references(self, queries, images):
        return torch.stack([self._row(int(query.reference)) for query in queries])

    def texts(self, texts):
        return torch.stack([self._row(100 + len(text)) for text in texts])

    @staticmethod
    def _row(seed):
        return unit_rows(seed, 1)[0]


@pytest.fixture
def world():
    ids = tuple(str(i) for i in range(4))
    images = ImageSet(ids, lambda _: Image.fromarray(np.zeros((2, 2, 3), np.uint8)), str)
    return images, [Query("a", "1", "red", ("2",)), Query("b", "1", "longer", ("0",)), Query("c", "3", "no belt", ("1",))]


def test_each_baseline_uses_what_its_name_says(world):
    images, queries = world
    encoder = StubEncoder()
    image, text = encoder.references(queries, images), encoder.texts([q.text for q in queries])
    expected = {
        ImageOnly(encoder): image,
        TextOnly(encoder): text,
        WeightedSum(encoder, 0.3): weighted_sum(image, text, 0.3),
        Slerp(encoder, 0.3): slerp(image, text, 0.3),
    }
    for method, rows in expected.items():
        composed = method.compose(queries, images)
        assert composed.ids == ("a", "b", "c")
        torch.testing.assert_close(composed.rows, rows)
        torch.testing.assert_close(method.encode_gallery(images).rows, encoder.images(images).rows)
