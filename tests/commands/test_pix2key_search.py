"""`cirlib search --method pix2key` from the outside, with a stand-in for the vision-language model."""

import argparse
import re
from pathlib import Path

import pytest
from PIL import Image
from tiny_clip import write_tiny_clip

from cirlib.backbones import vlm as vlm_module
from cirlib.commands import index as index_command
from cirlib.commands import search as search_command
from cirlib.types import InputError

GARMENTS = {
    "a_red_belt": ((250, 0, 0), {"color": "red", "belt": "yes"}),
    "b_blue_belt": ((0, 0, 250), {"color": "blue", "belt": "yes"}),
    "c_blue": ((0, 0, 200), {"color": "blue"}),
    "d_green": ((0, 250, 0), {"color": "green", "pattern": "striped"}),
    "e_unread": ((9, 9, 9), None),
}


class Reader:
    """Answers by the colour of a picture, as a model would answer by what it sees."""

    name, fingerprint, asked = "reader", {"weights": "none"}, 0

    def write(self, images, prompts, max_new_tokens=256):
        if images is None:
            return ['{"positive": {"color": "green"}, "negative": {}, "open": []}'] * len(prompts)
        Reader.asked += len(images)
        return [self._answer(image.getpixel((0, 0))) for image in images]

    def _answer(self, pixel):
        pairs = next(pairs for color, pairs in GARMENTS.values() if color == pixel)
        return "I cannot tell." if pairs is None else str({"dress": pairs})


def search(index: Path, *words: object) -> int:
    parser = argparse.ArgumentParser()
    search_command.add_parser(parser.add_subparsers(dest="command"))
    return search_command.run(parser.parse_args(["search", str(index), "--device", "cpu", *map(str, words)]))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    (root / "photos").mkdir()
    for name, (color, _) in GARMENTS.items():
        Image.new("RGB", (40, 40), color).save(root / "photos" / f"{name}.png")
    write_tiny_clip(root / "clip", text={"context_length": 77})
    parser = argparse.ArgumentParser()
    index_command.add_parser(parser.add_subparsers(dest="command"))
    words = ["index", root / "photos", "--out", root / "index", "--clip", root / "clip", "--device", "cpu"]
    index_command.run(parser.parse_args(list(map(str, words))))
    return root


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Reader]:
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(vlm_module, "load_vlm", lambda *where, **how: Reader())
    Reader.asked = 0
    return Reader


def asked_for(made: Path, *words: object) -> tuple[object, ...]:
    return made / "index", "--method", "pix2key", "--image", made / "photos" / "a_red_belt.png", "--vlm", "reader", *words


def test_results_are_explained_term_by_term(made: Path, capsys: pytest.CaptureFixture[str], reader: type[Reader]):
    assert search(*asked_for(made, "--text", "in blue", "--without", "a belt", "-k", 4, "--explain")) == 0
    lines = capsys.readouterr().out.splitlines()
    ranks = {Path(line.split()[2]).stem: place for place, line in enumerate(lines) if re.match(r" +\d+  -?\d", line)}
    assert set(ranks) == set(GARMENTS) - {"a_red_belt"}, "the reference is left out"
    score = float(lines[ranks["c_blue"]].split()[1])
    why = lines[ranks["c_blue"] + 1 :][:4]
    assert why[0].startswith(f"      score {score:.4f} = wants +")
    assert [re.split(r"  +", line.strip())[:3] for line in why[1:]] == [
        ["want", "color: blue", "met"],
        ["keep", "category: dress", "met"],
        ["avoid", "belt: yes", "not stated"],
    ]
    assert re.search(r"avoid +belt: yes +violated +has yes", "\n".join(lines[ranks["b_blue_belt"] :][:5]))
    terms = [float(number) for number in re.findall(r"(?:wants|anchors|avoids) ([+-][\d.]+)", why[0])]
    assert sum(terms) == pytest.approx(score, abs=2e-3)


def test_dictionaries_are_written_once(made: Path, reader: type[Reader], capsys: pytest.CaptureFixture[str]):
    search(*asked_for(made, "--text", "in blue", "-k", 2))
    first = reader.asked
    search(*asked_for(made, "--text", "in green", "-k", 2))
    assert first == len(GARMENTS) + 1 == reader.asked, "the unreadable answer is asked for once more, and nothing the second time"
    assert "score 0" not in capsys.readouterr().out, "without --explain only ranks are printed"


def test_the_model_can_read_the_text_and_variety_can_be_asked_for(made: Path, capsys: pytest.CaptureFixture[str]):
    search(*asked_for(made, "--text", "whatever", "--parser", "model", "--explain", "-k", 1))
    assert "want  color: green" in capsys.readouterr().out
    orders = []
    for diversity in ("0", "1"):
        search(*asked_for(made, "--text", "in blue", "--diversity", diversity, "-k", 4))
        orders.append(re.findall(r"([a-e]_\w+)\.png", capsys.readouterr().out))
    assert orders[0] != orders[1] and orders[0][0] == orders[1][0]


def test_a_text_that_says_nothing_is_told(made: Path, capsys: pytest.CaptureFixture[str]):
    search(*asked_for(made, "--text", "xyzzy", "-k", 1))
    assert "the parser (rules) read no change in the text" in capsys.readouterr().out


def test_the_page_shows_signs_and_verdicts_and_needs_no_network(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    search(*asked_for(made, "--text", "in blue", "--without", "a belt", "-k", 4, "--html", tmp_path / "page.html"))
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    for sign, text in (("want", "color: blue"), ("keep", "category: dress"), ("avoid", "belt: yes")):
        chips = re.search(rf'<ul class="chips {sign}".*?</ul>', html, re.S).group()
        assert f"<li>{text}</li>" in chips
    assert "Dictionaries: reader, text read by rules" in html and "picture 50%" not in html and "✗" in html and "keeps 1 of 1" in html
    assert "http" not in html and "<script" not in html


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "pix2key", "--text", "red"), "--image FILE is missing"),
        (("--method", "pix2key", "--image", "PICTURE"), "--text TEXT is missing"),
        (("--method", "pix2key", "--image", "PICTURE", "--text", " "), "--text is empty"),
        (
            ("--method", "pix2key", "--image", "PICTURE", "--text", "red", "--weight", "0.3"),
            "--weight is 0.3 and --method pix2key has no such",
        ),
        (("--method", "pix2key", "--image", "PICTURE", "--text", "red", "--diversity", "2"), "--diversity is 2; give a number from 0"),
        (("--method", "pix2key", "--image", "PICTURE", "--text", "red", "-k", "5"), "k is 5 and 4 pictures can be returned"),
        (
            ("--method", "pix2key", "--image", "PICTURE", "--text", "red", "--without", "xyzzy", "-k", "2", "--vlm", "reader"),
            "--without 'xyzzy' names nothing that the parser",
        ),
        (("--text", "red", "--explain"), "--explain given without --method pix2key"),
        (("--text", "red", "--vlm", "reader", "--diversity", "0"), "--vlm, --diversity given without --method pix2key"),
        (("--text", "red", "--parser", "rules"), "--parser given without --method pix2key"),
    ],
)
def test_bad_combinations_get_one_clear_line(made: Path, words: tuple[str, ...], message: str):
    words = tuple(str(made / "photos" / "a_red_belt.png") if word == "PICTURE" else word for word in words)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        search(made / "index", *words)
    assert "\n" not in str(caught.value)
