"""The HTML of the page: whatever a visitor wrote is text, and the map is to scale."""

import io
import re
from html.parser import HTMLParser

import numpy as np
import torch
from PIL import Image

from cirlib.explore.asking import Wish
from cirlib.explore.drawing import MAP_PX, Turn, draw_cloud, draw_line, draw_map, draw_picker, draw_results, draw_trail
from cirlib.explore.reference import Reference
from cirlib.explore.session import Request
from cirlib.explore.uploads import Upload


def search(explorer, *names, row=0, text="in blue", without=""):
    return explorer.search(Request(names, Reference(row=row), Wish(text, without)))


class Balance(HTMLParser):
    """Raises where a tag is closed that was not opened last."""

    VOID = {"img", "input", "image", "line", "rect", "path", "circle"}

    def __init__(self, text):
        super().__init__()
        self.open = []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_results_are_buttons_in_order(explorer, collection):
    answers = search(explorer, "Pix2Key", "sum", without="belt")
    text = draw_results(answers, collection)
    Balance(text)
    rows = [hit.row for answer in answers for hit in answer.hits]
    assert [int(row) for row in re.findall(r'<button type="button" data-row="(\d+)"', text)] == rows
    assert "cx-two" in text and text.count("<svg") == 2 and "A note." in text and "✗" in text
    assert "cx-two" not in draw_results(answers[:1], collection)


def test_what_visitors_write_is_text(collection):
    evil = '<img src=x onerror="alert(1)">'
    assert "<img src=x" not in draw_line(evil) + draw_trail([Turn(Reference(row=0)), Turn(Reference(row=1), evil)], collection)
    upload = Upload(Image.new("RGB", (20, 20), "red"), evil, "0")
    shown = draw_trail([Turn(Reference(upload=upload))], collection)
    assert "<img src=x" not in shown and 'src="data:image/jpeg;base64,' in shown
    assert 'role="alert"' in draw_line("no", wrong=True) and 'role="status"' in draw_line("yes")


def test_the_trail_leads_back(collection):
    shown = draw_trail([Turn(Reference(row=0)), Turn(Reference(row=3), "in blue")], collection)
    Balance(shown)
    assert re.findall(r'data-turn="(\d)"', shown) == ["0", "1"] and shown.index("in blue") > shown.index("/pictures/0.jpg")
    assert "No reference picture yet" in draw_trail([], collection)


def test_the_picker_offers_pictures_and_a_file(collection):
    shown = draw_picker(collection.starters(4), collection)
    Balance(shown)
    assert re.findall(r'data-row="(\d)"', shown) == ["0", "2", "4", "6"] and 'type="file"' in shown


def test_the_map_is_to_scale_and_holds_everything(explorer, collection):
    (answer,) = search(explorer, "sum")
    text = draw_map(answer, collection)
    width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', text).groups())
    hits = {
        int(rank): (float(x), float(y))
        for x, y, rank in re.findall(r"translate\(([\d.-]+) ([\d.-]+)\)\"><circle r=\"9\"/><text y=\"3.6\">(\d+)", text)
    }
    assert max(width, height) == MAP_PX and sorted(hits) == list(range(1, 8))
    query = tuple(map(float, re.search(r'class="query" transform="translate\(([\d.-]+) ([\d.-]+)', text).groups()))
    for x, y in [*hits.values(), query]:
        assert 0 <= x <= width and 0 <= y <= height
    places = answer.map.hits.numpy()
    drawn = np.array([hits[rank] for rank in range(1, 8)])
    scale = np.linalg.norm(drawn[1:] - drawn[0], axis=1) / np.linalg.norm(places[1:] - places[0], axis=1)
    np.testing.assert_allclose(scale, scale[0], rtol=5e-3, err_msg="distances on the map are those of the plane")
    assert (drawn[:, 1].argmin() == places[:, 1].argmax()) and "<rect" in text


def test_the_cloud_has_a_dot_where_a_picture_is():
    places = torch.tensor([[0.0, 0.0], [4.0, 2.0], [4.0, 0.0]])
    pixels = np.asarray(Image.open(io.BytesIO(draw_cloud(places))))
    height, width = pixels.shape[:2]
    assert abs(width - 2 * height) <= 2
    opaque = pixels[..., 3] > 0
    assert opaque[-1, 0] and opaque[0, -1] and opaque[-1, -1] and not opaque[0, 0] and not opaque[height // 2, width // 2]
    assert draw_cloud(torch.zeros(3, 2)).startswith(b"\x89PNG")
