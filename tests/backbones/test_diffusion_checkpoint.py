"""Folders of latent diffusions: written and read back equal, and every unusable one told in one line."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_diffusion import tiny_diffusion, tiny_parts

from cirlib.backbones import diffusion_checkpoint
from cirlib.backbones.diffusion_checkpoint import PARTS, read_diffusion, write_diffusion
from cirlib.types import InputError


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_diffusion(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "copy"))


def test_what_is_written_is_read_back(tmp_path: Path):
    parts = tiny_parts(tmp_path)
    write_diffusion(tmp_path / "out", parts)
    again = read_diffusion(tmp_path / "out")
    for name in ("unet", "vae", "text_encoder"):
        before, after = getattr(parts, name).state_dict(), getattr(again, name).state_dict()
        assert before.keys() == after.keys() and all(torch.equal(before[key].float(), after[key]) for key in before)
    assert again.tokenizer("a red dress").input_ids == parts.tokenizer("a red dress").input_ids
    assert again.vae.config.scaling_factor == 0.8 and again.scheduler.config.prediction_type == "v_prediction"
    index = json.loads((tmp_path / "out" / "model_index.json").read_text())
    assert {name: index[name][1] for name in PARTS} == {name: type(getattr(again, name)).__name__ for name in PARTS}


def test_no_path_of_this_machine_is_written(folder: Path, tmp_path: Path):
    write_diffusion(tmp_path / "again", read_diffusion(folder))
    texts = [path.read_text() for path in (tmp_path / "again").rglob("*.json")]
    assert len(texts) >= 6 and not any(str(tmp_path) in text for text in texts)


def test_the_hash_is_of_what_decides_the_numbers(folder: Path):
    before = read_diffusion(folder).content_hash
    (folder / "unet" / "training.json").write_text("{}")
    assert read_diffusion(folder).content_hash == before
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config | {"beta_end": 0.02}))
    assert read_diffusion(folder).content_hash != before


def test_the_type_of_the_weights_is_chosen_by_the_reader(folder: Path):
    parts = read_diffusion(folder, torch.bfloat16)
    assert parts.unet.dtype == parts.vae.dtype == parts.text_encoder.dtype == torch.bfloat16


@pytest.mark.parametrize("missing", ["vae", "scheduler"])
def test_a_folder_without_a_part_is_told(folder: Path, missing: str):
    shutil.rmtree(folder / missing)
    with pytest.raises(InputError, match=f"no latent diffusion: it lacks {missing}; give a folder in Stable Diffusion's layout"):
        read_diffusion(folder)


def test_a_broken_file_is_told(folder: Path):
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"version https://git-lfs")
    with pytest.raises(InputError, match="cannot be read as a latent diffusion: .*belong together"):
        read_diffusion(folder)


def test_another_prediction_is_refused(folder: Path):
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(path.read_text().replace("v_prediction", "sample"))
    with pytest.raises(InputError, match="predicts 'sample'; only checkpoints that predict v_prediction or epsilon"):
        read_diffusion(folder)


def test_a_name_without_network_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(diffusion_checkpoint, "hub_answers", lambda: False)
    with pytest.raises(InputError, match="diffusion 'nobody/nothing' cannot be loaded: it is no folder, and the hub cannot be reached"):
        read_diffusion("nobody/nothing")


def test_a_wrong_name_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(diffusion_checkpoint, "hub_answers", lambda: False)
    with pytest.raises(InputError, match="cannot be loaded"):
        read_diffusion(tmp_path / "no folder here")
