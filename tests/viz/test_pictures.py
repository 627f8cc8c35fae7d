import io

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from cirlib.data.atelier import load_atelier
from cirlib.types import InputError
from cirlib.viz.pictures import contact_sheet, picture_rows, query_panels


@pytest.fixture(scope="module")
def benchmark():
    return load_atelier("val", 64, 20, size=32)


def rendered(figure, dpi=50):
    """Pixels of a figure, (h, w, 3)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=dpi)
    return np.asarray(Image.open(buffer).convert("RGB"))


def solid(color, shape=(8, 8)):
    return np.full((*shape, 3), color, np.uint8)


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_contact_sheet_puts_pictures_in_reading_order():
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    pixels = rendered(contact_sheet([solid(color) for color in colors], columns=2, cell=1.0), dpi=40)
    assert pixels.shape == (82, 82, 3)
    centres = [pixels[20, 20], pixels[20, 62], pixels[62, 20], pixels[62, 62]]
    assert [tuple(c) for c in centres] == [*colors, (255, 255, 255)]


def test_contact_sheet_is_no_wider_than_its_pictures():
    assert contact_sheet([solid((0, 0, 0))] * 2, columns=10, cell=1.0).get_size_inches()[0] == pytest.approx(2.05)


def test_proportions_are_kept():
    pixels = rendered(contact_sheet([solid((255, 0, 0), (20, 10))], cell=1.0), dpi=40)
    red = (pixels[..., 0] > 200) & (pixels[..., 1] < 50)
    assert red.any(0).sum() == 20 and red.any(1).sum() == 40


def test_rows_of_different_length_with_their_words():
    figure = picture_rows({"short": [("a", solid((1, 2, 3)))], "long": [("", solid((4, 5, 6)))] * 3})
    assert len(figure.axes[0].images) == 4
    assert [text for text in texts(figure) if text] == ["short", "a", "long"]


def test_positives_are_outlined_and_the_target_is_named(benchmark):
    query = next(query for query in benchmark.queries if len(query.positives) > 1)
    wrong = next(i for i in benchmark.gallery.ids if i not in (*query.positives, query.reference))
    figure = query_panels(benchmark, [query], [[wrong, query.positives[1], query.target]], notes=["target at rank 3"])
    axes = figure.axes[0]
    assert len(axes.images) == 4
    frames = [patch.get_x() for patch in axes.patches if isinstance(patch, Rectangle)]
    lefts = [image.get_extent()[0] for image in axes.images]
    assert np.allclose(frames, [lefts[2] + 0.02, lefts[3] + 0.02])
    assert [word for word in texts(figure) if word in ("target", "correct")] == ["correct", "target"]
    assert "target at rank 3" in texts(figure)
    assert query.text.split() == " ".join(texts(figure)).replace("\n", " ").split("best first ")[1].split(" target at")[0].split()


def test_a_row_without_results_still_shows_its_question(benchmark):
    figure = query_panels(benchmark, benchmark.queries[:2], [[], [benchmark.queries[1].target]])
    assert len(figure.axes[0].images) == 3


def test_bad_requests_are_named(benchmark):
    with pytest.raises(InputError, match="0 pictures"):
        contact_sheet([])
    with pytest.raises(InputError, match="no pictures to show"):
        picture_rows({"empty": []})
    with pytest.raises(InputError, match="2 queries, 1 results"):
        query_panels(benchmark, benchmark.queries[:2], [[]])
    with pytest.raises(InputError, match="'nobody' is not in this set"):
        query_panels(benchmark, benchmark.queries[:1], [["nobody"]])
