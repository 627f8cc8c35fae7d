"""`cirlib score`: any system's ranking under a benchmark's official protocol, in percent."""

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from cirlib.types import Benchmark

Parts = dict[str, dict[str, "np.ndarray"]]  # part of a benchmark ("dress", "focus_object", "") to metric to (q,) fractions


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = subparsers.add_parser(
        "score",
        help="score any system's ranking file under the official protocol",
        description="FILE: cirr and circo: the submission format (CIRR: recall, recall_subset, or both). fashioniq: {category, rankings: "
        "[{candidate, target, ranking: [names]}]}, or a list of these. genecis: an .npz of one [n, 1 + gallery] similarity matrix per "
        "task, target in column 0. JSON may be gzipped (.gz).",
    )
    parser.add_argument("benchmark", metavar="BENCHMARK", choices=("fashioniq", "cirr", "circo", "genecis"))
    parser.add_argument("--annotations", required=True, metavar="DIR", help="official annotation files")
    parser.add_argument(
        "--ranking", required=True, metavar="FILE", nargs="+", action="extend", help="ranking file; several are scored together"
    )
    parser.add_argument("--split", default="val", help="split with public targets (default: val)")
    parser.add_argument("--gallery", default="original", choices=("original", "val_split"), help="fashioniq: which gallery was ranked")
    parser.add_argument("--json", action="store_true", help="print one JSON object, in percent")


def run(args: argparse.Namespace) -> int:
    """Score and print."""
    score = {"fashioniq": _score_fashioniq, "cirr": _score_cirr, "circo": _score_circo, "genecis": _score_genecis}[args.benchmark]
    benchmarks, parts, extra = score(args)
    means = {part: {_label(metric): 100 * float(values.mean()) for metric, values in scores.items()} for part, scores in parts.items()}
    found: dict[str, Any] = _average(means) | extra
    if args.benchmark in ("fashioniq", "genecis"):
        found |= means
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        _print_table(benchmarks, parts, found)
    return 0


def _score_fashioniq(args: argparse.Namespace) -> tuple[list["Benchmark"], Parts, dict[str, Any]]:
    from cirlib.data.assemble import check_choice
    from cirlib.data.fashioniq import CATEGORIES, load_fashioniq
    from cirlib.evaluation.protocols import score_lists
    from cirlib.types import InputError

    benchmarks, parts = [], {}
    for path, document in _documents(args.ranking):
        for ranking in document if isinstance(document, list) else [document]:
            if not isinstance(ranking, Mapping) or not isinstance(ranking.get("rankings"), list):
                raise InputError(f"{path} holds no object with 'category' and a list 'rankings'; see `cirlib score --help`")
            category = ranking.get("category")
            check_choice(f"{path}: category", category, CATEGORIES)
            if category in parts:
                raise InputError(f"{path}: category {category!r} is given a second time; give each category once")
            benchmark = load_fashioniq(args.annotations, category, args.split, gallery=args.gallery, images=False)
            benchmarks.append(benchmark)
            parts[category] = score_lists(benchmark, _by_query(path, ranking["rankings"], benchmark))
    return benchmarks, parts, {}


def _by_query(path: str, entries: Sequence[Any], benchmark: "Benchmark") -> dict[str, list[str]]:
    """Rankings by query id, found by their pair of reference and target."""
    from pathlib import Path

    from cirlib.data.annotations import Entry
    from cirlib.types import InputError

    ids = {(query.reference, query.target): query.id for query in benchmark.queries}
    rankings: dict[str, list[str]] = {}
    for number, fields in enumerate(entries):
        if not isinstance(fields, Mapping):
            raise InputError(f"{path}, entry {number}: {type(fields).__name__} given; it must be an object with candidate, target, ranking")
        entry = Entry(Path(path), number, fields)
        pair = (entry.text("candidate"), entry.text("target"))
        if pair not in ids:
            raise InputError(f"{path}, entry {number}: no query has candidate {pair[0]!r} and target {pair[1]!r}; check category and split")
        if ids[pair] in rankings:
            raise InputError(
                f"{path}, entry {number}: candidate {pair[0]!r} and target {pair[1]!r} occur a second time; give each pair once"
            )
        rankings[ids[pair]] = list(entry.texts("ranking"))
    return rankings


def _score_cirr(args: argparse.Namespace) -> tuple[list["Benchmark"], Parts, dict[str, Any]]:
    from cirlib.data.cirr import load_cirr
    from cirlib.evaluation.protocols import score_lists, score_subset_lists
    from cirlib.types import InputError

    benchmark = load_cirr(args.annotations, args.split, images=False)
    scores: dict[str, Any] = {}
    for path, document in _documents(args.ranking):
        rankings = _lists_of(path, document, str)
        metric, version = rankings.pop("metric", None), rankings.pop("version", None)
        if version != "rc2" or metric not in ("recall", "recall_subset"):
            raise InputError(f"{path}: version {version!r}, metric {metric!r}; give version 'rc2' and metric 'recall' or 'recall_subset'")
        scored = score_lists(benchmark, rankings) if metric == "recall" else score_subset_lists(benchmark, rankings)
        if scored.keys() & scores.keys():
            raise InputError(f"{path}: metric {metric!r} is given a second time; give each metric once")
        scores |= scored
    extra = {}
    if "recall@5" in scores and "recall_subset@1" in scores:
        extra["mean(R@5, R_subset@1)"] = 50 * float(scores["recall@5"].mean() + scores["recall_subset@1"].mean())
    return [benchmark], {"": scores}, extra


