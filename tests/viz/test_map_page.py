"""The page of maps: one file, nothing fetched, texts inert, positions and codes as given."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from cirlib.types import InputError
from cirlib.viz.map_page import GRID, MapPage, PageQuery, render_map_page, thumbnail_sheet, write_map_page

PLACES = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])


def page(**changes):
    pictures = [Image.new("RGB", (8, 8), color) for color in ("red", "green", "blue")]
    query = PageQuery("</script><script>alert(1)</script>", 0, 1, (1, 2), {"CLIP": PLACES[2]}, {"CLIP": (1, 0)})
    given = {
        "title": "A <b>map</b>",
        "pictures": pictures,
        "ids": ("a", "b", "c"),
        "labels": {"color": ("red", "green", "blue"), "belt": ("yes", None, "yes")},
        "maps": {"CLIP": PLACES},
        "notes": {"CLIP": "keeps 6 of 10"},
        "queries": [query],
        "colors": {"color": {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}},
        "thumb_px": 8,
    }
    return MapPage(**{**given, **changes})


def data_of(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)[1])


def test_numbers_survive():
    data = data_of(render_map_page(page()))
    assert data["ids"] == ["a", "b", "c"]
    color, belt = data["attributes"]
    assert color == {"name": "color", "values": ["red", "green", "blue"], "colors": ["#ff0000", "#00ff00", "#0000ff"], "codes": [0, 1, 2]}
    assert belt["codes"] == [0, -1, 0] and belt["values"] == ["yes"]
    xy = np.array(data["maps"][0]["xy"]).reshape(-1, 2)
    assert xy.min() >= 0 and xy.max() <= GRID and (xy[1] - xy[0])[0] == 2 * -(xy[2] - xy[0])[1]  # downwards, one scale for both axes
    (query,) = data["queries"]
    assert query["places"]["CLIP"] == xy[2].tolist() and query["results"]["CLIP"] == [1, 0] and query["positives"] == [1, 2]


def test_nothing_is_fetched_and_texts_are_inert():
    html = render_map_page(page())
    assert "<b>map</b>" not in html and "alert(1)</script>" not in html
    assert "default-src 'none'" in html and not re.search(r"(https?:)?//[a-z]", html.replace("data:image", ""))
    assert re.findall(r'(?:src|href)="(?!data:)', html) == []
    no_queries = render_map_page(page(queries=()))
    assert 'id="queries"' not in no_queries


def test_the_sheet_holds_every_picture_in_its_place():
    pictures = [Image.new("RGB", (20, 20), (10 * number, 0, 0)) for number in range(20)] * 4
    address = thumbnail_sheet(pictures, 10)
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))
    assert sheet.shape == (20, 640, 3)
    assert abs(int(sheet[15, 155, 0]) - 10 * (79 % 20)) < 12  # the last of 80: row 1, column 15


@pytest.mark.parametrize("wrong", [{"ids": ("a",)}, {"maps": {}}, {"pictures": []}, {"labels": {"color": ("red",)}}])
def test_what_does_not_fit_is_refused(wrong):
    with pytest.raises(InputError, match="all must fit"):
        render_map_page(page(**wrong))


def test_the_file_is_written_in_one_piece(tmp_path):
    path = write_map_page(tmp_path / "pages" / "map.html", page())
    assert path.read_text(encoding="utf-8") == render_map_page(page())
