"""Time and peak memory of one function, each case in a fresh process, so that no earlier case leaves its memory behind."""

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


def measure(function: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Run a function once to warm up and then several times: p50, p20 and p80 of the wall time in ms, and the peak of memory in MiB.

    The peak is the resident high-water mark of the process above where the warm-up began, so that the allocations of torch, numpy and BLAS
    all count, and at least one page. Linux resets the mark first; elsewhere it is the growth of the mark, which misses what fits below an
    earlier peak.
    """
    before = _reset_peak_mib()
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(1e3 * (time.perf_counter() - start))
    times.sort()
    p20, p50, p80 = (times[round(share * (len(times) - 1))] for share in (0.2, 0.5, 0.8))
    return {
        "p50_ms": round(p50, 3),
        "p20_ms": round(p20, 3),
        "p80_ms": round(p80, 3),
        "peak_mib": round(max(_peak_mib() - before, _PAGE_MIB), 3),
    }


def in_fresh_process(function: Callable[..., Any], *args: Any) -> Any:
    """Call a module-level function in a new interpreter and hand back what it returns; its exception is raised here."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def _reset_peak_mib() -> float:
    """Forget the high-water mark where the system can, and say how much memory is resident now."""
    try:
        _CLEAR.write_text("5")
        return _status_mib("VmRSS")
    except OSError:
        return _peak_mib()


def _peak_mib() -> float:
    if _STATUS.exists():
        return _status_mib("VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _status_mib(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", _STATUS.read_text(), flags=re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{_STATUS} has no line {name}")
    return int(found[1]) / 2**10
