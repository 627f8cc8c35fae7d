"""The benchmark itself: both providers agree, and its output has the promised form. Speed is measured, not tested."""

import argparse
import json

import pytest

from cirlib.bench import measure, midzone
from cirlib.types import InputError

TINY = midzone.Case("tiny", 40, 150)


def in_this_process(function, *args):
    return function(*args)


def parse(*words):
    parser = argparse.ArgumentParser()
    midzone.add_arguments(parser)
    return parser.parse_args(words)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(midzone, "in_fresh_process", in_this_process)
    monkeypatch.setattr(midzone, "CASES", (TINY,))
    monkeypatch.setattr(midzone, "floor_ms", lambda operations, bytes_read: operations / 1e9)


def test_providers_give_the_same_sets_and_zones_are_neither_empty_nor_everything():
    inputs = midzone._inputs(TINY)
    assert abs(inputs["gallery"].norm(dim=-1) - 1).max() < 1e-5
    found = midzone._cirlib(inputs)
    assert found == midzone._einsum(inputs)
    assert 32 * 40 <= found["members"] < 100 * 40 and found["widened"] < 40


def test_json_is_a_list_of_rows(capsys):
    midzone.run(parse("--json", "--repeats", "2"))
    rows = json.loads(capsys.readouterr().out)
    assert [row["provider"] for row in rows] == list(midzone._PROVIDERS)
    for row in rows:
        assert set(row) == {"case", "provider", "p50_ms", "p20_ms", "p80_ms", "peak_mib", "floor_ms", "process_mib"}
        assert 0 < row["p20_ms"] <= row["p50_ms"] <= row["p80_ms"] and 0 < row["peak_mib"] < row["process_mib"]


def test_a_baseline_that_does_not_fit_is_stated_and_not_run(monkeypatch, capsys):
    monkeypatch.setattr(midzone, "_LARGEST_MIB", 0)
    midzone.run(parse("--repeats", "1", "--case", "tiny"))
    printed = capsys.readouterr().out
    assert "tiny: 40 queries x 150 pictures; floor: 0 GFLOP, 5 MiB to read" in printed
    assert "einsum would hold 1 MiB of scores: not run" in printed
    assert midzone.Case("fashioniq", 6000, 6000).einsum_mib == 4 * 6000 * 6000 * 32 / 2**20


def test_different_sets_stop_the_benchmark(monkeypatch):
    monkeypatch.setattr(midzone, "_cirlib", lambda inputs: {"members": 1, "widened": 0})
    with pytest.raises(RuntimeError, match="sets differ on tiny"):
        midzone.measure_case(TINY, 1)


def test_bad_options():
    with pytest.raises(InputError, match="--repeats 0"):
        midzone.run(parse("--repeats", "0"))
    with pytest.raises(SystemExit):
        parse("--case", "none")


@pytest.mark.slow
def test_mining_a_pool_of_fashioniqs_size_stays_far_below_the_scores_of_all_vectors():
    """Two blocks of queries; more of them add nothing but their sets. The einsum would hold 750 MiB here and 4,395 for all 6,000."""
    result, found = measure.in_fresh_process(midzone._measure, midzone.Case("two-blocks", 1024, 6000), "cirlib", 1)
    assert found["members"] > 32 * 1024
    assert result["peak_mib"] < 300 and result["process_mib"] < 2048
