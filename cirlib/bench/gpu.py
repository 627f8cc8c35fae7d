"""Every kernel on a GPU, in one command that ends within ten minutes: correctness first, then ceilings, then times; the table comes last.

Correct    Search in 16 and 8 bits, ranks and slot scores at six shapes against the CPU reference, bit for bit, twice. If anything
           differs, nothing is timed.
Ceilings   Copy and matrix products in 16 bits, 8 bits and fp32, measured here: every floor is computed from them.
Cases      Searches with their peers, the worst order, other tiles; slots; ranks; loss, mining, reranking. The most telling come first. What
           does not fit into the time is left out, and said.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from cirlib._input_error import InputError
from cirlib.bench.record import add_common_arguments, check_common, record_rows

_RESERVE = 15.0  # seconds kept for the table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `cirlib bench gpu`."""
    add_common_arguments(parser, repeats=20, devices=("cuda",))
    parser.add_argument("--minutes", type=float, default=9.5, help="cases that do not fit into this time are left out (default 9.5)")


def run(args: argparse.Namespace) -> None:
    """Check, measure, print the table, keep the rows with --record.

    Raises:
        InputError: If there is no GPU, or the time is none.
        RuntimeError: If a result is wrong.
    """
    if args.minutes <= 0:
        raise InputError(f"--minutes {args.minutes:g} given; the time is above 0")
    start = time.perf_counter()
    check_common(args)
    import torch

    from cirlib.bench.gpu_cases import Bench, check, sizes_for
    from cirlib.bench.gpu_time import Ceilings, ceilings

    say = (lambda text: None) if args.json else (lambda text: print(text, flush=True))
    device = torch.cuda.get_device_properties(0)
    memory = device.total_memory / 2**30
    say(f"{device.name}, {memory:.0f} GiB, capability {device.major}.{device.minor}, torch {torch.__version__}")
    sizes = sizes_for(memory)
    wrong = check(Bench(args.device, Ceilings(1, 1, 1, 1), args.repeats), sizes)
    if wrong:
        raise RuntimeError("wrong results, nothing was timed: " + "; ".join(wrong))
    say(f"correct at {len(sizes.correct)} shapes, {time.perf_counter() - start:.0f} s")
    best = ceilings(args.device, min(4096, int(memory * 2**10 / 16)))
    products = f"16 bits {best.half_tflops:.0f} TFLOP/s, 8 bits {best.int8_tops:.0f} TOP/s, fp32 {best.fp32_tflops:.0f} TFLOP/s"
    say(f"ceilings: copy {best.copy_gbps:.0f} GB/s, {products}")
    rows, left_out = collect(cases(Bench(args.device, best, args.repeats), sizes), 60 * args.minutes - _RESERVE, start, say)
    report(rows, left_out, best.__dict__, args)


def cases(bench: Any, sizes: Any) -> list[tuple[str, Callable[[], Iterator[dict[str, Any]]]]]:
    """Name and rows of every case, the most telling ones first."""
    from cirlib.bench import gpu_cases as made

    first, small, *others = sizes.search
    return [
        ("search", lambda: made.search_case(bench, first)),
        ("search, few queries", lambda: made.search_case(bench, small)),
        ("ranks", lambda: made.ranks_case(bench, sizes.ranks)),
        ("slots, one vector", lambda: made.slots_case(bench, (sizes.tokens[0], 1, *sizes.tokens[1:]))),
        ("slots, signed", lambda: made.slots_case(bench, sizes.signed)),
        ("search, sorted", lambda: made.search_case(bench, first, peers=False, ascending=True)),
        ("tiles", lambda: made.tiles_case(bench, first)),
        ("tiles, few queries", lambda: made.tiles_case(bench, small)),
        *((f"search {size}", lambda size=size: made.search_case(bench, size)) for size in others),
        ("contrastive loss", lambda: made.loss_case(bench, sizes.loss)),
        ("mining and reranking", lambda: made.chunked_cases(bench, sizes)),
    ]


def collect(
    chosen: list[tuple[str, Callable[[], Iterator[dict[str, Any]]]]], seconds: float, start: float, say: Callable[[str], None]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of all cases that can begin, and go on, within the time; names of those that could not be finished.

    Args:
        chosen: From `cases`.
        seconds: Time for all, counted from `start`.
        start: `time.perf_counter()` at the beginning.
        say: Told every row at once, so that an interrupted run has shown something.
    """
    rows: list[dict[str, Any]] = []
    left_out = []
    longest = 0.0  # a provider of a case may take as long as the longest so far
    for name, make in chosen:
        iterator = make()
        while time.perf_counter() - start + longest < seconds:
            began = time.perf_counter()
            row = next(iterator, None)
            if row is None:
                break
            longest = max(longest, time.perf_counter() - began)
            rows.append(row)
            say(line(row))
        else:
            left_out.append(name)
        iterator.close()
    return rows, left_out


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    if row["p50_ms"] is None:
        return f"{row['case']:<34}{row['provider']:<34}    out of memory"
    times = f"{row['p50_ms']:>11.3f} ms ({row['p20_ms']:.3f} to {row['p80_ms']:.3f})"
    share = f"{row['times_floor']:>8.2f} x floor" if row.get("times_floor") else ""
    more = "".join(f"  {name} {row[name]:.4g}" for name in ("recall", "certified", "escalated", "equal") if name in row)
    return f"{row['case']:<34}{row['provider']:<34}{times}{share}{row['tops']:>9.1f} TOP/s{row['peak_mib']:>9.0f} MiB{more}"


def report(rows: list[dict[str, Any]], left_out: list[str], speeds: dict[str, float], args: argparse.Namespace) -> None:
    """Print all rows, or JSON; keep them with --record, with the speeds beside each."""
    rows = [row | {"ceilings": {name: round(value, 1) for name, value in speeds.items()}} for row in rows]
    if args.record:
        path = record_rows("gpu", rows, args.device)
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    print("\n" + "\n".join(line(row) for row in rows))
    print(f"left out for want of time: {', '.join(left_out)}" if left_out else "nothing was left out")
    if args.record:
        print(f"{len(rows)} rows kept in {path}")
