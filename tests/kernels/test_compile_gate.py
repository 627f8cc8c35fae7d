"""Kernels compile for GPUs that are not here, without spills, within shared memory, and with matrix units."""

import csv
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from cirlib.kernels.compile_gate import CAPABILITIES, COLUMNS, compile_one, configurations, describe, problems
from cirlib.types import InputError

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed: pip install -r requirements-kernels.lock")


def run(*arguments):
    """In a process of its own, where nothing is interpreted."""
    told = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return subprocess.run([sys.executable, "-m", "cirlib.kernels.compile_gate", *arguments], capture_output=True, text=True, env=told)


@needs_triton
def test_the_first_configuration_for_hopper():
    done = run("--first", "--capability", "90")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "HGMMA" in done.stdout and "1 configurations, 0 not as they must be" in done.stdout


def test_what_is_wrong_is_told():
    good = {
        "kernel": "group_maxima",
        "capability": 90,
        "tile": "128x256x64",
        "spill_bytes": 0,
        "shared_kib": 227,
        "matrix": "HGMMA",
        "shuffles": 0,
    }
    assert problems(good) == []
    assert problems(good | {"spill_bytes": 8}) == ["spills 8 bytes"]
    assert "299 KiB" in problems(good | {"shared_kib": 299})[0]
    assert problems(good | {"matrix": ""}) == ["uses no matrix unit"]
    assert "shuffles 4 times" in problems(good | {"shuffles": 4})[0]
    assert "228 KiB" in problems(good | {"shared_kib": 228})[0] and "164 KiB" in problems(good | {"capability": 80, "shared_kib": 164})[0]


@needs_triton
def test_nothing_is_compiled_while_interpreting():
    from triton_here import DEVICE

    if DEVICE == "cuda":
        pytest.skip("here nothing is interpreted")
    with pytest.raises(InputError, match="unset it"):
        compile_one(next(configurations(90)))


def test_the_kept_table_is_of_these_configurations(repo_root):
    with (repo_root / "results" / "benchmarks" / "compile_gate.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [describe(configuration) for capability in CAPABILITIES for configuration in configurations(capability)]
    assert [{name: row[name] for name in expected[0]} for row in rows] == [
        {name: str(value) for name, value in one.items()} for one in expected
    ]


@needs_triton
@pytest.mark.slow
def test_every_configuration(tmp_path):
    done = run("--out", str(tmp_path / "gate.csv"))
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "gate.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS and {int(row["capability"]) for row in rows} == set(CAPABILITIES)
    assert len(rows) == sum(1 for capability in CAPABILITIES for _ in configurations(capability))
