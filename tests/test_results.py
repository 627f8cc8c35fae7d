import dataclasses
import json

import pytest

from cirlib.data.atelier import load_atelier
from cirlib.evaluation.evaluate import evaluate
from cirlib.methods.baselines import Chance
from cirlib.results import load_rankings, load_settings, model_folder, save_ranking, save_settings
from cirlib.runs import start_run
from cirlib.types import InputError


@pytest.fixture
def run(tmp_path):
    return start_run("99_test", "smoke", out_dir=tmp_path, quiet=True)


def test_rankings_come_back_by_benchmark(run):
    for split in ("val", "test"):
        benchmark = load_atelier(split, 64, 8)
        for seed in (0, 1):
            path = save_ranking(run, evaluate(Chance(seed), benchmark), seed)
            assert path.name == f"chance-seed{seed}.npz" and path.with_suffix(".json").is_file()
    found = load_rankings(run.folder)
    assert {name: [report.method for report in reports] for name, reports in found.items()} == {
        "atelier-test": ["chance", "chance"],
        "atelier-val": ["chance", "chance"],
    }


def test_parts_of_a_benchmark_do_not_replace_each_other(run):
    """FashionIQ's categories share name and split; each keeps its own file."""
    benchmark = load_atelier("test", 64, 8)
    for category in ("dress", "shirt"):
        save_ranking(run, evaluate(Chance(), dataclasses.replace(benchmark, part=category)))
    assert sorted(load_rankings(run.folder)) == ["atelier-test-dress", "atelier-test-shirt"]


def test_nothing_to_read_is_told(run):
    with pytest.raises(InputError, match="run a notebook that evaluates methods first"):
        load_rankings(run.folder)


def test_settings_come_back(run):
    models = run.folder / "models"
    assert load_settings(models, "Pix2Key, no MMR") is None
    file = save_settings(run, "Pix2Key, no MMR", {"alpha": 0.1 + 0.2, "parser": "rules"})
    assert file == models / "pix2key-no-mmr" / "settings.json" == model_folder(models, "Pix2Key, no MMR") / "settings.json"
    assert load_settings(models, "Pix2Key, no MMR") == {"alpha": 0.1 + 0.2, "parser": "rules"}
    assert json.loads(file.read_text())["tuned_by"] == "99_test"
    file.write_text('{"settings": 3}')
    with pytest.raises(InputError, match="holds no settings"):
        load_settings(models, "Pix2Key, no MMR")


def test_names_without_letters_have_no_folder(run):
    with pytest.raises(InputError, match="rename the method"):
        save_settings(run, "+", {})
