"""`cirlib submit`: write and check the files that the test servers of CIRR and CIRCO take."""

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cirlib.types import Benchmark

SERVERS = {"cirr": "https://cirr.cecs.anu.edu.au/", "circo": "https://circo.micc.unifi.it/"}


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "submit",
        help="write and check CIRR and CIRCO test files",
        description="Write a test file from a ranking, {query id: [image ids, best first]} as JSON or a saved report (.npz), "
        "or check any file.",
    )
    parser.add_argument("benchmark", metavar="BENCHMARK", choices=("cirr", "circo"), help="cirr or circo")
    parser.add_argument("--annotations", required=True, metavar="DIR", help="official annotation files")
    parser.add_argument("--split", help="default: test1 for cirr, test for circo")
    parser.add_argument("--metric", default="recall", choices=("recall", "recall_subset"), help="cirr: which of its two files to write")
    parser.add_argument("--images", metavar="DIR", help="circo: picture folder, to check that every image is in the gallery")
    parser.add_argument("--out", metavar="FILE", help="file to write, with --ranking")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--ranking", metavar="FILE", help="ranking of the gallery for every query")
    what.add_argument("--check", metavar="FILE", nargs="+", help="files to check against every rule of the server")


def run(args: argparse.Namespace) -> int:
    """Write, or check; an invalid file is an InputError that names the first offending query."""
    from cirlib.types import InputError

    if args.ranking and not args.out:
        raise InputError("--ranking was given without --out; say where the file goes")
    if args.check and args.out:
        raise InputError("--out was given with --check, which writes nothing; leave one of them out")
    benchmark, known = _load(args)
    if args.check:
        for path in args.check:
            print(f"{path}: {_check(path, benchmark, known)}")
        return 0
    return _write(args, benchmark, known)


def _load(args: argparse.Namespace) -> tuple["Benchmark", Collection[str] | None]:
    """The benchmark, and the ids that may occur (None for its gallery, empty where the gallery is unknown)."""
    from cirlib.data.circo import ANNOTATED_ONLY, load_circo
    from cirlib.data.cirr import load_cirr

    if args.benchmark == "cirr":
        return load_cirr(args.annotations, args.split or "test1", images=False), None
    images = args.images or False
    benchmark = load_circo(args.annotations, args.split or "test", images=images, allow_missing=True)
    return benchmark, () if benchmark.protocol.gallery == ANNOTATED_ONLY else None


def _check(path: str, benchmark: "Benchmark", known: Collection[str] | None) -> str:
    from cirlib.data.annotations import read_json
    from cirlib.evaluation.submission import CIRCO_DEPTH, CIRR_DEPTH, check_circo, check_cirr
    from cirlib.types import InputError

    document = read_json(path)
    n_bytes = Path(path).stat().st_size
    try:
        if benchmark.name == "cirr":
            metric = check_cirr(document, benchmark, n_bytes)
            detail = f"metric {metric}, {CIRR_DEPTH[metric]} names"
        else:
            check_circo(document, benchmark, known)
            detail = f"{CIRCO_DEPTH} ids" + (
                "" if known is None else " (that they are in the gallery is unchecked: no picture list is here)"
            )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return f"valid for {benchmark.name} {benchmark.split}: {len(benchmark.queries):,} queries, {detail}, {n_bytes / 1e6:.2f} MB"


def _write(args: argparse.Namespace, benchmark: "Benchmark", known: Collection[str] | None) -> int:
    from cirlib.evaluation.submission import write_circo, write_cirr
    from cirlib.types import InputError

    rankings = _read_rankings(args.ranking, benchmark)
    try:
        if benchmark.name == "cirr":
            write_cirr(args.out, rankings, benchmark, args.metric)
        else:
            write_circo(args.out, rankings, benchmark, known)
    except InputError as error:
        raise InputError(f"{args.ranking}: {error}") from None
    print(f"{args.out}: {_check(args.out, benchmark, known)}\nUpload it at {SERVERS[benchmark.name]}")
    return 0


def _read_rankings(path: str, benchmark: "Benchmark") -> dict[str, list[Any]]:
    from cirlib.data.annotations import read_json
    from cirlib.evaluation.report import load_report
    from cirlib.evaluation.submission import rankings_from_report
    from cirlib.types import InputError

    if path.endswith(".npz"):
        return rankings_from_report(load_report(path), benchmark)
    rankings = read_json(path)
    if not isinstance(rankings, dict):
        raise InputError(f"{path} holds {type(rankings).__name__}; it must be one JSON object with a list of image ids per query")
    rankings = {key: names for key, names in rankings.items() if key not in ("version", "metric")}
    for query_id, names in rankings.items():
        if not isinstance(names, list) or any(type(name) not in (str, int) for name in names):
            raise InputError(f"{path}: query {query_id!r} has no list of image ids; give one, best first")
    return rankings
