"""The benchmark of slot scores: providers agree to their precision, and its rows have the promised form."""

import argparse
import json

import pytest

from cirlib.bench import slots
from cirlib.types import InputError

TINY = tuple(slots.Case(name, 5, parts, 20, 4, 8, keyed=name == "keyed") for name, parts in (("tokens", 1), ("signed", 2), ("keyed", 2)))


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """In this process, and without the compiler, which takes seconds."""
    monkeypatch.setattr(slots, "in_fresh_process", lambda function, *args: function(*args))
    monkeypatch.setattr(slots, "floor_ms", lambda operations, bytes_read, device: operations / 1e6)
    monkeypatch.setattr(slots, "CASES", TINY)
    monkeypatch.setattr(slots.shutil, "which", lambda name: None)


def parse(*words):
    parser = argparse.ArgumentParser()
    slots.add_arguments(parser)
    return parser.parse_args(words)


def test_json_is_a_list_of_rows(capsys):
    slots.run(parse("--json", "--repeats", "1"))
    rows = json.loads(capsys.readouterr().out)
    assert [row["provider"] for row in rows] == ["einsum", "cirlib, fp32", "cirlib, bf16"] * 3
    for row in rows:
        assert set(row) == {"case", "provider", "p50_ms", "p20_ms", "p80_ms", "peak_mib", "floor_ms", "error"}
        assert row["error"] <= (2.0**-7 if "bf16" in row["provider"] else 1e-6)
    floors = {row["case"]: row["floor_ms"] for row in rows}
    assert floors["keyed"] == pytest.approx(floors["signed"] / 4) == pytest.approx(2 * 5 * 2 * 20 * 4 * 8 / 4e6)


def test_a_score_that_is_off_stops_the_benchmark(monkeypatch, capsys):
    slots.run(parse("--repeats", "1", "--case", "signed"))
    assert "signed: 5 queries x 2 constraints, 20 pictures x 4 slots, 8 dimensions" in capsys.readouterr().out
    einsum = slots._einsum
    monkeypatch.setattr(slots, "_einsum", lambda *inputs: einsum(*inputs) + 0.1)
    with pytest.raises(RuntimeError, match="einsum is off by"):
        slots.run(parse("--repeats", "1"))


def test_bad_options():
    with pytest.raises(InputError, match="--repeats 0"):
        slots.run(parse("--repeats", "0"))
