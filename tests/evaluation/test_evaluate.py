"""The one evaluation path on small made-up benchmarks: every protocol field, missing pictures, reranking, and refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from cirlib.evaluation.evaluate import evaluate, evaluate_embeddings
from cirlib.evaluation.metrics import average_precision_at_k
from cirlib.types import Benchmark, BenchmarkProtocol, Change, Edit, Embeddings, ImageSet, InputError, Query

N_QUERIES, N_GALLERY, DIM = 25, 80, 16


def image_set(ids):
    return ImageSet(tuple(ids), lambda image_id: Image.new("RGB", (1, 1)), lambda image_id: image_id)


def make_benchmark(seed=0, **protocol):
    generator = np.random.default_rng(seed)
    ids = [f"p{row:02d}" for row in range(N_GALLERY)]
    queries = []
    for number in range(N_QUERIES):
        names = [ids[row] for row in generator.permutation(N_GALLERY)[:8]]
        change = Change("colour", "set", "red", "blue", ("blue",))
        queries.append(Query(f"q{number}", names[0], "in blue", tuple(names[1:4]), tuple(names[1:7]), Edit((change,))))
    labels = {image_id: {"colour": str(generator.choice(["red", "blue"])), "belt": "no"} for image_id in ids}
    fields = {"exclude_reference": True, "recall_at": (1, 5, 10), "map_at": (5, 10), "subset_at": (1, 2, 3)} | protocol
    gallery = image_set(ids)
    return Benchmark("made-up", "val", tuple(queries), gallery, gallery, BenchmarkProtocol(**fields), labels, version="1")


def rows(n, seed, vectors=0):
    shape = (n, vectors, DIM) if vectors else (n, DIM)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


class RandomMethod:
    """Random embeddings that depend on the id only, as those of a real method do."""

    name = "random"

    def __init__(self, vectors=0):
        self.vectors = vectors

    def encode_gallery(self, images):
        return Embeddings(images.ids, torch.stack([rows(1, 1000 + int(i[1:]), self.vectors)[0] for i in images.ids]))

    def compose(self, queries, images):
        assert all(query.reference in images for query in queries)
        return Embeddings(tuple(q.id for q in queries), torch.stack([rows(1, int(q.id[1:]))[0] for q in queries]))


def full_lists(method, benchmark):
    """Slow reference: each query's whole ranking as names."""
    gallery = method.encode_gallery(benchmark.gallery).rows.double().numpy()
    queries = method.compose(benchmark.queries, benchmark.references).rows.double().numpy()
    lists = []
    for query, row in zip(benchmark.queries, queries, strict=True):
        scores = gallery @ row
        scores = scores.max(axis=-1) if scores.ndim == 2 else scores
        names = [benchmark.gallery.ids[i] for i in np.argsort(-scores, kind="stable")]
        lists.append([n for n in names if not (benchmark.protocol.exclude_reference and n == query.reference)])
    return lists


@pytest.mark.parametrize("vectors", [0, 3])
@pytest.mark.parametrize("exclude", [True, False])
def test_every_metric_equals_lists_of_names(vectors, exclude):
    method, benchmark = RandomMethod(vectors), make_benchmark(exclude_reference=exclude)
    report = evaluate(method, benchmark, chunk_size=7, top_k=12)
    for i, (query, names) in enumerate(zip(benchmark.queries, full_lists(method, benchmark), strict=True)):
        ranks = [names.index(name) + 1 for name in query.positives]
        assert report.ranks[i] == ranks[0]
        assert [benchmark.gallery.ids[row] for row in report.top[i]] == names[:12]
        in_subset = [name for name in names if name in query.subset]
        for k in (1, 2, 3):
            assert report.per_query[f"recall_subset@{k}"][i] == (in_subset.index(query.target) < k)
        for k in (1, 5, 10):
            assert report.per_query[f"recall@{k}"][i] == (query.target in names[:k])
        for k in (5, 10):
            assert report.per_query[f"map@{k}"][i] == pytest.approx(average_precision_at_k(np.array([ranks]), np.array([3]), k)[0])
        blue = np.mean([benchmark.labels[name]["colour"] == "blue" for name in names[:10]])
        assert report.per_query["ac@10"][i] == pytest.approx(blue)
        assert report.per_query["ac_strict@10"][i] == pytest.approx(blue)
        assert report.per_query["ild@10"][i] == pytest.approx(20 / 9 * blue * (1 - blue) / 2)  # one attribute of two differs
    assert set(report.per_query) >= {"ndcg@5", "ndcg@10"}
    assert not {"ac@50", "ild@50"} & set(report.per_query)  # only 12 candidates were kept
    assert report.fingerprint["protocol"]["exclude_reference"] is exclude


