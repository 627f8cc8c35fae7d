"""The benchmark of the contrastive loss: its rows have the promised form, and providers that differ stop it."""

import argparse
import json

import pytest

from cirlib.bench import contrastive
from cirlib.types import InputError

TINY = contrastive.Case("tiny", 12, 40)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    monkeypatch.setattr(contrastive, "in_fresh_process", lambda function, *args: function(*args))
    monkeypatch.setattr(contrastive, "floor_ms", lambda operations, bytes_read, device: operations / 1e6)
    monkeypatch.setattr(contrastive, "CASES", (TINY,))


def parse(*words):
    parser = argparse.ArgumentParser()
    contrastive.add_arguments(parser)
    return parser.parse_args(words)


def test_json_is_a_list_of_rows(capsys):
    contrastive.run(parse("--json", "--repeats", "1"))
    rows = json.loads(capsys.readouterr().out)
    assert [row["provider"] for row in rows] == ["plain", "cirlib"]
    for row in rows:
        assert set(row) == {"case", "provider", "p50_ms", "p20_ms", "p80_ms", "peak_mib", "floor_ms"}
        assert 0 < row["p20_ms"] <= row["p50_ms"] <= row["p80_ms"]
        assert row["floor_ms"] == pytest.approx(6 * 12 * 40 * 512 / 1e6)


def test_table_compares_both(capsys):
    contrastive.run(parse("--repeats", "1"))
    printed = capsys.readouterr().out
    assert "tiny: 12 queries x 40 pictures" in printed and "% of the memory" in printed


def test_different_gradients_stop_the_benchmark(monkeypatch):
    measure = contrastive._measure

    def wrong(case, provider, *rest):
        result, found = measure(case, provider, *rest)
        return result, {name: value * (1.01 if provider == "cirlib" else 1) for name, value in found.items()}

    monkeypatch.setattr(contrastive, "_measure", wrong)
    with pytest.raises(RuntimeError, match="differ on tiny"):
        contrastive.measure_case(TINY, 1)


def test_bad_options():
    with pytest.raises(InputError, match="--repeats 0"):
        contrastive.run(parse("--repeats", "0"))
