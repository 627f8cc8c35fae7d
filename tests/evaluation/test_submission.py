"""Every way to break a valid file is found, and the query that it broke is named."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cirlib.evaluation.evaluate import evaluate
from cirlib.evaluation.submission import (
    check_circo,
    check_cirr,
    rank_gallery,
    rankings_from_report,
    write_circo,
    write_cirr,
    write_submission,
)
from cirlib.types import Benchmark, BenchmarkProtocol, Embeddings, ImageSet, InputError, Query, Report

IMAGES = tuple(f"test1-{i}-img0" for i in range(70))
NUMBERS = tuple(str(100 + i) for i in range(70))


def _bench(name: str, ids: tuple[str, ...], queries: tuple[Query, ...]) -> Benchmark:
    pictures = ImageSet(ids, lambda i: None, lambda i: "")
    return Benchmark(name, "test", queries, pictures, pictures, BenchmarkProtocol(name == "cirr", (50,)))


CIRR = _bench("cirr", IMAGES, tuple(Query(str(12063 + i), IMAGES[i], "x", subset=IMAGES[i + 1 : i + 6]) for i in range(6)))
CIRCO = _bench("circo", NUMBERS, tuple(Query(str(i), NUMBERS[i], "x") for i in range(6)))


def _cirr(metric: str = "recall") -> dict:
    lists = {q.id: [i for i in IMAGES if i != q.reference][:50] if metric == "recall" else list(q.subset[:3]) for q in CIRR.queries}
    return {"version": "rc2", "metric": metric} | lists


def _circo() -> dict:
    return {q.id: [int(i) for i in NUMBERS[:50]] for q in CIRCO.queries}


LIST_BREAKS = {
    "one too few": lambda names, query: names[:-1],
    "one too many": lambda names, query: [*names, "test1-69-img0"],
    "empty": lambda names, query: [],
    "repeat": lambda names, query: [*names[:-1], names[0]],
    "reference": lambda names, query: [query.reference, *names[1:]],
    "suffix": lambda names, query: [f"{names[0]}.png", *names[1:]],
    "stranger": lambda names, query: ["dev-0-img0", *names[1:]],
    "number": lambda names, query: [12, *names[1:]],
    "null": lambda names, query: [None, *names[1:]],
    "text": lambda names, query: ",".join(names),
    "nested": lambda names, query: [names],
}


@pytest.mark.parametrize("metric", ["recall", "recall_subset"])
@given(st.sampled_from(CIRR.queries), st.sampled_from(sorted(LIST_BREAKS)))
def test_every_broken_cirr_list_is_found(metric: str, query: Query, how: str) -> None:
    document = _cirr(metric)
    assert check_cirr(document, CIRR) == metric
    document[query.id] = LIST_BREAKS[how](document[query.id], query)
    with pytest.raises(InputError, match=f"query '{query.id}'"):
        check_cirr(document, CIRR)


CIRCO_BREAKS = {
    "one too few": lambda ids: ids[:-1],
    "one too many": lambda ids: [*ids, 169],
    "repeat": lambda ids: [*ids[:-1], ids[0]],
    "text": lambda ids: [str(ids[0]), *ids[1:]],
    "fraction": lambda ids: [float(ids[0]), *ids[1:]],
    "flag": lambda ids: [True, *ids[1:]],
    "negative": lambda ids: [-1, *ids[1:]],
    "stranger": lambda ids: [5, *ids[1:]],
    "no list": lambda ids: dict(enumerate(ids)),
}


@given(st.sampled_from(CIRCO.queries), st.sampled_from(sorted(CIRCO_BREAKS)))
def test_every_broken_circo_list_is_found(query: Query, how: str) -> None:
    document = _circo()
    check_circo(document, CIRCO)
    document[query.id] = CIRCO_BREAKS[how](document[query.id])
    with pytest.raises(InputError, match=f"query '{query.id}'"):
        check_circo(document, CIRCO)


@given(st.integers(0, 5))
def test_absent_and_unknown_queries_are_named(row: int) -> None:
    for benchmark, valid, check in ((CIRR, _cirr(), check_cirr), (CIRCO, _circo(), check_circo)):
        query_id = benchmark.queries[row].id
        with pytest.raises(InputError, match=f"query '{query_id}' is absent"):
            check({key: value for key, value in valid.items() if key != query_id}, benchmark)
        with pytest.raises(InputError, match=f"query 'x{query_id}' is not in {benchmark.name}"):
            check({**valid, f"x{query_id}": valid[query_id]}, benchmark)


@given(st.permutations([query.id for query in CIRR.queries]), st.integers(2, 6))
def test_the_first_offending_query_is_named(order: list[str], n_broken: int) -> None:
    document = _cirr()
    for query_id in order[:n_broken]:
        document[query_id] = document[query_id][:-1]
    with pytest.raises(InputError, match=f"query '{min(order[:n_broken])}': 49 images"):
        check_cirr(document, CIRR)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "rc1"}, "'version' is 'rc1'"),
        ({"version": 2}, "'version' is 2"),
        ({"metric": "Recall"}, "'metric' is 'Recall'"),
        ({"metric": "recall_subset"}, "query '12063': 50 images listed; it must be exactly 3"),
    ],
)
def test_wrong_heads(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_cirr(_cirr() | change, CIRR)


def test_size_and_shape() -> None:
    with pytest.raises(InputError, match="5,000,001 bytes"):
        check_cirr(_cirr(), CIRR, 5_000_001)
    for check in (lambda d: check_cirr(d, CIRR), lambda d: check_circo(d, CIRCO)):
        with pytest.raises(InputError, match="holds list"):
            check([])


def test_written_cirr_files_are_valid(tmp_path: Path) -> None:
    rankings = {query.id: list(IMAGES) for query in CIRR.queries}  # the reference among them: it is taken out
    for metric in ("recall", "recall_subset"):
        path = write_cirr(tmp_path / f"{metric}.json", rankings, CIRR, metric)
        assert check_cirr(json.loads(path.read_text()), CIRR, path.stat().st_size) == metric
    subset = json.loads(path.read_text())
    assert subset["12063"] == list(IMAGES[1:4])


def test_written_circo_file_is_valid(tmp_path: Path) -> None:
    path = write_circo(tmp_path / "f.json", {query.id: list(NUMBERS) for query in CIRCO.queries}, CIRCO)
    document = json.loads(path.read_text())
    check_circo(document, CIRCO)
    assert document["0"] == [int(i) for i in NUMBERS[:50]]


def test_nothing_is_written_when_a_list_is_short(tmp_path: Path) -> None:
    rankings = {query.id: list(IMAGES[:50]) for query in CIRR.queries}  # 49 once the reference is out
    with pytest.raises(InputError, match="query '12063': 49 images listed"):
        write_cirr(tmp_path / "f.json", rankings, CIRR)
    with pytest.raises(InputError, match="query '0': image 'x' is no COCO number"):
        write_circo(tmp_path / "f.json", {query.id: ["x"] for query in CIRCO.queries}, CIRCO)
    with pytest.raises(InputError, match="metric 'map' is unknown"):
        write_cirr(tmp_path / "f.json", rankings, CIRR, "map")
    assert list(tmp_path.iterdir()) == []


def test_from_a_report(tmp_path: Path) -> None:
    top = np.stack([np.r_[np.arange(1, 60), -1] for _ in CIRCO.queries])
    report = Report("toy", tuple(q.id for q in CIRCO.queries), np.zeros(6, dtype=int), {}, top)
    rankings = rankings_from_report(report, CIRCO)
    assert rankings["3"] == list(NUMBERS[1:60])
    write_circo(tmp_path / "f.json", rankings, CIRCO)


@pytest.mark.parametrize("name", ["test1_pred_ranks_recall", "test1_pred_ranks_recall_subset"])
def test_official_cirr_examples_pass(shared_dir: Path, name: str) -> None:
    from cirlib.data.cirr import load_cirr

    path = shared_dir / f"annotations/cirr/demo_files/{name}.json"
    benchmark = load_cirr(shared_dir / "annotations/cirr", "test1", images=False)
    document = json.loads(path.read_text())
    assert check_cirr(document, benchmark, path.stat().st_size) in name
    document["12063"] = document["12063"][::-1] + ["test1-0-0-img0"]
    with pytest.raises(InputError, match="query '12063'"):
        check_cirr(document, benchmark)


@pytest.mark.parametrize("split", ["val", "test"])
def test_official_circo_examples_pass(shared_dir: Path, split: str) -> None:
    from cirlib.data.circo import load_circo

    benchmark = load_circo(shared_dir / "annotations/circo", split, images=False)
    check_circo(
        json.loads((shared_dir / f"annotations/circo/submission_examples/submission_{split}.json").read_text()), benchmark, known=()
    )


class Directions:
    """Random unit rows, and a rerank that turns the first lists around where it is asked for."""

    def __init__(self, name: str = "Some method, 2", reranks: bool = False) -> None:
        self.name = name
        if reranks:
            self.pool_size = 55
            self.rerank = lambda queries, pool, scores, gallery: torch.arange(pool.shape[1]).flip(0).expand_as(pool)

    def _rows(self, ids: tuple[str, ...], seed: int) -> Embeddings:
        rows = torch.randn(len(ids), 6, generator=torch.Generator().manual_seed(seed))
        return Embeddings(ids, torch.nn.functional.normalize(rows, dim=-1))

    def encode_gallery(self, images: ImageSet) -> Embeddings:
        return self._rows(images.ids, 0)

    def compose(self, queries, images: ImageSet) -> Embeddings:
        return self._rows(tuple(query.id for query in queries), 1)


def _small(name: str, split: str, positives: bool = False) -> Benchmark:
    ids = tuple(str(1000 + number) if name == "circo" else f"test1-{number}-0-img0" for number in range(60))
    images = ImageSet(ids, lambda image_id: None, lambda image_id: image_id)
    rng = np.random.default_rng(0)
    queries = []
    for number in range(4):
        members = tuple(ids[row] for row in rng.choice(np.arange(10, 60), 5, replace=False)) if name == "cirr" else ()
        queries.append(Query(str(number), ids[number], "is red", (ids[20 + number],) if positives else (), members))
    protocol = BenchmarkProtocol(exclude_reference=name == "cirr", recall_at=(1,))
    return Benchmark(name, split, tuple(queries), images, images, protocol)


@pytest.mark.parametrize("name", ["cirr", "circo"])
@pytest.mark.parametrize("reranks", [False, True])
def test_hidden_targets_are_ranked_as_the_evaluation_ranks(name: str, reranks: bool) -> None:
    hidden, known = _small(name, "test"), _small(name, "val", positives=True)
    report = evaluate(Directions(reranks=reranks), known, top_k=50)
    assert rank_gallery(Directions(reranks=reranks), hidden, 50) == rankings_from_report(report, known)
    whole = rank_gallery(Directions(reranks=reranks), hidden, 999)
    left_out = int(name == "cirr")
    assert all(len(set(names)) == 60 - left_out for names in whole.values())


def test_every_file_of_a_method_is_written_and_valid(tmp_path: Path) -> None:
    cirr, circo = _small("cirr", "test1"), _small("circo", "test")
    paths = [*write_submission(Directions(), cirr, tmp_path / "new"), *write_submission(Directions(), circo, tmp_path / "new")]
    assert [path.name for path in paths] == [
        "cirr-test1-recall-some-method-2.json",
        "cirr-test1-recall_subset-some-method-2.json",
        "circo-test-some-method-2.json",
    ]
    documents = [json.loads(path.read_text()) for path in paths]
    assert [check_cirr(document, cirr) for document in documents[:2]] == ["recall", "recall_subset"]
    check_circo(documents[2], circo)
    ranked = rank_gallery(Directions(), cirr, 60)
    for query in cirr.queries:
        assert documents[1][query.id] == [image for image in ranked[query.id] if image in query.subset][:3]
    with pytest.raises(InputError, match="fashioniq has no test server"):
        write_submission(Directions(), _small("fashioniq", "test"), tmp_path)