def _score_circo(args: argparse.Namespace) -> tuple[list["Benchmark"], Parts, dict[str, Any]]:
    from cirlib.data.circo import ANNOTATED_ONLY, load_circo
    from cirlib.evaluation.protocols import mean_by_aspect, score_lists
    from cirlib.types import InputError

    if len(args.ranking) > 1:
        raise InputError(f"{len(args.ranking)} ranking files given; circo takes one")
    benchmark = load_circo(args.annotations, args.split, images=False)
    [(path, document)] = _documents(args.ranking)
    rankings = {query_id: [str(name) for name in names] for query_id, names in _lists_of(path, document, int).items()}
    scores = score_lists(benchmark, rankings, known=() if benchmark.protocol.gallery == ANNOTATED_ONLY else None)
    aspects = {aspect: 100 * value for aspect, value in mean_by_aspect(benchmark.queries, scores["map@10"]).items()}
    return [benchmark], {"": scores}, {"semantic_mAP@10": aspects}


def _score_genecis(args: argparse.Namespace) -> tuple[list["Benchmark"], Parts, dict[str, Any]]:
    import zipfile

    import numpy as np

    from cirlib.data.assemble import check_choice
    from cirlib.data.genecis import TASKS, load_genecis
    from cirlib.evaluation.protocols import score_similarities
    from cirlib.types import InputError

    if args.split != "val":
        raise InputError(f"split {args.split!r} given; genecis has one, 'val'")
    benchmarks, parts = [], {}
    for path in args.ranking:
        try:
            archive = np.load(path, allow_pickle=False)
            matrices = {task: archive[task] for task in archive.files}
        except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} is no .npz of plain arrays ({error}); write it with numpy.savez, one array per task") from None
        for task, matrix in matrices.items():
            check_choice(f"{path}: array", task, TASKS)
            if task in parts:
                raise InputError(f"{path}: task {task!r} is given a second time; give each task once")
            benchmark = load_genecis(args.annotations, task, images=False)
            benchmarks.append(benchmark)
            try:
                parts[task] = score_similarities(benchmark, matrix)
            except InputError as error:
                raise InputError(f"{path}, {task}: {error}") from None
    if not parts:
        raise InputError(f"{', '.join(args.ranking)}: no arrays; give one per task, named {', '.join(TASKS)}")
    return benchmarks, parts, {}


def _documents(paths: Sequence[str]) -> list[tuple[str, Any]]:
    from cirlib.data.annotations import read_json

    return [(path, read_json(path)) for path in paths]


def _lists_of(path: str, document: Any, kind: type) -> dict[str, Any]:
    """A submission's mapping, with every list made of `kind`."""
    from cirlib.types import InputError

    if not isinstance(document, Mapping):
        raise InputError(f"{path} holds {type(document).__name__}; it must be one JSON object with a list per query")
    wanted = "texts" if kind is str else "integers"
    for query_id, names in document.items():
        if query_id in ("version", "metric"):
            continue
        if not isinstance(names, list) or any(type(name) is not kind for name in names):
            raise InputError(f"{path}, query {query_id!r}: the ranking must be a list of {wanted}")
    return dict(document)


def _label(metric: str) -> str:
    """ "recall@10" to the benchmarks' own "R@10"."""
    name, _, cutoff = metric.partition("@")
    return f"{ {'recall': 'R', 'map': 'mAP', 'recall_subset': 'R_subset'}[name] }@{cutoff}".replace(" ", "")


def _average(means: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Mean over parts, each with the same weight, as the benchmarks' tables have it."""
    parts = list(means.values())
    return {metric: sum(part[metric] for part in parts) / len(parts) for metric in parts[0]}


def _print_table(benchmarks: Sequence["Benchmark"], parts: Parts, found: Mapping[str, Any]) -> None:
    from cirlib.evaluation.intervals import mean_intervals

    for (part, scores), benchmark in zip(parts.items(), benchmarks, strict=True):
        title = " ".join(filter(None, (benchmark.name, benchmark.split, part)))
        print(f"{title}: {len(benchmark.queries):,} queries, percent [95 % interval]\n  protocol: {_protocol(benchmark)}")
        for metric, interval in mean_intervals(scores).items():
            print(f"  {_label(metric):<12} {100 * interval.mean:6.2f}  [{100 * interval.low:5.2f}, {100 * interval.high:5.2f}]")
    if len(parts) > 1:
        print(f"mean of {', '.join(parts)}")
        for metric in next(iter(parts.values())):
            print(f"  {_label(metric):<12} {found[_label(metric)]:6.2f}")
    if "mean(R@5, R_subset@1)" in found:
        print(f"  mean(R@5, R_subset@1) {found['mean(R@5, R_subset@1)']:.2f}")
    if "semantic_mAP@10" in found:
        print("  mAP@10 by semantic aspect")
        for aspect, value in found["semantic_mAP@10"].items():
            print(f"    {aspect:<30} {value:6.2f}")


def _protocol(benchmark: "Benchmark") -> str:
    """The protocol in words, with what this command could not check."""
    from cirlib.data.circo import ANNOTATED_ONLY

    protocol = benchmark.protocol
    unchecked = "the one that was ranked (COCO's list of unlabeled pictures is not here, so ids are unchecked)"
    gallery = unchecked if protocol.gallery == ANNOTATED_ONLY else protocol.gallery
    return f"gallery: {gallery}; reference {'out of' if protocol.exclude_reference else 'in'} the ranking"
