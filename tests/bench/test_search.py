"""The benchmark of search: every provider finds the same rows, galleries are what they are called, output has the promised form."""

import argparse
import json

import pytest
import torch
from PIL import Image

from cirlib.bench import search, search_data
from cirlib.bench.search_cases import Data
from cirlib.bench.search_peers import prepare, skip_reason
from cirlib.types import InputError

TINY = Data("tiny", "even", 900, 16, (1, 3))


def parse(*words):
    parser = argparse.ArgumentParser()
    search.add_arguments(parser)
    return parser.parse_args(words)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(search, "in_fresh_process", lambda function, *args: function(*args))
    monkeypatch.setattr(search, "DATA", (TINY, Data("pictures", "photos", 0, queries=(2,))))
    monkeypatch.setattr(search, "floor_ms", lambda operations, read: 0.01)


@pytest.mark.parametrize("kind", ["even", "clip-like"])
def test_every_provider_finds_what_float64_finds(kind):
    data = Data("some", kind, 3000, 32, (5,))
    query, gallery = search_data.load(data, None)
    truth = search._truth(data, None)
    for provider in search.PROVIDERS:
        if skip_reason(provider, len(gallery)) is None:
            rows, told = prepare(provider, gallery)(query, 50)
            scores = (gallery[rows].double() @ query[:, :, None].double())[:, :, 0]
            compared = search._compare((rows.tolist(), scores.tolist()), truth)
            assert compared["recall"] == compared["same_order"] == 1 and compared["worst_gap"] < 1e-12, provider
            assert told.get("certified", 1) == 1  # at 32 dimensions eight typical errors are more than the worst one


def test_comparison_tells_missing_rows_from_misplaced_ones():
    found, truth = ([[1, 2, 3, 4]], [[0.9, 1.0, 0.5, 0.1]]), ([[2, 1, 3, 5], [0] * 4], [[1.0, 0.9, 0.5, 0.25], [0.0] * 4])
    assert search._compare(found, truth) == {"recall": 0.75, "same_order": 0.25, "worst_gap": 0.15}


def test_clip_like_rows_lean_to_one_side_and_even_rows_do_not():
    even, leaning = (search_data.load(Data("", kind, 2000, 512, (1,)), None)[1] for kind in ("even", "clip-like"))
    assert abs(even.norm(dim=1) - 1).max() < 1e-5 and abs(leaning.norm(dim=1) - 1).max() < 1e-5
    assert even.mean(dim=0).norm() < 0.05 and 0.3 < leaning.mean(dim=0).norm() ** 2 < 0.6


def test_copies_are_near_duplicates_of_real_rows():
    real = torch.nn.functional.normalize(torch.randn(10, 64, generator=torch.Generator().manual_seed(7)), dim=1)
    query, gallery = search_data.load(Data("copies", "atelier", 35, queries=(6,)), (real[:4], real))
    assert torch.equal(query, real[[0, 1, 2, 3, 0, 1]]) and gallery.shape == (35, 64)
    cosine = (gallery * real[torch.arange(35) % 10]).sum(dim=1)
    assert (cosine > 0.9998).all() and (cosine < 1).all()


def test_rows_have_the_promised_form_and_photographs_are_skipped_with_a_reason(capsys):
    search.run(parse("--repeats", "2", "--provider", "certified", "--provider", "torch"))
    assert "pictures: skipped, no photographs given" in capsys.readouterr().out
    search.run(parse("--json", "--repeats", "2", "--provider", "certified", "--provider", "torch", "--data", "tiny"))
    rows = json.loads(capsys.readouterr().out)
    assert [(row["case"], row["provider"]) for row in rows] == [(f"tiny-q{q}", who) for who in ("certified", "torch") for q in (1, 3)]
    for row in rows:
        assert {"p50_ms", "p20_ms", "p80_ms", "peak_mib", "floor_ms", "recall", "same_order", "prepare_s"} <= set(row)
        assert row["recall"] == row["same_order"] == 1 and row["k"] == 50 and row["gallery"] == 900


def test_usearch_is_left_out_with_a_reason():
    assert skip_reason("usearch", 10**6) is not None
    assert skip_reason("faiss", 10**6) is None


def test_too_few_photographs_are_refused(tmp_path):
    for number in range(3):
        Image.new("RGB", (8, 8), (80 * number, 0, 0)).save(tmp_path / f"{number}.png")
    with pytest.raises(InputError, match="holds 3 pictures; at least 100"):
        search_data.real_rows("photos", tmp_path)
    with pytest.raises(InputError, match="no photographs given"):
        search_data.real_rows("photos")
    with pytest.raises(InputError, match="is no folder"):
        search.run(parse("--photos", str(tmp_path / "none")))
