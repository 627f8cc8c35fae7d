"""The pipeline on a project of two tiny notebooks: what runs, what runs again, what a failure and an interruption leave behind."""

import json
import os
import shutil
import subprocess
import sys
import time

import nbformat
import pytest
import yaml

from cirlib.config import load_config
from cirlib.pipeline import needed_notebooks, planned_notebooks, source_files
from cirlib.types import InputError

SNAKEMAKE = (sys.executable, "-m", "snakemake", "--cores", "1", "--config", "profile=smoke", "--nolock")
SAVE = """
import json, pathlib
pathlib.Path("../results", profile, "metrics", "{name}.json").write_text(json.dumps({{"metrics": {{"x": {value}}}}}))
"""


def write_notebook(path, *cells):
    parameters = nbformat.v4.new_code_cell('profile = "mini"', metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[parameters, *map(nbformat.v4.new_code_cell, cells)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)


@pytest.fixture
def project(tmp_path, repo_root):
    shutil.copy(repo_root / "Snakefile", tmp_path)
    config = yaml.safe_load((repo_root / "config.yaml").read_text())
    config["notebooks"] = {
        "01_first": {"smoke": {"n": 1}, "mini": {"n": 2}, "full": {"n": 3}},
        "02_second": {"needs": ["01_first"]},
        "03_absent": {},
        "04_last": {"needs": ["01_first", "03_absent"]},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    for name in ("01_first", "02_second", "04_last"):
        write_notebook(tmp_path / "notebooks" / f"{name}.ipynb", SAVE.format(name=name, value=1))
    return tmp_path


def snakemake(project, *arguments, check=True):
    command = [*SNAKEMAKE, "--rerun-incomplete", "--keep-going", *arguments]
    done = subprocess.run(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert not check or done.returncode == 0, done.stdout
    return done


def jobs(project):
    """Notebooks that would run now."""
    done = snakemake(project, "--dry-run")
    return {line.split("name=")[1] for line in done.stdout.splitlines() if line.strip().startswith("wildcards:")}


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_only_listed_notebooks_that_exist_are_planned(project):
    config = load_config("smoke", project / "config.yaml")
    assert planned_notebooks(config) == ["01_first", "02_second", "04_last"]
    assert needed_notebooks(config, "04_last") == ["01_first"]
    write_notebook(project / "notebooks" / "05_new.ipynb")
    with pytest.raises(InputError, match="05_new.*not listed in config.yaml"):
        planned_notebooks(config)


def test_sources_follow_imports(project):
    package = project / "cirlib"
    for name, text in {
        "__init__.py": "",
        "types.py": "",
        "runs.py": "from cirlib.types import InputError",
        "methods/__init__.py": "",
        "methods/one.py": "def f():\n    from cirlib import runs",
        "methods/other.py": "",
        "methods/words.txt": "",
        "cli.py": "import importlib\nimportlib.import_module('x')",
        "index.py": "from . import runs",
    }.items():
        (package / name).parent.mkdir(exist_ok=True, parents=True)
        (package / name).write_text(text)
    (project / "data").mkdir()
    (project / "data" / "card.json").touch()
    edit(project / "config.yaml", "03_absent: {}", "03_absent: {reads: [data, absent.json]}")
    config = load_config("smoke", project / "config.yaml")

    def sources(code):
        write_notebook(project / "notebooks" / "03_absent.ipynb", code)
        return source_files(config, "03_absent")

    read = ["absent.json", "data/card.json"]
    one = ["cirlib/__init__.py", "cirlib/methods/__init__.py", "cirlib/methods/one.py", "cirlib/methods/words.txt", "cirlib/runs.py"]
    assert sources("%matplotlib inline\nimport json") == read
    assert sources("from cirlib.methods.one import f") == sorted([*read, *one, "cirlib/types.py"])
    assert sources("from cirlib.methods import one") == sources("import cirlib.methods.one") == sorted([*read, *one, "cirlib/types.py"])
    everything = sources("import cirlib")
    assert "cirlib/methods/other.py" in everything
    assert sources("from cirlib.cli import main") == sources("import cirlib.index") == everything


@pytest.mark.slow
def test_a_broken_plan_is_one_line(project):
    edit(project / "config.yaml", "bootstrap", "bootstrp")
    done = snakemake(project, "--dry-run", check=False)
    assert done.returncode == 1
    assert "profiles.smoke does not know bootstrp and lacks bootstrap" in done.stdout and "Traceback" not in done.stdout


@pytest.mark.slow
def test_what_runs_and_what_runs_again(project):
    assert jobs(project) == {"01_first", "02_second", "04_last"}
    done = snakemake(project, "--quiet", "all")
    assert done.stdout.count(" runs; ") == done.stdout.count(" done in ") == 3
    results = project / "results" / "smoke"
    assert {path.name for path in (results / "notebooks").iterdir()} == {"01_first.ipynb", "02_second.ipynb", "04_last.ipynb"}
    assert (results / "logs" / "01_first.log").stat().st_size
    assert jobs(project) == set()

    os.utime(project / "notebooks" / "01_first.ipynb")
    assert jobs(project) == set(), "a newer date alone, as after git clone or checkout, runs nothing"
    edit(project / "notebooks" / "02_second.ipynb", ": 1", ": 2")
    assert jobs(project) == {"02_second"}
    edit(project / "config.yaml", "n: 1", "n: 5")
    assert jobs(project) == {"01_first", "02_second", "04_last"}, "its numbers changed, so it and what depends on it run"
    edit(project / "config.yaml", "n: 5", "n: 1")
    (results / "metrics" / "04_last.json").unlink()
    assert jobs(project) == {"02_second", "04_last"}


@pytest.mark.slow
def test_a_failing_notebook_keeps_its_copy_and_log_and_stops_nothing_else(project):
    write_notebook(project / "notebooks" / "02_second.ipynb", "print('before')", "1 / 0", "print('after')")
    done = snakemake(project, "--quiet", "all", check=False)
    assert done.returncode == 1
    assert "[02_second] FAILED" in done.stdout and "ZeroDivisionError" in done.stdout
    results = project / "results" / "smoke"
    copy = json.loads((results / "notebooks" / "02_second.failed.ipynb").read_text())
    told = json.dumps([cell.get("outputs") for cell in copy["cells"]])
    assert "before" in told and "ZeroDivisionError" in told and "after" not in told
    assert "ZeroDivisionError" in (results / "logs" / "02_second.log").read_text()
    assert (results / "metrics" / "04_last.json").exists(), "a notebook that does not need the failed one still runs"

    write_notebook(project / "notebooks" / "02_second.ipynb", "print('no metrics')")
    done = snakemake(project, "--quiet", "all", check=False)
    assert done.returncode == 1 and "metrics/02_second.json" in done.stdout, "success without its metrics file is a failure"
    write_notebook(project / "notebooks" / "02_second.ipynb", SAVE.format(name="02_second", value=1))
    snakemake(project, "--quiet", "all")
    assert not list(results.glob("notebooks/*.failed.ipynb"))


@pytest.mark.slow
def test_an_interrupted_run_goes_on(project):
    write_notebook(project / "notebooks" / "02_second.ipynb", "import time; time.sleep(120)")
    process = subprocess.Popen([*SNAKEMAKE, "--quiet", "all"], cwd=project, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert any("[02_second] runs" in line for line in process.stdout)
        first = project / "results" / "smoke" / "metrics" / "01_first.json"
        finished = first.stat().st_mtime_ns
    finally:
        os.killpg(process.pid, 9)
        process.wait()
        process.stdout.close()
    time.sleep(0.1)
    write_notebook(project / "notebooks" / "02_second.ipynb", SAVE.format(name="02_second", value=1))
    assert jobs(project) == {"02_second", "04_last"}
    snakemake(project, "--quiet", "all")
    assert first.stat().st_mtime_ns == finished, "what was finished is not run again"
    assert jobs(project) == set()
