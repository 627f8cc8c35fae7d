"""The shipped miniature CLIP: it is what its card says, and it reads what every method will have to read."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from cirlib.backbones import miniature
from cirlib.backbones.bpe import vocabulary_size
from cirlib.backbones.clip import load_clip
from cirlib.backbones.clip_pretraining import model_config
from cirlib.backbones.miniature import miniature_path
from cirlib.data.atelier import load_pictures
from cirlib.data.atelier.caption_retrieval import load_caption_retrieval
from cirlib.data.atelier.schema import SINGLE_VALUED
from cirlib.data.atelier.splits import picture
from cirlib.evaluation.evaluate import evaluate
from cirlib.methods.baselines import TextOnly
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.zero_shot import attribute_hits, majority_share
from cirlib.types import InputError

PICTURES = 512
REQUIRED = 0.85  # on every single-valued attribute: below it, no two methods built on this CLIP can be told apart
LIMIT_MIB = 12


@pytest.fixture(scope="module")
def folder() -> Path:
    return miniature_path("clip")


@pytest.fixture(scope="module")
def encoder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipEncoder:
    return ClipEncoder(load_clip(folder, device="cpu"), cache=tmp_path_factory.mktemp("cache"), progress=False)


@pytest.fixture(scope="module")
def designs() -> list:
    return [picture("test", index).design for index in range(PICTURES)]


@pytest.fixture(scope="module")
def hits(encoder: ClipEncoder, designs: list) -> dict[str, np.ndarray]:
    return attribute_hits(encoder, encoder.images(load_pictures("test", PICTURES)).rows, designs)


@pytest.mark.parametrize("name", SINGLE_VALUED)
def test_every_single_valued_attribute_is_read(hits: dict[str, np.ndarray], designs: list, name: str):
    read = np.nanmean(hits[name])
    assert read >= REQUIRED, f"{name}: {read:.3f}, and {majority_share(designs, name):.3f} without looking"


def test_a_full_caption_finds_its_picture_far_above_chance(encoder: ClipEncoder):
    report = evaluate(TextOnly(encoder), load_caption_retrieval("test", PICTURES))
    assert report.mean("recall@1") >= 50 / PICTURES  # chance: 1 / 512
    assert report.mean("recall@10") >= 0.5  # chance: 10 / 512


def test_no_full_caption_is_cut(encoder: ClipEncoder):
    queries = load_caption_retrieval("test", PICTURES).queries
    assert max(encoder.clip.count_tokens(query.text) for query in queries) <= encoder.clip.context_length


def test_files_are_those_of_the_card(folder: Path):
    sums = json.loads((folder / "card.json").read_text())["sha256"]
    assert {path.name for path in folder.iterdir()} == {*sums, "card.json", "README.md"}
    assert sums == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sums}


def test_the_download_stays_small(folder: Path):
    assert sum(path.stat().st_size for path in folder.iterdir()) < LIMIT_MIB * 2**20


def test_the_configuration_is_that_of_the_pretraining(folder: Path, encoder: ClipEncoder):
    merges = encoder.clip.tokenizer.vocab_size - vocabulary_size(0)
    assert json.loads((folder / "open_clip_config.json").read_text())["model_cfg"] == model_config(vocabulary_size(merges))


def test_a_missing_checkpoint_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(miniature, "CHECKPOINTS", tmp_path)
    with pytest.raises(InputError, match="miniature checkpoint 'clip' is not at .*full checkout"):
        miniature_path("clip")
