"""`cirlib search --method map-to-compose` from the outside, on an index that knows nothing of it."""

import argparse
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_clip import write_tiny_clip

from cirlib.backbones.clip import load_clip
from cirlib.commands import index as index_command
from cirlib.commands import search as search_command
from cirlib.index import load_index
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.map_to_compose.composer import Composer, new_composer, new_composing
from cirlib.methods.map_to_compose.method import MapToCompose
from cirlib.methods.map_to_compose.recipe import Stage1Recipe, Stage2Recipe
from cirlib.methods.map_to_compose.storage import save_map_to_compose
from cirlib.types import InputError, Query


def search(index: Path, *words: object) -> int:
    parser = argparse.ArgumentParser()
    search_command.add_parser(parser.add_subparsers(dest="command"))
    return search_command.run(parser.parse_args(["search", str(index), "--device", "cpu", *map(str, words)]))


def ranked(printed: str) -> list[str]:
    return [Path(line.split()[2]).name for line in printed.splitlines() if re.match(r" +\d+  -?\d", line)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, an index made by `cirlib index`, and a method trained by nobody."""
    root = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    (root / "photos").mkdir()
    for number in range(6):
        Image.fromarray(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(root / "photos" / f"{number}.png")
    write_tiny_clip(root / "clip", text={"context_length": 40})
    parser = argparse.ArgumentParser()
    index_command.add_parser(parser.add_subparsers(dest="command"))
    words = ["index", root / "photos", "--out", root / "index", "--clip", root / "clip", "--device", "cpu"]
    index_command.run(parser.parse_args(list(map(str, words))))
    save_map_to_compose(method_over(root), root / "trained")
    return root


def method_over(root: Path) -> MapToCompose:
    encoder = ClipEncoder(load_clip(root / "clip", device="cpu"), cache=root / "cache", progress=False)
    stage1 = new_composer(encoder.clip, Stage1Recipe(hidden=8, heads=2, mapper_width=16, answer="released"))
    composing = new_composing(encoder.clip, Stage2Recipe(rank=4, init="released"))
    return MapToCompose(encoder, Composer(stage1.mapper, stage1.injection, composing), "a trained method")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path))


def asked_for(made: Path, *words: object) -> tuple[object, ...]:
    return made / "index", "--method", "map-to-compose", "--image", made / "photos" / "2.png", "--trained", made / "trained", *words


def test_the_index_is_ranked_by_the_composed_query(made: Path, capsys: pytest.CaptureFixture[str]):
    before = {path.name: path.read_bytes() for path in (made / "index").iterdir()}
    assert search(*asked_for(made, "--text", "that is red", "-k", 5)) == 0
    index, method = load_index(made / "index"), method_over(made)
    query = method.compose([Query("q", "2.png", "that is red")], index.images().select(["2.png"]))
    scores = (index.embeddings.rows @ query.rows[0]).tolist()
    order = [index.ids[row] for row in sorted(range(6), key=lambda row: -scores[row]) if index.ids[row] != "2.png"]
    assert ranked(capsys.readouterr().out) == order
    assert before == {path.name: path.read_bytes() for path in (made / "index").iterdir()}, "the index is read and not touched"


def test_the_page_names_method_and_sentence(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    search(*asked_for(made, "--text", "that is red", "-k", 2, "--no-exclude-self", "--html", tmp_path / "page.html"))
    assert "a trained method: " in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(ranked(capsys.readouterr().out)) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--image", "x.png", "--trained", "t"), "--text TEXT is missing"),
        (("--text", "red", "--trained", "t"), "--image FILE is missing"),
        (("--text", "red", "--image", "x.png"), "--trained FOLDER is missing"),
        (("--text", "red", "--image", "x.png", "--trained", "t", "--weight", "0.5"), "--weight given"),
        (("--text", "red", "--image", "x.png", "--trained", "t", "--without", "belt"), "--without given"),
        (("--text", "red", "--image", "x.png", "--trained", "t", "--explain"), "--explain given without --method pix2key"),
    ],
)
def test_what_it_cannot_use_is_told(words: tuple[str, ...], message: str, tmp_path: Path):
    with pytest.raises(InputError, match=re.escape(message)):
        search(tmp_path, "--method", "map-to-compose", *words)


def test_its_option_belongs_to_it_alone(tmp_path: Path):
    with pytest.raises(InputError, match="--trained given without --method map-to-compose"):
        search(tmp_path, "--text", "red", "--trained", "t")


def test_a_method_of_another_clip_is_refused(made: Path, tmp_path: Path):
    other = write_tiny_clip(tmp_path / "other", seed=1, text={"context_length": 40})
    encoder = ClipEncoder(load_clip(other, device="cpu"), cache=tmp_path, progress=False)
    torch.manual_seed(0)
    composer = new_composer(encoder.clip, Stage1Recipe(injection=False, mapper_width=16))
    save_map_to_compose(MapToCompose(encoder, composer), tmp_path / "foreign")
    words = asked_for(made, "--text", "red")
    with pytest.raises(InputError, match="another CLIP"):
        search(*words[:-3], tmp_path / "foreign", *words[-2:])
