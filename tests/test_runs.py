import json

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from cirlib import runs
from cirlib.runs import choose_device, provenance, seed_everything, start_run
from cirlib.types import InputError


@pytest.fixture
def run(tmp_path):
    return start_run("05_test", "smoke", seed=7, device="cpu", out_dir=tmp_path, quiet=True)


def test_start_run_tells_what_runs_where(tmp_path, capsys):
    start_run("05_test", "smoke", device="cpu", out_dir=tmp_path)
    said = capsys.readouterr().out
    for word in ("05_test", "smoke", "seed 0", "commit", f"torch {torch.__version__}", str(tmp_path / "smoke")):
        assert word in said
    assert not list(tmp_path.iterdir()), "starting a run writes nothing"


def test_metrics_carry_their_origin(run, tmp_path):
    path = run.save_metrics({"recall@10": np.float32(0.5), "ranks": np.array([1, 2]), "by_seed": {0: torch.tensor([0.25])}, "none": None})
    content = json.loads(path.read_text())
    assert path == tmp_path / "smoke" / "metrics" / "05_test.json"
    assert content["metrics"] == {"recall@10": 0.5, "ranks": [1, 2], "by_seed": {"0": [0.25]}, "none": None}
    assert run.read_metrics("05_test") == content["metrics"]
    origin = content["provenance"]
    assert {"commit", "dirty", "date", "device_name", "python", "packages", "wall_s"} <= origin.keys()
    assert (origin["profile"], origin["seed"], origin["device"]) == ("smoke", 7, "cpu")


@pytest.mark.parametrize(("value", "told"), [(float("nan"), "nan"), (np.inf, "inf"), (object(), "object"), ({1, 2}, "set")])
def test_a_value_that_json_cannot_hold_is_named(run, value, told):
    with pytest.raises(InputError, match=rf"05_test\.a\.b\[1\].*{told}"):
        run.save_metrics({"a": {"b": [0.0, value]}})
    assert not run.folder.exists()


def test_missing_metrics_say_which_notebook_to_run(run):
    with pytest.raises(InputError, match="run notebook 02_x in profile smoke first"):
        run.read_metrics("02_x")


def test_table_has_fractions_in_csv_and_percent_in_markdown(run):
    table = pd.DataFrame({"method": ["a|b", "sum"], "recall@10": [0.12345, 1.0], "n": [3, 4]})
    path = run.save_table(table, "baselines", percent=True)
    pd.testing.assert_frame_equal(pd.read_csv(path), table)
    lines = path.with_suffix(".md").read_text().splitlines()
    assert lines[:4] == ["| method | recall@10 | n |", "| --- | ---: | ---: |", "| a\\|b | 12.35 | 3 |", "| sum | 100.00 | 4 |"]
    assert "seed 7" in lines[-1]


def test_a_named_index_becomes_a_column(run):
    path = run.save_table(pd.DataFrame({"x": [0.5]}, index=pd.Index(["a"], name="method")), "named")
    assert path.read_text() == "method,x\na,0.5\n"
    assert path.with_suffix(".md").read_text().startswith("| method | x |\n| --- | ---: |\n| a | 0.5 |\n")


def test_a_table_may_look_other_than_its_numbers(run):
    path = run.save_table(pd.DataFrame({"low": [0.25]}), "both", shown=pd.DataFrame({"R@10 (%)": ["30.0 [25.0, 35.0]"]}))
    assert path.read_text() == "low\n0.25\n"
    assert path.with_suffix(".md").read_text().startswith("| R@10 (%) |\n| --- |\n| 30.0 [25.0, 35.0] |\n")


def test_figure_is_png_at_150_dpi_with_its_origin(run):
    from PIL import Image

    figure = Figure(figsize=(2, 1))
    figure.add_axes((0, 0, 1, 1)).set_axis_off()
    with Image.open(run.save_figure(figure, "loss")) as picture:
        assert picture.format == "PNG" and round(picture.info["dpi"][0]) == 150
        assert "05_test, profile smoke, seed 7" in picture.info["Description"]


def test_seeds_repeat_and_differ():
    def draws(seed):
        generator = seed_everything(seed)
        return torch.rand(3), torch.rand(3, generator=generator), torch.tensor(np.random.rand(3))  # noqa: NPY002 - the one seeded for others

    for first, again, other in zip(draws(1), draws(1), draws(2), strict=True):
        torch.testing.assert_close(first, again, rtol=0, atol=0)
        assert not torch.equal(first, other)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", ""])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(InputError, match="device"):
        choose_device(device)


def test_an_unknown_profile_is_refused(tmp_path):
    with pytest.raises(InputError, match="'tiny'.*smoke, mini, full"):
        start_run("x", "tiny", out_dir=tmp_path)


def test_outside_a_checkout_the_commit_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "find_root", lambda: tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    origin = provenance()
    assert origin["commit"] == "unknown" and origin["dirty"] is False
