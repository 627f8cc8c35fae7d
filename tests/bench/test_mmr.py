"""The benchmark of reranking: all providers pick the same, and its rows have the promised form."""

import argparse
import json

import pytest

from cirlib.bench import mmr
from cirlib.types import InputError

TINY = mmr.Case("tiny", 4, 12, 5)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(mmr, "in_fresh_process", lambda function, *args: function(*args))
    monkeypatch.setattr(mmr, "floor_ms", lambda operations, bytes_read, device: operations / 1e6)
    monkeypatch.setattr(mmr, "CASES", (TINY,))
    monkeypatch.setattr(mmr, "_GALLERY", 60)


def parse(*words):
    parser = argparse.ArgumentParser()
    mmr.add_arguments(parser)
    return parser.parse_args(words)


def test_json_is_a_list_of_rows(capsys):
    mmr.run(parse("--json", "--repeats", "1"))
    rows = json.loads(capsys.readouterr().out)
    assert [row["provider"] for row in rows] == ["loop over candidates", "loop", "cirlib"]
    for row in rows:
        assert set(row) == {"case", "provider", "p50_ms", "p20_ms", "p80_ms", "peak_mib", "floor_ms", "different_queries"}
        assert row["different_queries"] == 0 and row["floor_ms"] == pytest.approx(2 * 4 * 5 * 12 * 512 / 1e6)


def test_other_picks_stop_the_benchmark(monkeypatch, capsys):
    mmr.run(parse("--repeats", "1"))
    assert "times as fast" in capsys.readouterr().out
    loop = mmr._loop
    monkeypatch.setattr(mmr, "_loop", lambda *args: [order[::-1] for order in loop(*args)])
    with pytest.raises(RuntimeError, match="orders differ on tiny: .*'loop': 4"):
        mmr.measure_case(TINY, 1)


def test_bad_options():
    with pytest.raises(InputError, match="--repeats 0"):
        mmr.run(parse("--repeats", "0"))
