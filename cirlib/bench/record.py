"""Where measured numbers are kept: `results/benchmarks/kernels.csv`, one row per case and provider on one machine.

A row is replaced only by a newer run of the same bench, case and provider on the same device, hardware and number of threads: what another
machine measured stays. Times are in ms, memory in MiB. `floor_ms` is the time that no implementation of this operation can beat, from the
bytes and operations that it cannot avoid and the speeds measured on the machine; it is empty where no such floor is stated. What a bench
tells beyond these columns (operations, bytes, recall, shares) stands as JSON in `extra`.
"""

import argparse
import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cirlib import __version__
from cirlib._atomic import atomic_write_text
from cirlib._input_error import InputError

KEY = ("bench", "case", "provider", "device", "hardware", "threads")
MEASURED = ("p50_ms", "p20_ms", "p80_ms", "peak_mib", "floor_ms")
COLUMNS = ("bench", "case", "provider", *MEASURED, "device", "hardware", "threads", "torch", "cirlib", "commit", "dirty", "date", "extra")
DEVICES = ("cpu", "cuda")


def add_common_arguments(parser: argparse.ArgumentParser, repeats: int, devices: Sequence[str] = DEVICES) -> None:
    """The options that every benchmark has: --repeats, --device, --json and --record.

    Args:
        parser: Of the benchmark.
        repeats: Default number of timed runs per case and provider.
        devices: Where the benchmark can run; the first is the default.
    """
    parser.add_argument("--repeats", type=int, default=repeats, help=f"timed runs per case and provider (default {repeats})")
    parser.add_argument("--device", choices=devices, default=devices[0], help=f"where to run (default {devices[0]})")
    parser.add_argument("--json", action="store_true", help="print a list of {case, provider, p50_ms, p20_ms, p80_ms, peak_mib, floor_ms}")
    parser.add_argument("--record", action="store_true", help="keep the rows in results/benchmarks/kernels.csv")


def check_common(args: argparse.Namespace) -> None:
    """Raise InputError unless the common options can be used here."""
    if args.repeats < 1:
        raise InputError(f"--repeats {args.repeats} given; at least 1 run is needed")
    if args.device != "cpu":
        from cirlib.runs import choose_device

        choose_device(args.device)


def finish(bench: str, rows: Sequence[Mapping[str, Any]], args: argparse.Namespace) -> None:
    """Print the rows as JSON with --json, and keep them with --record.

    Args:
        bench: Name of the benchmark.
        rows: Each with `case`, `provider` and the columns of `MEASURED`; whatever else it holds goes to `extra`.
        args: With the common options.
    """
    if args.json:
        print(json.dumps(rows, indent=1))
    if args.record:
        path = record_rows(bench, rows, args.device)
        if not args.json:
            print(f"{len(rows)} rows kept in {path}")


def record_rows(bench: str, rows: Sequence[Mapping[str, Any]], device: str, path: Path | None = None) -> Path:
    """Add measured rows to the table, with where they come from, and replace those of the same key that are not newer.

    Args:
        bench: Name of the benchmark.
        rows: As in `finish`. A time may be None: what did not fit into memory is a result too.
        device: "cpu" or "cuda", where they were measured.
        path: Table to add to; by default `results/benchmarks/kernels.csv` of the project.

    Returns:
        Path of the table.

    Raises:
        InputError: If a row lacks `case` or `provider`, or two rows have one key.
    """
    path = path or default_path()
    origin = _origin(device)
    kept = {_key(row): row for row in read_rows(path)} if path.exists() else {}
    seen = set()
    for row in rows:
        if not row.get("case") or not row.get("provider"):
            raise InputError(f"a row of {bench} has no case or no provider: {dict(row)}")
        extra = {name: value for name, value in row.items() if name not in COLUMNS}
        entry = {"bench": bench, "case": row["case"], "provider": row["provider"], **{name: row.get(name) for name in MEASURED}}
        entry |= origin | {"extra": extra}
        if (key := _key(entry)) in seen:
            raise InputError(f"{bench} measured {row['case']} with {row['provider']} twice; give the cases different names")
        seen.add(key)
        if key not in kept or kept[key]["date"] <= entry["date"]:
            kept[key] = entry
    return write_rows(kept.values(), path)


def read_rows(path: Path | None = None) -> list[dict[str, Any]]:
    """Rows of the table: texts, numbers as float or None, `threads` as int, `dirty` as bool and `extra` as a dict.

    Raises:
        InputError: If the file is absent or its columns are not `COLUMNS`.
    """
    path = path or default_path()
    if not path.exists():
        raise InputError(f"{path} is not there; measure with `cirlib bench NAME --record` first")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise InputError(f"{path} has the columns {reader.fieldnames}; {', '.join(COLUMNS)} are expected")
        rows = list(reader)
    for row in rows:
        row |= {name: float(row[name]) if row[name] else None for name in MEASURED}
        row |= {"threads": int(row["threads"]), "dirty": row["dirty"] == "True", "extra": json.loads(row["extra"] or "{}")}
    return rows


def write_rows(rows: Iterable[Mapping[str, Any]], path: Path) -> Path:
    """Write the whole table, sorted by key, in one piece."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in sorted(rows, key=_key):
        extra = json.dumps(row["extra"], sort_keys=True) if row["extra"] else ""
        writer.writerow({**row, **{name: "" if row[name] is None else row[name] for name in MEASURED}, "extra": extra})
    return atomic_write_text(path, text.getvalue())


def default_path() -> Path:
    """`results/benchmarks/kernels.csv` of the project."""
    from cirlib.config import find_root

    return find_root() / "results" / "benchmarks" / "kernels.csv"


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in KEY)


def _origin(device: str) -> dict[str, Any]:
    """Device, hardware, versions, commit and date of this run."""
    import torch

    from cirlib.runs import cpu_name, provenance

    told = provenance(device)
    hardware = cpu_name() if device == "cpu" else told["device_name"]
    return {
        "device": device,
        "hardware": hardware,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "cirlib": __version__,
        **{name: told[name] for name in ("commit", "dirty", "date")},
    }
