"""Time on a GPU, and the speeds of this GPU that every floor is computed from.

Times are taken with events around one call, after warm-up, on several inputs in turn. A GPU's speed depends on what it multiplies, so
inputs are random. Small cases run as CUDA graphs, because a launch takes as long as they do. On the CPU, for tests, the wall clock is read.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

_LEAST = 5  # timed runs, whatever they take
_WARM_SECONDS = 0.05  # until the clock of an idle GPU has risen


@dataclass(frozen=True)
class Ceilings:
    """The best that this device reached in this run.

    Attributes:
        copy_gbps: Bytes read and written by a copy, in GB/s.
        half_tflops: 16-bit matrix product, the better of a square and a search's shape.
        int8_tops: 8-bit matrix product.
        fp32_tflops: fp32 matrix product without shortcuts.
    """

    copy_gbps: float
    half_tflops: float
    int8_tops: float
    fp32_tflops: float

    def floor_ms(self, read: float, operations: float, kind: str = "half") -> float:
        """What no implementation can beat: bytes at the speed of a copy or operations at the speed of a product, whichever takes longer."""
        rate = {"half": self.half_tflops, "int8": self.int8_tops, "fp32": self.fp32_tflops}[kind]
        return round(max(read / self.copy_gbps / 1e6, operations / rate / 1e9), 4)


def measure_device(
    functions: Sequence[Callable[[], Any]], device: str, repeats: int = 20, seconds: float = 2.0, graph: bool = False
) -> dict[str, Any]:
    """Times in ms and peak memory above the inputs in MiB of functions that do the same on different inputs.

    Args:
        functions: Called in turn.
        device: "cuda", or "cpu" in tests.
        repeats: Timed runs at most; fewer, but five, if they would take longer than `seconds`.
        seconds: See above.
        graph: Record each function as a CUDA graph and time that.

    Returns:
        `p50_ms`, `p20_ms`, `p80_ms` and `peak_mib`; all None if memory does not suffice, which is a result too.
    """
    try:
        return _measure(functions, device, repeats, seconds, graph and device == "cuda")
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        return dict.fromkeys(("p50_ms", "p20_ms", "p80_ms", "peak_mib"))


def ceilings(device: str, size: int) -> Ceilings:
    """Measure the speeds of the device with buffers of `size` MiB and matrices that fill as much."""
    source = torch.empty(size << 20, dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    copy = 2 * (size << 20) / _seconds([lambda: target.copy_(source)], device) / 1e9
    del target
    side = min(8192, int((size << 18) ** 0.5) // 128 * 128)
    wide = (size << 20) // 1024 // 512 * 64
    rates: dict[torch.dtype, float] = {}
    for dtype in (torch.bfloat16, torch.int8, torch.float32):
        for rows, columns, dim in ((side, side, side), (1024, wide, 512)):
            left, right = (_random(n, dim, dtype, device) for n in (min(rows, side), columns))
            product = torch._int_mm if dtype == torch.int8 else torch.mm
            out = torch.empty(len(left), len(right), dtype=torch.int32 if dtype == torch.int8 else dtype, device=device)

            def multiply(left: Any = left, right: Any = right, product: Any = product, out: Any = out) -> None:
                product(left, right.T, out=out)

            rate = 2e-12 * len(left) * len(right) * dim / _seconds([multiply], device)
            rates[dtype] = max(rates.get(dtype, 0.0), rate)
            del left, right, out
    return Ceilings(copy, rates[torch.bfloat16], rates[torch.int8], rates[torch.float32])


def _measure(functions: Sequence[Callable[[], Any]], device: str, repeats: int, seconds: float, graph: bool) -> dict[str, Any]:
    cuda = device == "cuda"
    before = torch.cuda.memory_allocated() if cuda else 0
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    while time.perf_counter() - start < (_WARM_SECONDS if cuda else 0) or start == time.perf_counter():
        for function in functions:
            function()
        if cuda:
            torch.cuda.synchronize()
    peak = (torch.cuda.max_memory_allocated() - before) / 2**20 if cuda else 0.0
    runs = [_graph(function) for function in functions] if graph else list(functions)
    for run in runs:
        run()
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < repeats and (len(times) < _LEAST or time.perf_counter() - start < seconds):
        times.append(_once(runs[len(times) % len(runs)], cuda))
    times.sort()
    p20, p50, p80 = (round(times[round(share * (len(times) - 1))], 4) for share in (0.2, 0.5, 0.8))
    return {"p50_ms": p50, "p20_ms": p20, "p80_ms": p80, "peak_mib": round(peak, 1)}


def _once(function: Callable[[], Any], cuda: bool) -> float:
    """Milliseconds of one call."""
    if not cuda:
        start = time.perf_counter()
        function()
        return 1e3 * (time.perf_counter() - start)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    function()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)


def _graph(function: Callable[[], Any]) -> Callable[[], None]:
    """The function's launches, recorded once."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    return graph.replay


def _seconds(functions: Sequence[Callable[[], Any]], device: str) -> float:
    return _measure(functions, device, 20, 1.0, False)["p50_ms"] / 1e3


def _random(rows: int, dim: int, dtype: torch.dtype, device: str) -> torch.Tensor:
    if dtype == torch.int8:
        return torch.randint(-127, 128, (rows, dim), dtype=dtype, device=device)
    return torch.randn(rows, dim, device=device).to(dtype)
