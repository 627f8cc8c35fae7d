"""The table of measured numbers: what a newer run replaces, what it must leave alone, and the options that every benchmark has."""

import argparse
import json

import pytest

from cirlib.bench import measure, record
from cirlib.types import InputError

ROW = {"case": "tiny", "provider": "cirlib", "p50_ms": 2.0, "p20_ms": 1.5, "p80_ms": 2.5, "peak_mib": 1.0, "floor_ms": 0.5, "recall": 1.0}


@pytest.fixture
def origin(monkeypatch):
    """Where rows come from, without asking the machine."""
    origin = {"device": "cpu", "hardware": "a processor", "threads": 2, "torch": "2.13.0", "cirlib": "0.0.0"}
    origin |= {"commit": "abc", "dirty": False, "date": "2026-01-02T03:04:05+00:00"}
    monkeypatch.setattr(record, "_origin", lambda device: origin | {"device": device})
    return origin


def test_rows_come_back_as_they_were(origin, tmp_path):
    path = record.record_rows("ranks", [ROW, ROW | {"provider": "argsort", "p50_ms": None, "floor_ms": None}], "cpu", tmp_path / "k.csv")
    argsort, ours = record.read_rows(path)
    assert ours == {"bench": "ranks", **{k: v for k, v in ROW.items() if k != "recall"}, **origin, "extra": {"recall": 1.0}}
    assert argsort["provider"] == "argsort" and argsort["p50_ms"] is argsort["floor_ms"] is None


def test_a_newer_run_replaces_its_own_rows_only(origin, tmp_path):
    path = record.record_rows("ranks", [ROW], "cpu", tmp_path / "k.csv")
    origin["hardware"] = "another processor"
    record.record_rows("ranks", [ROW | {"p50_ms": 9.0}], "cpu", path)
    record.record_rows("ranks", [ROW | {"p50_ms": 8.0}], "cuda", path)
    record.record_rows("slots", [ROW | {"p50_ms": 7.0}], "cpu", path)
    assert sorted(row["p50_ms"] for row in record.read_rows(path)) == [2.0, 7.0, 8.0, 9.0]
    origin["date"] = "2027-01-02T03:04:05+00:00"
    record.record_rows("ranks", [ROW | {"p50_ms": 6.0}], "cpu", path)
    assert sorted(row["p50_ms"] for row in record.read_rows(path)) == [2.0, 6.0, 7.0, 8.0]
    origin["date"] = "2025-01-02T03:04:05+00:00"
    record.record_rows("ranks", [ROW | {"p50_ms": 1.0}], "cpu", path)
    assert sorted(row["p50_ms"] for row in record.read_rows(path)) == [2.0, 6.0, 7.0, 8.0], "an older run replaces nothing"


def test_the_real_origin_names_the_machine():
    origin = record._origin("cpu")
    assert set(record.COLUMNS) - set(origin) == {"bench", "case", "provider", *record.MEASURED, "extra"}
    assert origin["hardware"] and origin["threads"] >= 1


def test_common_options_print_and_keep(origin, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(record, "default_path", lambda: tmp_path / "k.csv")
    parser = argparse.ArgumentParser()
    record.add_common_arguments(parser, repeats=4)
    args = parser.parse_args(["--json", "--record"])
    assert (args.repeats, args.device) == (4, "cpu")
    record.finish("ranks", [ROW], args)
    assert json.loads(capsys.readouterr().out) == [ROW]
    assert record.read_rows()[0]["p50_ms"] == 2.0
    with pytest.raises(InputError, match="--repeats 0"):
        record.check_common(parser.parse_args(["--repeats", "0"]))


def test_bad_rows_and_files_are_told(origin, tmp_path):
    with pytest.raises(InputError, match="no case or no provider"):
        record.record_rows("ranks", [{"case": "tiny"}], "cpu", tmp_path / "k.csv")
    with pytest.raises(InputError, match="twice"):
        record.record_rows("ranks", [ROW, ROW], "cpu", tmp_path / "k.csv")
    with pytest.raises(InputError, match="is not there; measure"):
        record.read_rows(tmp_path / "absent.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="has the columns"):
        record.read_rows(tmp_path / "other.csv")


def test_floors_follow_from_the_machines_speed(monkeypatch):
    monkeypatch.setattr(measure, "machine_speed", lambda device: {"fp32_gflops": 100.0, "read_gbps": 10.0})
    assert measure.floor_ms(1e9, 1e6) == 10.0  # 1 GFLOP at 100 GFLOP/s
    assert measure.floor_ms(1e6, 1e9) == 100.0  # 1 GB at 10 GB/s
