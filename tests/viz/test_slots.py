"""The figures of V-Dict-AE hold what they were given."""

import numpy as np
import pytest
from PIL import Image

from cirlib.evaluation.intervals import Interval
from cirlib.types import InputError
from cirlib.viz import slots

PICTURE = Image.new("RGB", (8, 8), "red")


def test_training_has_a_panel_per_loss_and_running_means():
    plain = [{"step": i, "v": 1.0 / (i + 1)} for i in range(6)]
    guarded = [{"step": i, "v": 2.0, "guard": float(i), **({"pixel": 0.5} if i % 4 == 0 else {})} for i in range(6)]
    made = slots.plot_training({"plain": plain, "guarded": guarded}, smooth=2)
    made.draw_without_rendering()
    v, guard, pixel = made.axes
    assert [axes.get_ylabel() for axes in made.axes] == [slots.LOSS_NAMES[name] for name in ("v", "guard", "pixel")]
    assert len(v.lines) == 4 and len(guard.lines) == 2
    np.testing.assert_allclose(guard.lines[1].get_ydata(), [0, 0.5, 1.5, 2.5, 3.5, 4.5])
    np.testing.assert_allclose(pixel.lines[0].get_xdata(), [1, 5])
    with pytest.raises(InputError, match="at least one"):
        slots.plot_training({"plain": []})


def test_gap_shows_means_and_intervals():
    made = slots.plot_gap({step: {"own slots": Interval(0.5 - step, 0.4 - step, 0.6 - step)} for step in (0, 1)})
    made.draw_without_rendering()
    np.testing.assert_allclose(made.axes[0].lines[0].get_ydata(), [0.5, -0.5])


def test_probes_sit_on_their_rows():
    made = slots.plot_probes({"patches": {"color": 0.9, "fit": 0.8}, "slots": {"fit": 0.7}}, {"color": 0.1, "fit": 0.4})
    made.draw_without_rendering()
    np.testing.assert_allclose(made.axes[0].collections[0].get_offsets(), [[0.9, 0], [0.8, 1]])
    np.testing.assert_allclose(made.axes[0].collections[1].get_offsets(), [[0.7, 1]])


def test_attention_is_laid_over_each_picture():
    weights = np.full((2, 5, 6), 1 / 6)
    weights[1, 3] = [1, 0, 0, 0, 0, 0]
    made = slots.slot_attention([PICTURE, PICTURE], weights, [0, 3], grid=(2, 3))
    made.draw_without_rendering()
    drawn = made.axes[0].images
    assert len(drawn) == 2 * (1 + 2 * 2)
    np.testing.assert_allclose(drawn[8].get_array(), [[1, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize(("pictures", "grid"), [([PICTURE], (2, 3)), ([PICTURE, PICTURE], (2, 2)), ([], (2, 3))])
def test_attention_refuses_what_does_not_fit(pictures, grid):
    with pytest.raises(InputError, match="must fit"):
        slots.slot_attention(pictures, np.full((2, 5, 6), 1 / 6), [0], grid=grid)
