"""Occlusion maps are laid over their pictures, each on its own scale."""

import numpy as np
import pytest
from PIL import Image

from cirlib.types import InputError
from cirlib.viz.occlusion import mean_occlusion, occlusion_cards

PICTURE = Image.new("RGB", (8, 8), "red")


def test_cards_have_a_map_per_fact_and_its_largest_drop():
    drops = np.zeros((2, 2))
    drops[1, 0] = 3.14
    made = occlusion_cards([(PICTURE, [("belt", "yes", drops), ("color", "red", np.full((2, 2), -0.01))])])
    made.draw_without_rendering()
    images = made.axes[0].images
    assert len(images) == 1 + 2 * 2
    np.testing.assert_allclose(images[1].get_array(), drops)
    assert images[1].get_clim() == (0, 3.14) and images[3].get_clim() == (0, 0.05)
    said = [text.get_text() for text in made.axes[0].texts]
    assert said == ["belt", "drop 3.1 nats", "color: red", "drop 0.0 nats"]
    with pytest.raises(InputError, match="without a fact"):
        occlusion_cards([(PICTURE, [])])


def test_means_say_how_many():
    made = mean_occlusion({"belt": np.eye(2), "color": np.eye(2)}, {"belt": 3, "color": 9}, PICTURE, columns=1)
    made.draw_without_rendering()
    assert [text.get_text() for text in made.axes[0].texts] == ["belt", "1.0 nats, n = 3", "color", "1.0 nats, n = 9"]
    with pytest.raises(InputError, match="a map and its count"):
        mean_occlusion({"belt": np.eye(2)}, {})
