"""The benchmark itself: both providers agree, and its output has the promised form. Speed is measured, not tested."""

import argparse
import json

import pytest

from cirlib.bench import measure, ranking
from cirlib.cli import main
from cirlib.types import InputError

TINY = ranking.Case("tiny", 60, 90, recall_at=(1, 10))


@pytest.mark.parametrize("subset", [0, 5])
@pytest.mark.parametrize("from_scores", [True, False])
def test_providers_give_the_same_recalls_inside_zero_and_one(subset, from_scores):
    case = ranking.replace(TINY, subset=subset, from_scores=from_scores, queries=300)
    inputs = ranking._inputs(case)
    recalls = ranking._habit(case, inputs)
    assert recalls == ranking._cirlib(case, inputs)
    assert 0 < recalls["recall@1"] < 1
    assert len(recalls) == (5 if subset else 2)


@pytest.fixture(autouse=True)
def known_machine(monkeypatch):
    """The machine's speed is not measured in tests."""
    monkeypatch.setattr(ranking, "floor_ms", lambda operations, bytes_read: operations / 1e8 + bytes_read / 1e7)


def in_this_process(function, *args):
    return function(*args)


def parse(*words):
    parser = argparse.ArgumentParser()
    ranking.add_arguments(parser)
    return parser.parse_args(words)


def test_json_is_a_list_of_rows(monkeypatch, capsys):
    monkeypatch.setattr(ranking, "in_fresh_process", in_this_process)
    monkeypatch.setattr(ranking, "CASES", (TINY,))
    ranking.run(parse("--json", "--repeats", "2"))
    rows = json.loads(capsys.readouterr().out)
    assert [row["provider"] for row in rows] == ["habit", "cirlib"]
    for row in rows:
        assert set(row) == {"case", "provider", "p50_ms", "p20_ms", "p80_ms", "peak_mib", "floor_ms"}
        assert 0 < row["p20_ms"] <= row["p50_ms"] <= row["p80_ms"]
        assert row["peak_mib"] > 0


def test_table_states_floor_and_ratio(monkeypatch, capsys):
    monkeypatch.setattr(ranking, "in_fresh_process", in_this_process)
    monkeypatch.setattr(ranking, "CASES", (TINY,))
    ranking.run(parse("--end-to-end", "--repeats", "1"))
    printed = capsys.readouterr().out
    assert "tiny-end-to-end: 60 queries x 90 pictures; floor:" in printed
    assert "GFLOP/s" in printed
    assert "same recalls" in printed


def test_different_recalls_stop_the_benchmark(monkeypatch):
    monkeypatch.setattr(ranking, "in_fresh_process", in_this_process)
    monkeypatch.setattr(ranking, "_cirlib", lambda case, inputs: {"recall@1": 0.0})
    with pytest.raises(RuntimeError, match="recalls differ on tiny"):
        ranking.measure_case(TINY, ("habit", "cirlib"), 1)


def test_bad_options():
    with pytest.raises(InputError, match="--repeats 0"):
        ranking.run(parse("--repeats", "0"))
    with pytest.raises(InputError, match="--scaling has its own cases"):
        ranking.run(parse("--scaling", "--case", "cirr"))


def _use_memory():
    return measure.measure(lambda: bytearray(b"x") * (64 * 2**20), 1)


def _fail():
    raise InputError("from the other process")


def test_a_fresh_process_hands_back_results_and_errors():
    assert 60 < measure.in_fresh_process(_use_memory)["peak_mib"] < 200  # here, memory that is free already would not count
    with pytest.raises(InputError, match="from the other process"):
        measure.in_fresh_process(_fail)


def test_the_command_ends_in_one_line(capsys):
    assert main(["bench", "ranking", "--repeats", "0"]) == 2
    assert capsys.readouterr().err.strip() == "cirlib bench: --repeats 0 given; at least 1 run is needed"
