"""The benchmark of exact ranks: what all providers are asked, and its rows."""

import argparse
import json

import pytest

from cirlib.bench import measure, ranks
from cirlib.types import InputError

TINY = ranks.Case("tiny", 40, 500)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(ranks, "in_fresh_process", lambda function, *args: function(*args))
    monkeypatch.setattr(ranks, "floor_ms", lambda operations, bytes_read, device: operations / 1e6)
    monkeypatch.setattr(ranks, "CASES", (TINY, ranks.Case("far", 40, 500, far=True)))


def parse(*words):
    parser = argparse.ArgumentParser()
    ranks.add_arguments(parser)
    return parser.parse_args(words)


def test_json_is_a_list_of_rows(capsys):
    ranks.run(parse("--json", "--repeats", "1"))
    rows = json.loads(capsys.readouterr().out)
    assert [row["provider"] for row in rows] == list(ranks._PROVIDERS) * 2
    for row in rows:
        assert set(row) == {"case", "provider", "p50_ms", "p20_ms", "p80_ms", "peak_mib", "floor_ms", "different", "median_rank"}
        assert row["different"] == (None if row["provider"].startswith("product") else 0), "no near ties among 500"
    near, far = rows[0]["median_rank"], rows[-1]["median_rank"]
    assert near < 50 < 150 < far < 350


def test_a_matrix_that_does_not_fit_is_not_made(monkeypatch, capsys):
    monkeypatch.setattr(ranks, "_LARGEST_MIB", 0)
    ranks.run(parse("--repeats", "1", "--case", "tiny"))
    printed = capsys.readouterr().out
    assert "tiny: 40 queries x 500 pictures; 0 GFLOP" in printed
    assert "argsort" in printed and "matrix" not in printed
    with pytest.raises(InputError, match="--repeats 0"):
        ranks.run(parse("--repeats", "0"))


def test_one_floor_for_a_case():
    assert measure.share_floor([{"floor_ms": 3.0}, {"floor_ms": 2.0}]) == [{"floor_ms": 2.0}] * 2
    assert measure.share_floor([]) == []
