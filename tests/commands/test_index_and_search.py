"""`cirlib index` and `cirlib search` from the outside: what they print, what they refuse, and what a kill leaves."""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_clip import write_tiny_clip
from torch.nn.functional import normalize

from cirlib.backbones.clip import load_clip
from cirlib.commands import index as index_command
from cirlib.commands import search as search_command
from cirlib.index import load_index
from cirlib.types import InputError


def cirlib(command: str, *words: object) -> int:
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers(dest="command")
    module = {"index": index_command, "search": search_command}[command]
    module.add_parser(subparsers)
    return module.run(parser.parse_args([command, *map(str, words)]))


def draw(folder: Path, n: int) -> Path:
    folder.mkdir()
    for number in range(n):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / f"p{number:03}.png")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `photos` (8 pictures and a broken one), `clip` and `index`."""
    root = tmp_path_factory.mktemp("made")
    draw(root / "photos", 8)
    (root / "photos" / "broken.jpg").write_bytes(b"nothing")
    write_tiny_clip(root / "clip")
    cirlib("index", root / "photos", "--out", root / "index", "--clip", root / "clip", "--device", "cpu")
    return root


def test_index_says_what_it_did_and_what_it_could_not_read(made: Path, capsys: pytest.CaptureFixture[str]):
    arguments = (made / "photos", "--out", made / "index", "--clip", made / "clip", "--device", "cpu")
    capsys.readouterr()
    assert cirlib("index", *arguments) == 0
    printed = capsys.readouterr()
    assert "Nothing has changed" in printed.out and "8 pictures are in" in printed.out and "drawn clothes" not in printed.out
    assert "1 files could not be read" in printed.err and "broken.jpg: picture 'broken.jpg'" in printed.err


def printed_results(text: str) -> list[tuple[int, float, str]]:
    return [(int(rank), float(score), Path(path).name) for rank, score, path in re.findall(r"^ +(\d+) +(-?[\d.]+) +(\S+)$", text, re.M)]


def test_search_prints_the_best_pictures_of_the_signed_sum(made: Path, capsys: pytest.CaptureFixture[str]):
    reference = made / "photos" / "p003.png"
    cirlib(
        "search", made / "index", "--image", reference, "--text", "red", "--without", "dots", "--weight", 0.3, "-k", 7, "--device", "cpu"
    )
    found = printed_results(capsys.readouterr().out)
    clip, index = load_clip(made / "clip", device="cpu"), load_index(made / "index")

    def unit(row: torch.Tensor) -> torch.Tensor:
        return normalize(row[0], dim=0)

    together = unit((0.3 * unit(clip.encode_images([Image.open(reference)])) + 0.7 * unit(clip.encode_texts(["red"])))[None])
    query = unit((together - 0.5 * unit(clip.encode_texts(["dots"])))[None])
    scores = index.embeddings.rows @ query
    expected = [(index.ids[row], scores[row].item()) for row in scores.argsort(descending=True) if index.ids[row] != "p003.png"]
    assert [name for _, _, name in found] == [name for name, _ in expected] and [rank for rank, _, _ in found] == list(range(1, 8))
    np.testing.assert_allclose([score for _, score, _ in found], [score for _, score in expected], atol=6e-5)


def test_the_reference_is_left_out_unless_asked_for(made: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    copy = tmp_path / "another name.png"
    copy.write_bytes((made / "photos" / "p003.png").read_bytes())
    cirlib("search", made / "index", "--image", copy, "-k", 3)
    without = capsys.readouterr().out
    assert "p003.png" not in [name for _, _, name in printed_results(without)] and "was left out (p003.png)" in without
    cirlib("search", made / "index", "--image", copy, "-k", 3, "--no-exclude-self")
    best = printed_results(capsys.readouterr().out)[0]
    assert best == (1, 1.0, "p003.png")


def test_a_sentence_alone_is_enough(made: Path, capsys: pytest.CaptureFixture[str]):
    cirlib("search", made / "index", "--text", "a red dress", "-k", 8)
    assert len(printed_results(capsys.readouterr().out)) == 8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nothing to search for"),
        (("--without", "dots"), "nothing to search for"),
        (("--text", "  "), "--text is empty"),
        (("--text", "red", "--without", ""), "--without is empty"),
        (("--text", "red", "--weight", "1.5"), "--weight is 1.5; give a number from 0"),
        (("--text", "red", "-k", "9"), "k is 9 and 8 pictures can be returned"),
        (("--text", "red", "-k", "0"), "k is 0"),
        (("--text", "that " * 20), "22 tokens and this CLIP reads 16"),
        (("--image", "no such file.jpg"), "no such file.jpg"),
        (("--image", "BROKEN"), "cannot be read"),
    ],
)
def test_bad_questions_get_one_clear_line(made: Path, words: tuple[str, ...], message: str):
    words = tuple(str(made / "photos" / "broken.jpg") if word == "BROKEN" else word for word in words)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        cirlib("search", made / "index", *words)
    assert "\n" not in str(caught.value)


def test_bad_places_get_one_clear_line(made: Path, tmp_path: Path):
    with pytest.raises(InputError, match="holds no index; make one with"):
        cirlib("search", made / "photos", "--text", "red")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no pictures"):
        cirlib("index", tmp_path / "empty", "--out", tmp_path / "index", "--clip", made / "clip")
    with pytest.raises(InputError, match="transform 'crop' is not known"):
        cirlib("index", made / "photos", "--out", tmp_path / "index", "--clip", made / "clip", "--transform", "crop")
    with pytest.raises(InputError, match="--batch-size is 0"):
        cirlib("index", made / "photos", "--out", tmp_path / "index", "--batch-size", "0")
    assert not (tmp_path / "index").exists()


def test_an_index_is_only_searched_with_the_checkpoint_that_made_it(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    other = write_tiny_clip(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="was made by another checkpoint than .*other.*; give --clip, or index the folder anew"):
        cirlib("search", made / "index", "--text", "red", "--clip", other)
    moved = write_tiny_clip(tmp_path / "moved")
    assert cirlib("search", made / "index", "--text", "red", "-k", 2, "--clip", moved) == 0


def test_the_miniature_says_what_it_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    folder = write_tiny_clip(tmp_path / "clip")
    for module in ("cirlib.index", "cirlib.backbones.miniature"):
        monkeypatch.setattr(f"{module}.miniature_path", lambda role: folder)
    draw(tmp_path / "photos", 3)
    cirlib("index", tmp_path / "photos", "--out", tmp_path / "index")
    note = "which knows drawn clothes only. For photographs, index with a public checkpoint: --clip ViT-B-32/laion2b_s34b_b79k"
    assert note in capsys.readouterr().out
    cirlib("search", tmp_path / "index", "--text", "red", "-k", 2, "--html", tmp_path / "page.html")
    assert note in capsys.readouterr().out and note in (tmp_path / "page.html").read_text()


SLOW_RUN = """
import sys, time
import cirlib.data.files as files
from cirlib.backbones.clip import load_clip

