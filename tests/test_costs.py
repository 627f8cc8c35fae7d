import time

import pytest
import torch
from safetensors.torch import save_file

from cirlib import costs
from cirlib._cache import cache_dir
from cirlib.data.atelier import load_atelier
from cirlib.methods.baselines import Chance
from cirlib.suite import METHODS
from cirlib.types import InputError


class Slow(Chance):
    """Waits while composing, much longer at the first query, and reranks by turning the list around."""

    pool_size = 60

    def __init__(self):
        super().__init__(dim=8)
        self.seen, self.pools, self.cache, self.hashes = [], [], set(), set()

    def compose(self, queries, images):
        time.sleep(0.03 if self.seen else 0.2)
        self.seen += [query.id for query in queries]
        self.cache.add(cache_dir())
        self.hashes |= {images.content_hash(query.reference) for query in queries}
        return super().compose(queries, images)

    def rerank(self, queries, pool, scores, gallery):
        self.pools.append(tuple(pool.shape))
        return torch.arange(pool.shape[1]).flip(0)[None]


@pytest.fixture(scope="module")
def benchmark():
    return load_atelier("val", 64, 5, size=32)


def test_queries_are_timed_one_by_one_and_the_first_is_left_out(benchmark):
    method = Slow()
    cost = costs.measure_cost(method, benchmark, method.encode_gallery(benchmark.gallery))
    assert method.seen == [query.id for query in benchmark.queries] and method.pools == [(1, 60)] * 5
    assert 30 <= cost.compose_ms < 150 and 0 < cost.search_ms < 150 and cost.query_ms == cost.compose_ms + cost.search_ms
    assert (cost.gallery_bytes, cost.trained, cost.queries, cost.gallery) == (8 * 4, 0, 4, 64)
    assert method.cache.isdisjoint({cache_dir()}), "a disk cache would hide what a new picture costs"
    known = {benchmark.references.content_hash(name) for name in benchmark.references.ids}
    assert method.hashes.isdisjoint(known), "and so would a memory of pictures"


def test_several_vectors_in_half_precision_cost_what_they_hold(benchmark):
    method = Chance(dim=8)
    rows = torch.randn(64, 3, 8, generator=torch.Generator().manual_seed(0)).half()
    gallery = type(method.encode_gallery(benchmark.gallery))(benchmark.gallery.ids, rows)
    assert costs.measure_cost(method, benchmark, gallery).gallery_bytes == 3 * 8 * 2


def test_trained_numbers_are_those_in_the_files(tmp_path):
    save_file({"a": torch.zeros(3, 4), "scalar": torch.zeros(()), "ids": torch.zeros(9, dtype=torch.int64)}, tmp_path / "x.safetensors")
    save_file({"b": torch.zeros(5, dtype=torch.bfloat16)}, tmp_path / "y.safetensors")
    assert costs.stored_weights(tmp_path) == 12 + 1 + 5 and costs.stored_weights(tmp_path / "none") == 0


def test_every_method_of_the_suite_says_what_it_learned_from():
    assert all(costs.supervision(name) != "?" for name in METHODS)
    assert all(base in costs.SUPERVISION for base in costs.VARIANTS.values())
    assert costs.supervision("DQE-CIR, adaptive") == "triplets" and costs.supervision("somebody's") == "?"


def test_a_table_has_a_row_per_method(benchmark):
    method = Chance()
    cost = costs.measure_cost(method, benchmark, method.encode_gallery(benchmark.gallery))
    table = costs.cost_frame({"chance": cost})
    assert table.iloc[0]["method"] == "chance" and table.iloc[0]["supervision"] == "none" and table.iloc[0]["gallery_bytes"] == 256


def test_cells_of_a_variant_are_marked_and_unknown_ones_are_dashes():
    told = {"DQE-CIR": costs.Cost(12.0, 3.5, 2048, 1_234_567, 4, 64), "sum": costs.Cost(2.0, 0.123, 512, 0, 4, 64)}
    assert costs.cost_cells("DQE-CIR", told) == {
        "ms/query": "15.5",
        "bytes/picture": "2,048",
        "trained numbers": "1.23 M",
        "learned from": "triplets",
    }
    assert list(costs.cost_cells("DQE-CIR, adaptive", told).values()) == ["~15.5", "~2,048", "~1.23 M", "triplets"]
    assert list(costs.cost_cells("sum", told).values()) == ["2.12", "512", "0", "none"]
    assert list(costs.cost_cells("chance", told).values()) == ["-", "-", "-", "none"]


def test_too_little_to_time_is_refused(benchmark):
    method = Chance()
    gallery = method.encode_gallery(benchmark.gallery)
    with pytest.raises(InputError, match="2 queries and 65 pictures"):
        costs.measure_cost(method, benchmark, gallery, top=65)
