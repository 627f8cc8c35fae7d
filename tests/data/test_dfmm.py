"""DFMM-Compose-R as a benchmark: loaded, verified, evaluated."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from dfmm_files import PATHS, make_lines, write_lines
from PIL import Image

from cirlib.commands import data
from cirlib.data.dfmm import digest_queries, load_dfmm
from cirlib.data.registry import load_benchmarks
from cirlib.evaluation.base_rates import random_attribute_rates
from cirlib.evaluation.evaluate import evaluate_embeddings
from cirlib.types import Embeddings, InputError

COUNT = 100


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dfmm")
    write_lines(folder, make_lines(300))
    return folder


def test_same_queries_on_every_machine(root: Path) -> None:
    benchmark = load_dfmm(root, "test", queries=COUNT)
    # A change here means other queries from the same labels: raise VERSION in dfmm_compose and the manifest's version.
    assert digest_queries(benchmark.queries)[:12] == "b6df3497fcd8"
    assert benchmark.version.startswith("r1-") and benchmark.version.endswith("-b6df3497fcd8")


def test_what_a_benchmark_holds(root: Path) -> None:
    [benchmark] = load_benchmarks("dfmm", root, "test", queries=COUNT)
    assert (benchmark.name, benchmark.split, len(benchmark.queries)) == ("dfmm", "test", COUNT)
    assert benchmark.protocol.exclude_reference and "unpublished" in benchmark.protocol.gallery
    assert f"{len(make_lines(300)):,} pictures are in all label files" in benchmark.protocol.gallery
    assert set(benchmark.labels) == set(benchmark.gallery.ids)
    assert all(6 <= len(labels) <= 18 for labels in benchmark.labels.values())
    for query in benchmark.queries:
        for change in query.edit.changes:
            assert benchmark.labels[query.reference][change.attribute] == change.before
            assert benchmark.labels[query.target][change.attribute] == change.after
            assert all(benchmark.labels[positive].get(change.attribute) in change.allowed for positive in query.positives)


def random_rows(ids: tuple[str, ...], seed: int) -> Embeddings:
    rows = torch.randn(len(ids), 32, generator=torch.Generator().manual_seed(seed))
    return Embeddings(ids, torch.nn.functional.normalize(rows, dim=1))


def test_attribute_metrics_beside_their_rates(root: Path) -> None:
    benchmark = load_dfmm(root, "test", queries=COUNT)
    query_ids = tuple(query.id for query in benchmark.queries)
    gallery = random_rows(benchmark.gallery.ids, 0)
    chance = evaluate_embeddings("chance", random_rows(query_ids, 1), gallery, benchmark)
    perfect = Embeddings(query_ids, gallery.rows[[benchmark.gallery.rows[query.target] for query in benchmark.queries]])
    oracle = evaluate_embeddings("oracle", perfect, gallery, benchmark)
    rates = random_attribute_rates(benchmark)
    for k in (10, 50):
        assert {f"{name}@{k}": chance.mean(f"{name}@{k}") for name in rates} == pytest.approx(
            {f"{name}@{k}": rate for name, rate in rates.items()}, abs=0.03
        )
    assert oracle.mean("recall@1") == 1.0
    rows = [benchmark.gallery.rows[query.reference] for query in benchmark.queries]
    assert not (oracle.top == np.array(rows)[:, None]).any()  # the reference is removed


def test_pictures_change_no_query(root: Path, tmp_path: Path) -> None:
    whole = load_dfmm(root, "val", queries=8)
    folder = tmp_path / "pictures"
    folder.mkdir()
    missing = whole.queries[0].target
    for image_id in whole.gallery.ids:
        if image_id != missing:
            Image.new("RGB", (2, 3)).save(folder / f"{image_id}.jpg")
    with pytest.raises(InputError, match=r"1 of \d+ pictures of DFMM-Compose-R are not in"):
        load_dfmm(root, "val", queries=8, images=folder)
    part = load_dfmm(root, "val", queries=8, images=folder, allow_missing=True)
    assert part.queries == whole.queries and part.version == whole.version and part.missing == (missing,)
    assert set(part.labels) == set(part.gallery.ids) == set(whole.labels) - {missing}
    assert part.gallery.open(part.queries[0].reference).size == (2, 3)


def run(*argv) -> int:
    parser = argparse.ArgumentParser()
    data.add_parser(parser.add_subparsers(dest="command"))
    return data.run(parser.parse_args(["data", *map(str, argv)]))


def test_command_line(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("list") == 0
    assert "DFMM-Compose-R, 500 val queries. DeepFashion-MultiModal: non-commercial research only" in capsys.readouterr().out
    with pytest.raises(InputError, match="DFMM-Compose-R have no address to be fetched from without asking their owners. The pictures of"):
        run("fetch", "dfmm", "--root", tmp_path)
    assert run("verify", "dfmm", "--root", root, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert [file["state"] for file in found["files"]] == ["unchecked"] * 3
    assert [problem[:15] for problem in found["problems"]] == ["500 queries ask", "2000 queries as"]
    monkeypatch.setattr("cirlib.data.registry.load_dfmm", lambda *args, **options: load_dfmm(*args, queries=8, **options))
    assert run("verify", "dfmm", "--root", root) == 0
    out = capsys.readouterr().out
    assert "pictures are in all label files" in out and out.rstrip().endswith("OK")
    (root / PATHS[1]).rename(tmp_path / "fabric_ann.txt")
    try:
        assert run("verify", "dfmm", "--root", root, "--json") == 1
    finally:
        (tmp_path / "fabric_ann.txt").rename(root / PATHS[1])
    assert json.loads(capsys.readouterr().out)["problems"] == ["labels/texture/fabric_ann.txt is absent"]


def test_wrong_folders_and_splits(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="split 'train' is unknown; choose one of val, test"):
        load_dfmm(root, "train")
    with pytest.raises(InputError, match="folder .* does not exist"):
        load_dfmm(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has no labels/shape/shape_anno_all.txt or .*; put the label file there"):
        load_dfmm(tmp_path)
