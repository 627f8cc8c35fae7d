"""The page is one file, shows what was asked and found, and runs nothing that a user wrote."""

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from cirlib.methods.pix2key.dictionary import Entry
from cirlib.methods.pix2key.explanation import Constraint, Explanation, Term
from cirlib.viz.search_page import HIT_PX, Hit, SearchPage, embed_picture, render_search_page, write_search_page


def page(**changes) -> SearchPage:
    hits = [Hit(Image.new("RGB", (800, 400), (80 * i, 0, 0)), f"folder/dress{i}.jpg", 0.9 - 0.125 * i) for i in range(3)]
    plain = {"image": Image.new("RGB", (30, 40), "blue"), "image_name": "mine.jpg", "text": "but red", "without": "a belt", "weight": 0.3}
    return SearchPage(**(plain | {"hits": hits, "checkpoint": "ViT-B-32/tag", "n_pictures": 5756, "note": ""} | changes))


def test_everything_is_shown_best_first_and_inside_one_file():
    html = render_search_page(page(note="Knows drawings only."))
    for shown in ("“but red”", "without “a belt”", "mine.jpg", "ViT-B-32/tag", "5,756", "picture 30%, text 70%", "Knows drawings only."):
        assert shown in html
    assert re.findall(r'class="rank">(\d+)', html) == ["1", "2", "3"]
    assert re.findall(r'class="score"[^>]*>([\d.]+)', html) == ["0.900", "0.775", "0.650"]
    assert re.findall(r'class="name"[^>]*>([^<]+)', html) == [f"folder/dress{i}.jpg" for i in range(3)]
    sources = re.findall(r'(?:src|href)="([^"]{0,22})', html)
    assert len(sources) == 4 and set(sources) == {"data:image/jpeg;base64"[:22]} and "http" not in html and "<script" not in html


@pytest.mark.parametrize(
    ("changes", "absent"), [({"image": None}, "Reference picture"), ({"without": ""}, "− without"), ({"note": ""}, 'class="note"')]
)
def test_what_was_not_given_is_not_shown(changes: dict, absent: str):
    assert absent in render_search_page(page(note="n")) and absent not in render_search_page(page(**({"note": "n"} | changes)))


def test_a_picture_alone_has_a_heading_too():
    html = render_search_page(page(text=""))
    assert "Pictures like this one" in html and "text 70%" not in html


def test_words_are_shown_as_words():
    html = render_search_page(page(text="<script>alert(1)</script>", image_name='"><b>'))
    assert (
        "<script" not in html
        and "&lt;script&gt;" in html
        and "<b>" not in html.replace("<b>3</b>", "").replace("<b>5,756</b>", "").replace("<b>ViT", "")
    )


def test_pictures_are_shrunk_and_never_enlarged():
    def size(image: Image.Image) -> tuple[int, int]:
        return Image.open(io.BytesIO(base64.b64decode(embed_picture(image, HIT_PX).split(",")[1]))).size

    assert size(Image.new("RGB", (1000, 500))) == (HIT_PX, HIT_PX // 2) and size(Image.new("RGBA", (20, 30))) == (20, 30)


def test_the_file_is_written(tmp_path: Path):
    path = write_search_page(tmp_path / "new" / "page.html", page())
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def explained(status: str, found: str) -> Explanation:
    want = Constraint("want", Entry("color", "<blue>"), "<blue>", "met", 0.9)
    keep = Constraint("keep", Entry("pattern", "striped"), "dotted", "violated", 0.5)
    return Explanation((Term("wants", 0.8, 0.7),), (want, keep, Constraint("avoid", Entry("belt", "yes"), found, status, 0.3)))


def test_signs_and_verdicts_are_told_in_words_and_marks():
    found = [("not stated", ""), ("violated", "yes"), ("met", "no")]
    hits = [Hit(Image.new("RGB", (8, 8)), f"p{i}", 0.5, explained(*item)) for i, item in enumerate(found)]
    html = render_search_page(page(hits=hits, weight=None, reader="Dictionaries: a model"))
    assert re.findall(r"<ul class=\"chips (\w+)\"", html) == ["want", "keep", "avoid"] and html.count("&lt;blue&gt;") == 4
    assert re.findall(r'mark">(.)</span><span>avoid belt: yes\s*<small class="said">([^<]+)', html) == [
        ("?", "not stated"),
        ("✗", "violated"),
        ("✓", "met: no"),
    ]
    assert html.count("keeps 0 of 1") == 3 and "violated: dotted" in html
    assert "Dictionaries: a model" in html and "picture 30%" not in html and "Scores are relevance" in html and "http" not in html


def test_a_page_without_explanations_has_no_chips():
    html = render_search_page(page())
    assert 'class="chips' not in html and 'class="why"' not in html and "Scores are inner products" in html