read = files.read_picture
files.read_picture = lambda *place: (time.sleep(0.05), print("opened", flush=True), read(*place))[2]
from cirlib.index import build_index
report = build_index(sys.argv[1], sys.argv[2], load_clip(sys.argv[3], device="cpu"), batch_size=4, shard_size=8, progress=False)
print("encoded", report.n_encoded, "of", report.n_pictures)
"""


@pytest.mark.slow
def test_a_killed_index_goes_on_and_repeats_at_most_one_shard(tmp_path: Path):
    draw(tmp_path / "photos", 60)
    write_tiny_clip(tmp_path / "clip")
    command = [sys.executable, "-c", SLOW_RUN, str(tmp_path / "photos"), str(tmp_path / "index"), str(tmp_path / "clip")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as first:
        deadline = time.monotonic() + 240
        while len(list(tmp_path.glob("index/unfinished/*/*.safetensors"))) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
        opened_before = first.stdout.read().count("opened")
    with pytest.raises(InputError, match="unfinished index; run the same"):
        load_index(tmp_path / "index")
    finished = 8 * len(list(tmp_path.glob("index/unfinished/*/*.safetensors")))
    second = subprocess.run(command, capture_output=True, env=environment, text=True, timeout=240, check=True)
    assert 24 <= finished < 60 and second.stdout.count("opened") == 60 - finished
    assert opened_before - finished <= 12, "the shard under way and the batch that was being read"
    assert f"encoded {60 - finished} of 60" in second.stdout and len(load_index(tmp_path / "index")) == 60
    assert not (tmp_path / "index" / "unfinished").exists()
