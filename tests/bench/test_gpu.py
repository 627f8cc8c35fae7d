"""The GPU benchmark without a GPU: every case at small sizes in the interpreter, the budget, and what is said where there is no GPU."""

import itertools
import time

import pytest
import torch
from triton_here import DEVICE

from cirlib.bench import gpu, gpu_cases
from cirlib.bench.gpu_cases import Bench, Sizes, check, sizes_for
from cirlib.bench.gpu_time import Ceilings, ceilings, measure_device
from cirlib.kernels import triton_search
from cirlib.types import InputError

SMALL = Sizes(
    search=((3, 120, 32, 4), (2, 120, 32, 4), (2, 90, 16, 3)),
    tokens=(3, 20, 4, 32),
    signed=(2, 4, 20, 4, 32),
    ranks=(4, 90, 32),
    mining=(3, 20, 4, 32),
    rerank=(3, 9, 32, 4),
    loss=(3, 20, 32),
    correct=((3, 90, 32, 4), (2, 40, 16, 40)),
)
SPEEDS = Ceilings(1000.0, 100.0, 200.0, 10.0)


@pytest.fixture
def quick(monkeypatch):
    """One run of each function instead of many."""

    def once(functions, device, repeats=20, seconds=2.0, graph=False):
        for function in functions:
            function()
        return {"p50_ms": 1.0, "p20_ms": 0.9, "p80_ms": 1.1, "peak_mib": 0.0}

    monkeypatch.setattr(gpu_cases, "measure_device", once)


def test_every_case_gives_rows_of_the_table(quick):
    rows, left_out = gpu.collect(gpu.cases(Bench(DEVICE, SPEEDS, 1), SMALL), 1e6, time.perf_counter(), lambda text: None)
    assert not left_out and len({(row["case"], row["provider"]) for row in rows}) == len(rows)
    for row in rows:
        assert row["floor_ms"] >= 0 and row["case"] in gpu.line(row) and row["provider"] in gpu.line(row)
        assert row.get("recall", 1) == 1 and row.get("equal", 1) >= 0.5  # 16-bit scores tie where exact ones do not
    assert {"cirlib-half", "cirlib-int8", "cirlib-int8-statistical", "torch", "scan-half"} <= {row["provider"] for row in rows}


def test_results_are_checked_and_wrong_ones_told(monkeypatch):
    bench = Bench(DEVICE, SPEEDS, 1)
    assert check(bench, SMALL) == []
    original = triton_search.search

    def wrong(query, gallery, k, index):
        found = original(query, gallery, k, index=index)
        found.rows[0, 0] += 1
        return found

    monkeypatch.setattr(triton_search, "search", wrong)
    told = check(bench, SMALL)
    assert len(told) == 4 and told[0] == "search, half, 3 x 90 x 32, k = 4"


def test_cases_that_do_not_fit_into_the_time_are_told(monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(gpu.time, "perf_counter", lambda: float(next(clock)))
    row = {"case": "a", "provider": "b", "p50_ms": 1.0, "p20_ms": 1.0, "p80_ms": 1.0, "peak_mib": 0.0, "tops": 1.0}
    made = [("first", lambda: (row for _ in range(3))), ("second", lambda: (row for _ in range(1)))]
    assert gpu.collect(made, 5.0, 0.0, lambda text: None) == ([row, row], ["first", "second"])
    assert gpu.collect(made, 1e6, 0.0, lambda text: None) == ([row] * 4, [])


def test_times_and_floors():
    calls = []
    told = measure_device([lambda: calls.append(0), lambda: calls.append(1)], "cpu", repeats=6)
    assert told["p20_ms"] <= told["p50_ms"] <= told["p80_ms"] and {0, 1} == set(calls) and len(calls) >= 8
    assert SPEEDS.floor_ms(1e9, 1e9) == 1.0 and SPEEDS.floor_ms(1e6, 1e12) == 10.0 and SPEEDS.floor_ms(1e6, 1e12, "int8") == 5.0
    found = ceilings("cpu", 1)
    assert min(found.copy_gbps, found.half_tflops, found.int8_tops, found.fp32_tflops) > 0


def test_sizes_fit_into_the_memory():
    for memory in (16, 80, 140):
        sizes = sizes_for(memory)
        for queries, count, dim, _ in sizes.search:
            assert 2 * count * dim <= memory * 2**30 / 4 and queries * count // 8 * 4 <= memory * 2**30 / 2
    assert sizes_for(140).search[0] == (1024, 10_000_000, 512, 100)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so():
    import argparse

    parser = argparse.ArgumentParser()
    gpu.add_arguments(parser)
    with pytest.raises(InputError, match="cuda"):
        gpu.run(parser.parse_args([]))
    with pytest.raises(InputError, match="--minutes 0"):
        gpu.run(parser.parse_args(["--minutes", "0"]))
