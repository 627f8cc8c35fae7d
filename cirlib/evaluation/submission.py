"""Files for the test servers of CIRR and CIRCO: written from a ranking, and checked against every rule of the servers.

Rules of CIRR (Test-split_server.md of its repository): one JSON object per metric, "version": "rc2", "metric": "recall" or "recall_subset",
one key per pair of the split with the top 50 (recall) or top 3 (recall_subset) image names without ".png", the reference left out, at
most 5 MB. Rules of CIRCO (README and evaluation.py of its repository): one JSON object with the keys "0" to "799" (val: "0" to "219") and
exactly the top 50 image ids of each, as integers. Both: no image twice in a list, every image from the gallery, every query once.
"""

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from cirlib._atomic import atomic_write_text
from cirlib.evaluation.protocols import find_list_problem
from cirlib.kernels.reference import top_k
from cirlib.types import Benchmark, InputError, Method, Query, Report

CIRR_DEPTH = {"recall": 50, "recall_subset": 3}
CIRR_VERSION = "rc2"
CIRR_MAX_BYTES = 5_000_000
CIRCO_DEPTH = 50
COCO_MAX_ID = 999_999_999_999  # twelve digits


def check_cirr(document: Any, benchmark: Benchmark, n_bytes: int = 0) -> str:
    """Check the content of a CIRR file against every rule.

    Args:
        document: Parsed JSON.
        benchmark: CIRR, the split that the file is for.
        n_bytes: Size of the file; 0 leaves the size unchecked.

    Returns:
        The file's metric, "recall" or "recall_subset".

    Raises:
        InputError: For the first broken rule, with the first offending query.
    """
    _check_object(document)
    if document.get("version") != CIRR_VERSION:
        raise InputError(f"'version' is {document.get('version')!r}; it must be {CIRR_VERSION!r}")
    metric = document.get("metric")
    if metric not in CIRR_DEPTH:
        raise InputError(f"'metric' is {metric!r}; it must be 'recall' or 'recall_subset'")
    if n_bytes > CIRR_MAX_BYTES:
        given = f"the file has {n_bytes:,} bytes; the server takes {CIRR_MAX_BYTES:,}"
        raise InputError(f"{given}: list {CIRR_DEPTH[metric]} names, without spaces")
    rankings = {key: value for key, value in document.items() if key not in ("version", "metric")}
    _check_keys(rankings, benchmark)
    for query in benchmark.queries:
        allowed = query.subset if metric == "recall_subset" else benchmark.gallery.rows
        _check_list(query, rankings[query.id], CIRR_DEPTH[metric], str, allowed, query.reference)
    return metric


def check_circo(document: Any, benchmark: Benchmark, known: Collection[str] | None = None) -> None:
    """Check the content of a CIRCO file against every rule.

    Args:
        document: Parsed JSON.
        benchmark: CIRCO, the split that the file is for.
        known: Ids that may occur, as text; default is the gallery. Give an empty collection where the gallery is unknown: then any COCO id.

    Raises:
        InputError: For the first broken rule, with the first offending query.
    """
    _check_object(document)
    _check_keys(document, benchmark)
    allowed = benchmark.gallery.rows if known is None else known
    for query in benchmark.queries:
        _check_list(query, document[query.id], CIRCO_DEPTH, int, allowed, None)


def write_cirr(path: str | os.PathLike[str], rankings: Mapping[str, Sequence[str]], benchmark: Benchmark, metric: str = "recall") -> Path:
    """Write a CIRR test file from rankings of the gallery, and check it as `check_cirr` does.

    Args:
        path: File to write.
        rankings: Query id to image ids, best first. The reference is left out here if it is listed. For "recall_subset" the list is cut
            down to the query's subset; the first three must be among what is given.
        benchmark: CIRR, usually split "test1".
        metric: "recall" (50 names) or "recall_subset" (3 names).

    Returns:
        The path.

    Raises:
        InputError: For the first query whose list does not make a valid file; nothing is written then.
    """
    if metric not in CIRR_DEPTH:
        raise InputError(f"metric {metric!r} is unknown; choose 'recall' or 'recall_subset'")
    _check_keys(rankings, benchmark)
    document: dict[str, Any] = {"version": CIRR_VERSION, "metric": metric}
    for query in benchmark.queries:
        kept = [name for name in rankings[query.id] if name != query.reference and (metric == "recall" or name in query.subset)]
        document[query.id] = kept[: CIRR_DEPTH[metric]]
    text = json.dumps(document, separators=(",", ":"))
    check_cirr(document, benchmark, len(text.encode()))
    return atomic_write_text(path, text)


def write_circo(
    path: str | os.PathLike[str], rankings: Mapping[str, Sequence[str]], benchmark: Benchmark, known: Collection[str] | None = None
) -> Path:
    """Write a CIRCO file from rankings of the gallery (first 50, as integers), and check it as `check_circo` does.

    Args:
        path: File to write.
        rankings: Query id to image ids (text or integers), best first.
        benchmark: CIRCO, usually split "test".
        known: As in `check_circo`.

    Returns:
        The path.

    Raises:
        InputError: For the first query whose list does not make a valid file; nothing is written then.
    """
    _check_keys(rankings, benchmark)
    document = {}
    for query in benchmark.queries:
        names = rankings[query.id][:CIRCO_DEPTH]
        strange = [name for name in names if not str(name).isdecimal()]
        if strange:
            raise InputError(f"query {query.id!r}: image {strange[0]!r} is no COCO number; give numbers such as 355099")
        document[query.id] = [int(name) for name in names]
    check_circo(document, benchmark, known)
    return atomic_write_text(path, json.dumps(document, separators=(",", ":")))


