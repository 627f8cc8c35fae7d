"""Time and peak memory of one function, each case in a fresh process, so that no earlier case leaves its memory behind."""

import functools
import multiprocessing
import re
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_PAGE_MIB = 4 / 2**10
_CLEAR = Path("/proc/self/clear_refs")
_READ_BYTES = 512 << 20  # far more than any cache
_SIDE = 2048  # of the matrices by which the speed of products is measured


def measure(function: Callable[[], Any], repeats: int, device: str = "cpu") -> dict[str, float]:
    """Run a function once to warm up and then several times: p50, p20 and p80 of the wall time in ms, and the peak of memory in MiB.

    On the CPU the peak is the resident high-water mark of the process above where the warm-up began, so that the allocations of torch,
    numpy and BLAS all count, and at least one page. Linux resets the mark first; elsewhere it is the growth of the mark, which misses what
    fits below an earlier peak. On a GPU a run ends when the device is done, and the peak is what torch allocated above where it began.

    Args:
        function: Without arguments; what it returns is dropped.
        repeats: Timed runs, 1 or more.
        device: "cpu" or "cuda".
    """
    before = _start_peak_mib(device)
    wait = _synchronise if device == "cuda" else _nothing
    function()
    wait()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        wait()
        times.append(1e3 * (time.perf_counter() - start))
    times.sort()
    p20, p50, p80 = (times[round(share * (len(times) - 1))] for share in (0.2, 0.5, 0.8))
    return {
        "p50_ms": round(p50, 3),
        "p20_ms": round(p20, 3),
        "p80_ms": round(p80, 3),
        "peak_mib": round(max(_peak_mib(device) - before, _PAGE_MIB), 3),
    }


def in_fresh_process(function: Callable[..., Any], *args: Any) -> Any:
    """Call a module-level function in a new interpreter and hand back what it returns; its exception is raised here."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


@functools.cache
def machine_speed(device: str = "cpu") -> dict[str, float]:
    """What this machine can do at best, measured now: `fp32_gflops` of a matrix product, `read_gbps` of memory. Floors are made of them.

    The product is of two fp32 matrices of 2,048 rows; the reading is a sum over 512 MiB of fp32. The best of several runs counts.
    """
    import torch

    wait = _synchronise if device == "cuda" else _nothing
    square = torch.randn(_SIDE, _SIDE, generator=torch.Generator().manual_seed(0)).to(device)
    product = _best_seconds(lambda: square @ square, wait)
    numbers = torch.ones(_READ_BYTES // 4, device=device)
    reading = _best_seconds(lambda: numbers.sum(), wait)
    return {"fp32_gflops": round(2e-9 * _SIDE**3 / product, 1), "read_gbps": round(1e-9 * _READ_BYTES / reading, 1)}


def floor_ms(operations: float, bytes_read: float, device: str = "cpu") -> float:
    """The time that fp32 arithmetic or memory alone would take, whichever is longer, in ms."""
    speed = machine_speed(device)
    return round(max(1e-6 * operations / speed["fp32_gflops"], 1e-6 * bytes_read / speed["read_gbps"]), 3)


def share_floor(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of one case with one floor, the lowest of them: each process measures the machine anew, and a busy moment makes it look slow."""
    lowest = min((row["floor_ms"] for row in rows), default=None)
    return [{**row, "floor_ms": lowest} for row in rows]


def _best_seconds(function: Callable[[], Any], wait: Callable[[], None], repeats: int = 7) -> float:
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        function()
        wait()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def _nothing() -> None:
    """What there is to wait for on the CPU."""


def _synchronise() -> None:
    import torch

    torch.cuda.synchronize()


def _start_peak_mib(device: str) -> float:
    """Forget the high-water mark where the system can, and say how much memory is in use now."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    try:
        _CLEAR.write_text("5")
        return _status_mib("VmRSS")
    except OSError:
        return _peak_mib()


def _peak_mib(device: str = "cpu") -> float:
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    if _STATUS.exists():
        return _status_mib("VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _status_mib(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", _STATUS.read_text(), flags=re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{_STATUS} has no line {name}")
    return int(found[1]) / 2**10
