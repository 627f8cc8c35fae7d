"""`cirlib explore` from the outside: what it refuses, and what it makes of an index."""

import argparse
import importlib.util

import numpy as np
import pytest
from PIL import Image
from tiny_clip import write_tiny_clip

from cirlib.cli import main
from cirlib.commands import _explore_index
from cirlib.commands import explore as explore_command
from cirlib.commands import index as index_command
from cirlib.config import load_config
from cirlib.explore.asking import Wish
from cirlib.explore.catalogue import suite_catalogue
from cirlib.explore.collection import atelier_collection
from cirlib.explore.reference import Reference
from cirlib.explore.session import Explorer, Request
from cirlib.suite import Suite
from cirlib.types import InputError


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--port", "70000"], "--port is 70000; give a number from 1 to 65535"),
        (["--index", "there", "--pictures", "10"], "an index is searched whole"),
        (["--vlm", "model"], "--vlm given without --index"),
        (["--clip", "model"], "--clip given without --index"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(words, told, capsys):
    assert main(["explore", *words]) == 2
    error = capsys.readouterr().err
    assert told in error and len(error.splitlines()) == 1


def test_without_gradio_it_says_what_to_install(monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "gradio" else found(name, *rest))
    assert main(["explore"]) == 2
    assert "pip install 'cirlib[explore]'" in capsys.readouterr().err


def test_methods_of_a_profile(tmp_path):
    suite = Suite(load_config("smoke"), folder=tmp_path, device="cpu")
    for only, told in ((["nothing"], "not known; choose among"), (["DQE-CIR"], "run notebook 06_dqe_cir")):
        with pytest.raises(InputError, match=told):
            suite_catalogue(suite, only)
    with pytest.raises(InputError, match="3 or more"):
        atelier_collection(2)
    collection = atelier_collection(5000)
    assert len(collection.images) == 5000 and len(set(collection.starters(36))) == 36
    assert not set(collection.starters(36)) & set(collection.starters(36, 1))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    (root / "photos").mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "photos" / f"p{number}.png")
    write_tiny_clip(root / "clip", text={"context_length": 77})
    parser = argparse.ArgumentParser()
    index_command.add_parser(parser.add_subparsers(dest="command"))
    words = ["index", root / "photos", "--out", root / "index", "--clip", root / "clip", "--device", "cpu"]
    index_command.run(parser.parse_args(list(map(str, words))))
    return root


def arguments(made, *words):
    parser = argparse.ArgumentParser()
    explore_command.add_parser(parser.add_subparsers(dest="command"))
    return parser.parse_args(["explore", "--index", str(made / "index"), "--device", "cpu", *words])


def test_an_index_is_searched_with_its_own_clip(made, tmp_path, monkeypatch):
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path))
    collection, catalogue = _explore_index.open_index(arguments(made), load_config("smoke"))
    assert list(catalogue.methods) == ["image only", "text only", "sum"] and "--vlm" in catalogue.unavailable["Pix2Key"]
    assert "another one made this index" in catalogue.unavailable["DQE-CIR"] and collection.name == "photos, 6 pictures"
    explorer = Explorer(collection, catalogue.methods, catalogue.unavailable)
    (answer,) = explorer.search(Request(("sum",), Reference(row=2), Wish("red dress")))
    expected = collection.plain.rows @ explorer.methods["sum"].compose([_query("p2.png", "red dress")], collection.images).rows[0]
    assert [hit.row for hit in answer.hits] == [row for row in expected.argsort(descending=True).tolist() if row != 2]
    assert collection.thumbnail(0).startswith(b"\xff\xd8")
    with pytest.raises(InputError, match="rows go from 0 to 5"):
        collection.thumbnail(6)
    with pytest.raises(InputError, match="--vlm"):
        _explore_index.open_index(arguments(made, "--methods", "Pix2Key"), load_config("smoke"))


def _query(reference, text):
    from cirlib.types import Query

    return Query("q", reference, text)