def test_subset_candidates_rank_nothing_else():
    benchmark = make_benchmark(candidates="subset", exclude_reference=False, recall_at=(1, 2, 3), map_at=(), subset_at=())
    method = RandomMethod()
    report = evaluate(method, benchmark)
    for i, (query, names) in enumerate(zip(benchmark.queries, full_lists(method, benchmark), strict=True)):
        order = [name for name in names if name in query.subset]
        assert report.ranks[i] == order.index(query.target) + 1
        assert [benchmark.gallery.ids[row] for row in report.top[i]] == order


def test_collapsed_model_lands_near_chance():
    benchmark = make_benchmark()
    one = rows(1, 0)
    query = Embeddings(tuple(q.id for q in benchmark.queries), one.expand(N_QUERIES, -1))
    report = evaluate_embeddings("collapsed", query, Embeddings(benchmark.gallery.ids, one.expand(N_GALLERY, -1)), benchmark)
    assert report.mean("recall@10") <= 0.35  # chance is 10/79; a target that won its ties would give 1
    assert 25 < np.mean(report.ranks) < 55


def without_pictures(benchmark, absent):
    left = image_set(i for i in benchmark.gallery.ids if i not in absent)
    return replace(benchmark, gallery=left, references=left, missing=tuple(absent))


def test_missing_pictures_are_refused_then_bounded():
    complete = make_benchmark()
    absent = (complete.queries[0].target, complete.queries[1].reference)
    benchmark = without_pictures(complete, absent)
    with pytest.raises(InputError, match="2 pictures are missing .* queries cannot be scored"):
        evaluate(RandomMethod(), benchmark)
    report = evaluate(RandomMethod(), benchmark, allow_missing=True)
    lost = [i for i, q in enumerate(complete.queries) if q.target in absent or q.reference in absent]
    assert {0, 1} <= set(lost)
    np.testing.assert_array_equal(np.flatnonzero(report.ranks == 0), lost)
    assert (report.top[lost] == -1).all()
    assert np.isnan(report.per_query["ac@10"][lost]).all()
    low, high = report.fingerprint["recall_bounds"]["recall@10"]
    assert low == report.mean("recall@10")
    assert high == pytest.approx(low + len(lost) / N_QUERIES)
    assert report.fingerprint["missing"] == {"pictures": sorted(absent), "unscored_queries": len(lost)}
    truth = evaluate(RandomMethod(), complete).per_query["recall@10"].mean()
    assert report.fingerprint["recall_floor"]["recall@10"] <= truth <= high


def test_missing_other_positives_count_against_precision():
    complete = make_benchmark(subset_at=())
    absent = (complete.queries[3].positives[1],)
    benchmark = without_pictures(complete, absent)
    if any(absent[0] in (q.reference, q.target) for q in complete.queries):
        benchmark = replace(benchmark, references=complete.references)
    report = evaluate(RandomMethod(), benchmark, allow_missing=True)
    assert report.ranks[3] > 0
    assert report.per_query["map@10"][3] <= 2 / 3


class Reranker(RandomMethod):
    """Turns the head of every list around."""

    name = "reranker"
    pool_size = 10

    def rerank(self, queries, pool, scores, gallery):
        assert pool.shape == scores.shape == (len(queries), 10)
        assert bool((scores[:, :-1] >= scores[:, 1:]).all())
        return torch.arange(9, -1, -1).expand(len(queries), -1)


