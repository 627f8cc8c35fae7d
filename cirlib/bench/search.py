"""Exact search of a gallery: the 8-bit scan beside FAISS, plain torch, usearch and the reference.

Timed      From unit rows of queries to the 50 best rows of each, after the gallery was prepared; preparing is told as `prepare_s`. Each
           provider and gallery has a fresh process.
Checked    Against float64 products of the same rows, for the first 64 queries: `recall` is the share of their 50 best that was found,
           `same_order` the share that stands in its place, `worst_gap` the largest difference in score from the row that should stand
           there. The order of `reference` and the scans is that of exact products of rows rounded to 2^-26, so it is below 1e-7 for them.
Data       See `cirlib.bench.search_data`: random rows without and with structure, embeddings of real pictures, near-duplicates of these.
Floor      2 * q * g * d fp32 operations, or 4 * g * d bytes once, at the speeds of this machine. It holds for whoever multiplies in fp32. A
           scan of 8 bits has a quarter of both, so it may stay below: that is its point.
On a GPU   See `cirlib bench gpu`.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from cirlib._input_error import InputError
from cirlib.bench.measure import floor_ms, in_fresh_process, measure
from cirlib.bench.record import add_common_arguments, check_common, finish
from cirlib.bench.search_cases import DATA, Data

Lists = tuple[list[list[int]], list[list[float]]]  # rows and their float64 scores, one list a query

PROVIDERS = ("certified", "statistical", "faiss", "faiss-tuned", "torch", "reference", "usearch")
_K = 50
_CHECKED = 64  # queries compared with float64
_MANY = 256  # queries from which half as many runs are timed
_CHUNK = 1 << 14


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `cirlib bench search`."""
    parser.add_argument("--data", action="append", choices=[data.name for data in DATA], help="only this gallery (may be repeated)")
    parser.add_argument("--provider", action="append", choices=PROVIDERS, help="only this one (may be repeated)")
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photographs for the galleries that are made of some")
    add_common_arguments(parser, 5, devices=("cpu",))


def run(args: argparse.Namespace) -> None:
    """Measure the chosen galleries and print them."""
    check_common(args)
    if args.photos is not None and not args.photos.is_dir():
        raise InputError(f"--photos {args.photos} is no folder; give one with pictures")
    rows = []
    for data in DATA:
        if args.data and data.name not in args.data:
            continue
        if data.kind == "photos" and args.photos is None:
            _say(args, f"{data.name}: skipped, no photographs given; --photos FOLDER names some")
            continue
        rows += measure_data(data, tuple(args.provider or PROVIDERS), args)
    finish("search", rows, args)


def measure_data(data: Data, providers: tuple[str, ...], args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per number of queries and provider; those that cannot run are named and left out."""
    from cirlib.bench.search_data import real_rows
    from cirlib.bench.search_peers import skip_reason

    rows: list[dict[str, Any]] = []
    real = real_rows(data.kind, args.photos)
    truth = in_fresh_process(_truth, data, real)
    for provider in providers:
        if reason := skip_reason(provider, data.rows):
            _say(args, f"{data.name}: {provider} skipped, {reason}")
            continue
        for row, found in in_fresh_process(_measure, data, provider, args.repeats, real):
            row |= _compare(found, truth)
            row["floor_ms"] = floor_ms(2.0 * row["queries"] * row["gallery"] * row["dim"], 4.0 * row["gallery"] * row["dim"])
            rows.append(row)
            _say(args, _line(row))
    return rows


def _measure(data: Data, provider: str, repeats: int, real: Any) -> list[tuple[dict[str, Any], Lists]]:
    """Rows of one provider, and what it found with which scores for the first queries. Runs in the fresh process."""
    from cirlib.bench.search_data import load
    from cirlib.bench.search_peers import prepare

    query, gallery = load(data, real)
    start = time.perf_counter()
    search = prepare(provider, gallery)
    shared = {"prepare_s": round(time.perf_counter() - start, 2), "gallery": len(gallery), "dim": gallery.shape[1], "k": _K}
    done = []
    for count in data.queries:
        runs = repeats if count < _MANY else max(1, repeats // 2)
        last: list[Any] = []
        some = query[:count].contiguous()

        def go(some: Any = some, last: list[Any] = last) -> None:
            last[:] = search(some, _K)

        row = {"case": f"{data.name}-q{count}", "provider": provider, **measure(go, runs), "queries": count, "repeats": runs, **shared}
        rows = last[0][:_CHECKED]
        scores = (gallery[rows].double() @ some[:_CHECKED, :, None].double())[:, :, 0]
        done.append((row | last[1], (rows.tolist(), scores.tolist())))
    return done


def _truth(data: Data, real: Any) -> Lists:
    """The 50 best rows of the first queries and their scores by float64 products, ties by row. Runs in a fresh process."""
    import torch

    from cirlib.bench.search_data import load

    query, gallery = load(data, real)
    query = query[:_CHECKED].double()
    best, rows = torch.empty(len(query), 0, dtype=torch.float64), torch.empty(len(query), 0, dtype=torch.int64)
    for start in range(0, len(gallery), _CHUNK):
        scores = query @ gallery[start : start + _CHUNK].double().T
        rows = torch.cat([rows, torch.arange(start, start + scores.shape[1]).expand_as(scores)], dim=1)
        best, place = torch.cat([best, scores], dim=1).sort(dim=1, descending=True, stable=True)
        best, rows = best[:, :_K], rows.gather(1, place[:, :_K])
    return rows.tolist(), best.tolist()


def _compare(found: Lists, truth: Lists) -> dict[str, float]:
    """Recall, share of places that agree, and largest difference in score; of as many queries as were searched."""
    pairs = list(zip(found[0], truth[0][: len(found[0])], strict=True))
    total = sum(len(wanted) for _, wanted in pairs)
    recall = sum(len(set(rows) & set(wanted)) for rows, wanted in pairs) / total
    same = sum(row == other for rows, wanted in pairs for row, other in zip(rows, wanted, strict=True)) / total
    gap = max(abs(a - b) for mine, best in zip(found[1], truth[1], strict=False) for a, b in zip(mine, best, strict=True))
    return {"recall": round(recall, 5), "same_order": round(same, 5), "worst_gap": float(f"{gap:.1e}")}


def _line(row: dict[str, Any]) -> str:
    times = f"{row['p50_ms']:>9.1f} ms (p20 {row['p20_ms']:.1f}, p80 {row['p80_ms']:.1f})"
    parts = [f"{row['case']:<28}{row['provider']:<12}{times:<42}{row['p50_ms'] / row['floor_ms']:>6.2f} of the fp32 floor"]
    parts.append(f"{row['peak_mib']:>7.0f} MiB, recall {row['recall']:.4f}, order {row['same_order']:.4f} (gap {row['worst_gap']:.0e})")
    if "candidates" in row:
        parts.append(f"certified {row['certified']:.3f}, {row['candidates']:.0f} candidates, escalated {row['escalated']:.3f}")
    return ", ".join(parts)


def _say(args: argparse.Namespace, text: str) -> None:
    if not args.json:
        print(text, flush=True)
