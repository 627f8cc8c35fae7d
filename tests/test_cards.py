"""A card says what its files are and what was measured, twice over: to `cirlib check` and to people."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from cirlib.backbones.clip import load_clip
from cirlib.backbones.miniature import miniature_path
from cirlib.cards import measure, write_card
from cirlib.data.atelier import DETAILS
from cirlib.data.atelier.schema import ATTRIBUTES, VERSION
from cirlib.data.atelier.splits import picture
from cirlib.environment import Finding, check_environment
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.zero_shot import majority_share

MEASURED = 160  # the first collar of the split is on picture 128
TRAINING = {
    "recipe": {"pictures": 40_960, "steps": 1_234, "batch": 48},
    "seconds": 754,
    "device": "cpu",
    "threads": 2,
    "torch": "9.8.7",
    "parameters": 4_321_000,
}


def numbers(seed: int, floor: str) -> dict[str, float]:
    low, mean, high, lazy = sorted(np.random.default_rng(seed).random(4).round(4).tolist())
    return {"mean": mean, "low": low, "high": high, floor: lazy}


METRICS = {
    "pictures": 2048,
    "accuracy": {name: numbers(seed, "majority") for seed, name in enumerate(ATTRIBUTES)},
    "gallery": 1024,
    "captions": 987,
    "text_to_image": {f"recall@{k}": numbers(100 + k, "chance") for k in (1, 10)},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "checkpoints" / "clip"
    folder.mkdir(parents=True)
    (folder / "open_clip_model.safetensors").write_bytes(b"weights")
    (folder / "open_clip_config.json").write_text("{}")
    (folder / "training.json").write_text(json.dumps(TRAINING))
    write_card(folder, METRICS)
    return folder


def found(folder: Path) -> Finding:
    """What `cirlib check` finds of the folder."""
    return next(finding for finding in check_environment(folder.parents[2]) if finding.name == "checkpoint clip")


def test_every_file_but_the_card_itself_is_summed(folder: Path):
    card = json.loads((folder / "card.json").read_text())
    files = ["open_clip_config.json", "open_clip_model.safetensors", "training.json"]
    assert card["sha256"] == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
    assert card["training"] == TRAINING and card["metrics"] == METRICS and VERSION in card["data"]


def test_check_accepts_the_folder_and_tells_a_changed_file(folder: Path):
    assert found(folder) == Finding("OK", "checkpoint clip", "3 files as on the card")
    (folder / "open_clip_model.safetensors").write_bytes(b"weighty")
    assert found(folder).state == "FAIL" and "open_clip_model.safetensors" in found(folder).detail
    write_card(folder, METRICS)
    assert found(folder).state == "OK", "a new card fits the new file"


def test_writing_again_changes_nothing(folder: Path):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_card(folder, METRICS)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_readme_says_the_numbers_of_the_card(folder: Path):
    text, card = (folder / "README.md").read_text(), json.loads((folder / "card.json").read_text())
    rows = {
        cells[0]: cells[1:] for cells in re.findall(r"^\| ([\w@ ()]+?) \| ([\d.]+) \| ([\d.]+) to ([\d.]+) \| ([\d.]+) \|$", text, re.M)
    }
    expected = {f"{name} (yes or no)" if name in DETAILS else name: row for name, row in card["metrics"]["accuracy"].items()}
    expected |= card["metrics"]["text_to_image"]
    assert list(rows) == list(expected)
    for name, row in expected.items():
        mean, low, high, lazy = (float(cell) / 100 for cell in rows[name])
        assert [mean, low, high] == pytest.approx([row["mean"], row["low"], row["high"]], abs=0.00051), name
        assert lazy == pytest.approx(row.get("majority", row.get("chance")), abs=0.000051), name
    for said in (
        "4.3 million",
        "40,960 pictures",
        "1,234 steps of 48",
        "13 minutes on cpu with 2 threads",
        "torch 9.8.7",
        "2,048",
        "987",
        "1,024",
    ):
        assert said in text, said
    assert "drawn clothes only" in text


def test_a_folder_without_its_training_is_an_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"training\.json"):
        write_card(tmp_path, METRICS)
    assert not list(tmp_path.iterdir())


def test_measurements_of_a_few_pictures_fit_on_a_card(folder: Path, tmp_path: Path):
    encoder = ClipEncoder(load_clip(miniature_path("clip"), device="cpu"), cache=tmp_path / "cache", progress=False)
    metrics = measure(encoder, pictures=MEASURED, gallery=64)
    assert (metrics["pictures"], metrics["gallery"]) == (MEASURED, 64) and set(metrics) == set(METRICS)
    designs = [picture("test", index).design for index in range(MEASURED)]
    assert metrics["captions"] == len({tuple(design.items()) for design in designs[:64]})
    for name, row in metrics["accuracy"].items():
        assert 0 <= row["low"] <= row["mean"] <= row["high"] <= 1 and row["majority"] == majority_share(designs, name)
    assert metrics["text_to_image"]["recall@1"]["chance"] == pytest.approx(1 / 64)
    assert metrics["text_to_image"]["recall@10"]["chance"] == pytest.approx(10 / 64)
    write_card(folder, metrics)
    assert json.loads((folder / "card.json").read_text())["metrics"] == metrics and found(folder).state == "OK"