def test_reranking_moves_the_head_only():
    benchmark = make_benchmark()
    benchmark = change_query(benchmark, subset=benchmark.queries[0].subset[:3])  # a shorter subset is padded, and padding never competes
    before, after = evaluate(RandomMethod(), benchmark, top_k=15), evaluate(Reranker(), benchmark, top_k=15)
    np.testing.assert_array_equal(after.ranks, np.where(before.ranks <= 10, 11 - before.ranks, before.ranks))
    np.testing.assert_array_equal(after.top, np.concatenate([before.top[:, 9::-1], before.top[:, 10:]], axis=1))
    for i, query in enumerate(benchmark.queries):
        names = full_lists(RandomMethod(), benchmark)[i]
        names = names[9::-1] + names[10:]
        order = [name for name in names if name in query.subset]
        assert after.per_query["recall_subset@2"][i] == (order.index(query.target) < 2)


def test_a_rerank_that_is_no_permutation_is_refused():
    method = Reranker()
    method.rerank = lambda queries, pool, scores, gallery: torch.zeros_like(pool)
    with pytest.raises(InputError, match="permutation of the 10 positions"):
        evaluate(method, make_benchmark())


def change_query(benchmark, **fields):
    return replace(benchmark, queries=(replace(benchmark.queries[0], **fields), *benchmark.queries[1:]))


@pytest.mark.parametrize(
    ("benchmark", "message"),
    [
        (change_query(make_benchmark(), positives=()), "hides its targets .*cirlib submit"),
        (change_query(make_benchmark(), reference=make_benchmark().queries[0].target), "is a positive, and the protocol excludes"),
        (change_query(make_benchmark(), subset=("p00",), positives=("p01",)), "not in its subset"),
        (make_benchmark(recall_at=(1, 100)), "cut-off 100 is larger than the 79 candidates"),
        (make_benchmark(candidates="subset", map_at=()), "cut-off 10 is larger than the 6 candidates"),
        (replace(make_benchmark(), queries=()), "no queries"),
        (replace(make_benchmark(), gallery=image_set(["x"]), references=image_set(["x"])), "pictures are missing"),
    ],
)
def test_benchmarks_that_cannot_be_scored(benchmark, message):
    with pytest.raises(InputError, match=message) as caught:
        evaluate(RandomMethod(), benchmark)
    assert "\n" not in str(caught.value)


def test_embeddings_that_do_not_fit():
    benchmark = make_benchmark()
    ids = tuple(q.id for q in benchmark.queries)
    gallery = Embeddings(benchmark.gallery.ids, rows(N_GALLERY, 1))
    good = rows(N_QUERIES, 2)
    cases = [
        (Embeddings(ids, 2 * good), "query 'q0' has length 2"),
        (Embeddings(ids, good.index_fill(0, torch.tensor([4]), float("nan"))), "query 'q4' has a score that is not a number"),
        (Embeddings(ids[::-1], good), "row 0 is 'q24' instead of 'q0'"),
        (Embeddings(ids[:-1], good[:-1]), "24 rows for 25, row 24 is nothing instead of 'q24'"),
    ]
    for query, message in cases:
        with pytest.raises(InputError, match=message):
            evaluate_embeddings("bad", query, gallery, benchmark)
    with pytest.raises(InputError, match="gallery 'p00' has length 3"):
        evaluate_embeddings("bad", Embeddings(ids, good), Embeddings(benchmark.gallery.ids, 3 * gallery.rows), benchmark)
    with pytest.raises(InputError, match="top_k 0"):
        evaluate_embeddings("bad", Embeddings(ids, good), gallery, benchmark, top_k=0)


def test_half_precision_rows_are_unit_enough():
    benchmark = make_benchmark()
    query = Embeddings(tuple(q.id for q in benchmark.queries), rows(N_QUERIES, 2).bfloat16())
    report = evaluate_embeddings("half", query, Embeddings(benchmark.gallery.ids, rows(N_GALLERY, 1).half()), benchmark, seed=4)
    assert report.fingerprint["seed"] == 4
    assert report.fingerprint["kernels"] == {"ranks": "reference", "search": "reference"}, "a small gallery in memory"
    assert (report.ranks >= 1).all()


def test_own_fingerprint_is_kept_and_cannot_replace_the_protocol():
    report = evaluate(RandomMethod(), make_benchmark(), fingerprint={"commit": "abc", "protocol": "mine"})
    assert report.fingerprint["commit"] == "abc"
    assert report.fingerprint["protocol"]["recall_at"] == (1, 5, 10)
