import hashlib
import json
from collections import namedtuple
from importlib import metadata

import pytest

from cirlib import environment
from cirlib.environment import check_environment, measure_matmul_gflops


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "data" / "checkpoints" / "clip"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "card.json").write_text(json.dumps({"sha256": {"model.safetensors": hashlib.sha256(b"weights").hexdigest()}}))
    return tmp_path


def find(root, name):
    return next(finding for finding in check_environment(root) if finding.name == name)


def test_this_environment_is_ready(root):
    findings = check_environment(root)
    assert not [str(finding) for finding in findings if finding.state == "FAIL"]
    assert {"python", "torch", "torch+torchvision", "device", "memory", "disk", "checkpoint clip", "data cirr"} <= {
        f.name for f in findings
    }
    assert all("\n" not in str(finding) for finding in findings)


@pytest.mark.parametrize(
    ("package", "version", "state"),
    [
        ("torch", "2.10.0", "FAIL"),
        ("torch", "2.13.0+cu130", "OK"),
        ("torch", None, "FAIL"),
        ("papermill", None, "--"),
        ("papermill", "1.0", "FAIL"),
    ],
)
def test_versions_are_compared_with_pyproject(root, monkeypatch, package, version, state):
    real = metadata.version

    def fake(name):
        if name == package:
            if version is None:
                raise metadata.PackageNotFoundError(name)
            return version
        return real(name)

    monkeypatch.setattr(environment.metadata, "version", fake)
    finding = find(root, package)
    assert finding.state == state
    if state != "OK":
        assert "make setup" in finding.detail or "pip install" in finding.detail


def test_cirlib_that_is_not_installed(root, monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(environment.metadata, "requires", absent)
    assert "make setup" in find(root, "cirlib").detail


def test_old_python_little_disk_little_memory(root, monkeypatch):
    monkeypatch.setattr(environment.sys, "version_info", (3, 9, 1, "final", 0))
    assert find(root, "python").state == "FAIL"
    monkeypatch.undo()
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda path: namedtuple("usage", "total used free")(9, 9, 2**30))
    assert "2 GiB are needed" in find(root, "disk").detail
    monkeypatch.setattr(environment.os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**18}[name])
    assert "1.0 GiB; 4 GiB are needed" in find(root, "memory").detail


def test_a_damaged_checkpoint_is_named(root):
    folder = root / "data" / "checkpoints" / "clip"
    assert find(root, "checkpoint clip").state == "OK"
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs")
    assert find(root, "checkpoint clip").state == "FAIL" and "its card says" in find(root, "checkpoint clip").detail
    (folder / "model.safetensors").unlink()
    assert "lacks model.safetensors" in find(root, "checkpoint clip").detail
    (folder / "card.json").write_text("{}")
    assert "no card.json with a sha256" in find(root, "checkpoint clip").detail


def test_data_folders_are_optional(root, tmp_path):
    (tmp_path / "data" / "cirr").mkdir()
    (tmp_path / "data" / "cirr" / "README.md").touch()
    assert find(root, "data cirr").state == "--"
    (tmp_path / "data" / "cirr" / "captions").mkdir()
    assert find(root, "data cirr").state == "OK"


def test_matmul_speed_is_operations_over_time(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(environment.time, "perf_counter", lambda: float(next(clock)))  # every product takes exactly one second
    assert measure_matmul_gflops(100, repeats=3) == pytest.approx(2 * 100**3 / 1e9)
