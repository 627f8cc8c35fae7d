"""The files that set a machine up agree with each other: lock, pyproject.toml, environment.yml, hooks, Makefile, CI."""

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import cirlib

OWN_FILE = ("kernels", "bench")  # extras that requirements-kernels.lock pins


@pytest.fixture(scope="module")
def lock(repo_root):
    lines = (repo_root / "requirements.lock").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="module")
def project(repo_root):
    return tomllib.loads((repo_root / "pyproject.toml").read_text())["project"]


def test_the_lock_pins_each_package_once_for_every_machine(repo_root, lock):
    lines = [line for line in (repo_root / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    names = [line.split("==")[0] for line in lines]
    assert names == sorted(set(names)) == list(lock)
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in lines), "exact versions, no local builds such as +cpu"


def test_the_lock_fits_pyproject(lock, project):
    extras = [text for extra, texts in project["optional-dependencies"].items() if extra not in OWN_FILE for text in texts]
    for requirement in map(Requirement, [*project["dependencies"], *extras]):
        version = lock[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} against {version} in requirements.lock"


def test_kernels_and_peers_of_benchmarks_have_their_own_file(repo_root, lock, project):
    lines = (repo_root / "requirements-kernels.lock").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert list(pins) == sorted(pins) and not set(pins) & set(lock)
    for requirement in map(Requirement, [text for extra in OWN_FILE for text in project["optional-dependencies"][extra]]):
        assert requirement.specifier.contains(pins[requirement.name])


def test_the_lock_holds_everything_that_its_packages_need(lock):
    for name in lock:
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            pytest.fail(f"{name} of requirements.lock is not installed; run make setup")
        for requirement in map(Requirement, needs):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                need = canonicalize_name(requirement.name)
                if need.startswith(("nvidia-", "cuda-", "triton")):
                    continue  # torch's CUDA build brings its own
                assert need in lock, f"{name} needs {need}, which requirements.lock lacks"
                assert requirement.specifier.contains(lock[need], prereleases=True), f"{name} needs {requirement}, locked is {lock[need]}"


def test_conda_users_get_the_same_versions(repo_root, lock, project):
    text = (repo_root / "environment.yml").read_text()
    environment = yaml.safe_load(text)
    pins = dict(pin.split("==") for entry in environment["dependencies"] if isinstance(entry, dict) for pin in entry["pip"])
    assert {canonicalize_name(name): version for name, version in pins.items()}.items() <= lock.items()
    direct = [text for extra, texts in project["optional-dependencies"].items() if extra not in OWN_FILE for text in texts]
    assert {canonicalize_name(Requirement(text).name) for text in [*project["dependencies"], *direct]} <= set(map(canonicalize_name, pins))
    assert f"python={project['requires-python'].removeprefix('>=')}" in environment["dependencies"]
    for line in text.splitlines():
        assert "==" not in line or re.search(r"  # .+", line), f"say which notebook needs it: {line}"


def test_hooks_ci_and_lock_use_the_same_tools(repo_root, lock, project):
    hooks = yaml.safe_load((repo_root / ".pre-commit-config.yaml").read_text())["repos"]
    revisions = {repo["repo"].rsplit("/", 1)[1]: repo["rev"].removeprefix("v") for repo in hooks}
    tools = {"ruff-pre-commit": "ruff", "nbstripout": "nbstripout", "codespell": "codespell"}
    assert {tool: revisions[repo] for repo, tool in tools.items()} == {tool: lock[tool] for tool in tools.values()}
    for pin in project["optional-dependencies"]["dev"]:
        if "==" in pin:
            name, version = pin.split("==")
            assert lock[name] == version


def test_versions_agree(repo_root, project):
    assert yaml.safe_load((repo_root / "CITATION.cff").read_text())["version"] == cirlib.__version__ == metadata.version("cirlib")
    assert "MIT License" in (repo_root / "LICENSE").read_text()


def test_make_explains_itself(repo_root):
    targets = re.findall(r"^(# [^\n]+)\n([a-z-]+):", (repo_root / "Makefile").read_text(), re.MULTILINE)
    help_text = subprocess.run(["make", "help"], cwd=repo_root, capture_output=True, text=True, check=True).stdout
    assert {"setup", "results", "test", "lint"} <= {target for _, target in targets} and len(targets) <= 12
    assert all(f"make {target} " in help_text and comment.removeprefix("# ") in help_text for comment, target in targets)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["results", "PROFILE=tiny"], "PROFILE is 'tiny', which is not a profile; use PROFILE=smoke, PROFILE=mini or PROFILE=full"),
        (["setup", "VENV=absent", "PYTHON=no-such-python"], "cirlib needs Python 3.11 or newer"),
    ],
)
def test_make_refuses_in_one_line(repo_root, arguments, told):
    done = subprocess.run(["make", "--silent", *arguments], cwd=repo_root, capture_output=True, text=True, check=False)
    assert done.returncode and told in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2, "one line of ours, one of make"
    assert not (repo_root / "absent").exists()


def test_ci_runs_what_people_run(repo_root):
    script = (repo_root / ".ci" / "run").read_text()
    assert os.access(repo_root / ".ci" / "run", os.X_OK)
    assert all(command in script for command in ("make setup", "make lint", "PROFILE=smoke make results", "make test"))
    assert script.rstrip().endswith("make test"), "the last lines are pytest's own"


def test_the_command_is_there_and_says_its_version_without_loading_torch():
    command = [sys.executable, "-X", "importtime", "-m", "cirlib.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"cirlib {cirlib.__version__}\n"
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in loaded and not loaded & {"torch", "numpy", "PIL", "cirlib.types"}


@pytest.mark.parametrize("name", ["fashioniq", "cirr", "circo", "genecis", "dfmm", "laion_cir", "synth_triplets", "one-to-come"])
def test_nothing_fetched_can_be_committed_by_accident(repo_root, name):
    if not (repo_root / ".git").exists():
        pytest.skip("not a git checkout")
    files = [
        f"data/{name}/{file}" for file in ("README.md", "images/B009PMCJLW.jpg", "images/README.md", "captions/cap.dress.val.json", "a.zip")
    ]
    done = subprocess.run(["git", "check-ignore", "--no-index", *files], cwd=repo_root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == files[1:], "the description alone is tracked"