def rankings_from_report(report: Report, benchmark: Benchmark) -> dict[str, list[str]]:
    """Ranked image ids of every query of a report, best first, for `write_cirr` and `write_circo`.

    Args:
        report: Its `top` holds rows of the benchmark's gallery.
        benchmark: The benchmark that was evaluated.
    """
    ids = benchmark.gallery.ids
    return {query_id: [ids[row] for row in rows if row >= 0] for query_id, rows in zip(report.query_ids, report.top, strict=True)}


def rank_gallery(method: Method, benchmark: Benchmark, depth: int) -> dict[str, list[str]]:
    """The first pictures of every query, hidden targets or not: what a test server is sent. The rules of `evaluate`, its rerank included.

    Args:
        method: Two encoders, and optionally `rerank`.
        benchmark: Its reference is left out where the protocol says so.
        depth: Pictures per query; fewer where the gallery holds no more.
    """
    rows, reference = benchmark.gallery.rows, benchmark.protocol.exclude_reference
    gallery = method.encode_gallery(benchmark.gallery)
    query = method.compose(benchmark.queries, benchmark.references).rows
    exclude = torch.tensor([rows.get(one.reference, -1) if reference else -1 for one in benchmark.queries])
    candidates = len(rows) - int((exclude >= 0).any())
    depth = min(depth, candidates)
    size = min(int(getattr(method, "pool_size", 100)), candidates) if hasattr(method, "rerank") else 0
    best, scores = top_k(query, gallery.rows, max(depth, size), exclude)
    if size:
        order = torch.as_tensor(method.rerank(benchmark.queries, best[:, :size], scores[:, :size], gallery)).to(best.device)
        best = torch.cat([best[:, :size].gather(1, order), best[:, size:]], dim=1)
    names = benchmark.gallery.ids
    lists = best[:, :depth].tolist()
    return {one.id: [names[row] for row in found if row >= 0] for one, found in zip(benchmark.queries, lists, strict=True)}


def write_submission(method: Method, benchmark: Benchmark, folder: str | os.PathLike[str]) -> list[Path]:
    """Every file that a test server takes of one method: CIRR's two, or CIRCO's one. They are checked before they are written.

    Args:
        method: As in `rank_gallery`.
        benchmark: CIRR or CIRCO, the split whose targets are hidden.
        folder: Made if it is not there; files are named by benchmark, split, metric and method.

    Raises:
        InputError: If the benchmark has no test server.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", method.name.lower()).strip("-")
    stem = Path(folder) / f"{benchmark.name}-{benchmark.split}"
    if benchmark.name == "cirr":
        ranked = rank_gallery(method, benchmark, len(benchmark.gallery))  # to the end, for the look-alikes
        return [write_cirr(f"{stem}-{metric}-{slug}.json", ranked, benchmark, metric) for metric in CIRR_DEPTH]
    if benchmark.name != "circo":
        raise InputError(f"{benchmark.name} has no test server; give cirr or circo")
    return [write_circo(f"{stem}-{slug}.json", rank_gallery(method, benchmark, CIRCO_DEPTH), benchmark)]


def _check_object(document: Any) -> None:
    if not isinstance(document, Mapping):
        raise InputError(f"the file holds {type(document).__name__}; it must be one JSON object with a key per query")


def _check_keys(rankings: Mapping[str, Any], benchmark: Benchmark) -> None:
    for query in benchmark.queries:
        if query.id not in rankings:
            raise InputError(f"query {query.id!r} is absent; the file must hold all {len(benchmark.queries):,} of {benchmark.split}")
    if len(rankings) > len(benchmark.queries):
        asked = {query.id for query in benchmark.queries}
        stranger = next(key for key in rankings if key not in asked)
        raise InputError(f"query {stranger!r} is not in {benchmark.name} {benchmark.split}; leave it out")


def _check_list(query: Query, names: Any, depth: int, kind: type, allowed: Collection[str], reference: str | None) -> None:
    """Raise InputError, with the query's id, unless `names` is a list of exactly `depth` valid images of type `kind`."""
    problem = ""
    if not isinstance(names, list):
        problem = f"{type(names).__name__} given; it must be a list of {depth} images"
    elif len(names) != depth:
        problem = f"{len(names)} images listed; it must be exactly {depth}"
    else:
        for place, name in enumerate(names, start=1):
            if type(name) is not kind:
                wanted = "a text such as 'test1-147-1-img1'" if kind is str else "an integer such as 355099, without quotation marks"
                problem = f"place {place} is {name!r}; it must be {wanted}"
            elif kind is str and name.lower().endswith((".png", ".jpg")):
                problem = f"image {name!r} at place {place} has a file suffix; leave it off"
            elif kind is int and not 0 < name <= COCO_MAX_ID:
                problem = f"place {place} is {name}; COCO ids are positive and have at most twelve digits"
            if problem:
                break
        problem = problem or find_list_problem([str(name) for name in names], depth, allowed, reference)
    if problem:
        raise InputError(f"query {query.id!r}: {problem}")
