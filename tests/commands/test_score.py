"""`cirlib score` against the benchmark authors' own numbers, and against files that are wrong."""

import argparse
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from cirlib.commands import score
from cirlib.data.genecis import TASKS, load_genecis
from cirlib.types import InputError


def _run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    score.add_parser(parser.add_subparsers(dest="command"))
    return score.run(parser.parse_args(["score", *map(str, argv)]))


def _score(capsys, *argv) -> dict:
    assert _run(*argv, "--json") == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def golden(shared_dir: Path) -> Path:
    return shared_dir / "golden/metrics"


@pytest.fixture
def expected(golden: Path) -> dict:
    return json.loads((golden / "expected.json").read_text())


@pytest.mark.parametrize("category", ["dress", "toptee"])
def test_fashioniq_golden(shared_dir, golden, expected, capsys, category: str) -> None:
    path = golden / f"fashioniq_val_{category}_top50.json.gz"
    found = _score(capsys, "fashioniq", "--annotations", shared_dir / "annotations/fashioniq", "--ranking", path)
    wanted = expected["fashioniq_val"][category]["reference_kept"]
    assert found == {**wanted, category: wanted} | {k: pytest.approx(v, abs=1e-3) for k, v in wanted.items()} | {
        category: {k: pytest.approx(v, abs=1e-3) for k, v in wanted.items()}
    }


def test_fashioniq_average_plain_and_list(shared_dir, golden, expected, capsys, tmp_path) -> None:
    documents = [json.loads(gzip.decompress((golden / f"fashioniq_val_{c}_top50.json.gz").read_bytes())) for c in ("dress", "toptee")]
    (tmp_path / "both.json").write_text(json.dumps(documents))
    found = _score(capsys, "fashioniq", "--annotations", shared_dir / "annotations/fashioniq", "--ranking", tmp_path / "both.json")
    values = [expected["fashioniq_val"][c]["reference_kept"]["R@10"] for c in ("dress", "toptee")]
    assert found["R@10"] == pytest.approx(sum(values) / 2, abs=1e-3)
    assert set(found) == {"R@10", "R@50", "dress", "toptee"}


def test_cirr_golden(shared_dir, golden, expected, capsys) -> None:
    path = golden / "cirr_val_recall_submission.json.gz"
    found = _score(capsys, "cirr", "--annotations", shared_dir / "annotations/cirr", "--ranking", path)
    assert found == {k: pytest.approx(v, abs=1e-3) for k, v in expected["cirr_val"]["reference_removed"].items()}


def test_cirr_subset_beside_recall(shared_dir, golden, capsys, tmp_path) -> None:
    entries = json.loads((shared_dir / "annotations/cirr/captions/cap.rc2.val.json").read_text())
    lists = {str(e["pairid"]): [m for m in e["img_set"]["members"] if m != e["reference"]][:3] for e in entries}
    (tmp_path / "s.json").write_text(json.dumps({"version": "rc2", "metric": "recall_subset"} | lists))
    files = (golden / "cirr_val_recall_submission.json.gz", tmp_path / "s.json")
    found = _score(capsys, "cirr", "--annotations", shared_dir / "annotations/cirr", "--ranking", *files)
    for k in (1, 2, 3):
        by_hand = np.mean([e["target_hard"] in lists[str(e["pairid"])][:k] for e in entries])
        assert found[f"R_subset@{k}"] == pytest.approx(100 * by_hand)
    assert found["mean(R@5, R_subset@1)"] == pytest.approx((found["R@5"] + found["R_subset@1"]) / 2)


def test_circo_golden(shared_dir, expected, capsys) -> None:
    root = shared_dir / "annotations/circo"
    found = _score(capsys, "circo", "--annotations", root, "--ranking", root / "submission_examples/submission_val.json")
    wanted = expected["circo_val_submission_example"]
    assert found.pop("semantic_mAP@10") == {k: pytest.approx(v, abs=1e-3) for k, v in wanted["semantic_mAP@10"].items()}
    assert found == {k: pytest.approx(v, abs=1e-3) for k, v in wanted["official"].items()}


def test_genecis(shared_dir, capsys, tmp_path) -> None:
    root = shared_dir / "annotations/genecis"
    rng = np.random.default_rng(0)
    shapes = {"focus_attribute": (2000, 10), "change_attribute": (2112, 15), "focus_object": (1960, 15), "change_object": (1960, 15)}
    matrices = {task: rng.normal(size=shapes[task]) for task in TASKS}
    np.savez(tmp_path / "m.npz", **matrices)
    found = _score(capsys, "genecis", "--annotations", root, "--ranking", tmp_path / "m.npz")
    for task in TASKS:
        for k in (1, 2, 3):
            hit = (np.argsort(-matrices[task], axis=1)[:, :k] == 0).any(axis=1)
            assert found[task][f"R@{k}"] == pytest.approx(100 * hit.mean())
    assert found["R@1"] == pytest.approx(np.mean([found[task]["R@1"] for task in TASKS]))
    np.savez(tmp_path / "one.npz", focus_object=np.zeros((1960, 15)))
    assert _score(capsys, "genecis", "--annotations", root, "--ranking", tmp_path / "one.npz")["R@1"] == pytest.approx(100 / 15)
    with pytest.raises(InputError, match="array 'dress' is unknown"):
        np.savez(tmp_path / "bad.npz", dress=np.zeros((2, 2)))
        _run("genecis", "--annotations", root, "--ranking", tmp_path / "bad.npz")
    with pytest.raises(InputError, match=r"focus_object: similarities of shape \(3, 15\)"):
        np.savez(tmp_path / "bad.npz", focus_object=np.zeros((3, 15)))
        _run("genecis", "--annotations", root, "--ranking", tmp_path / "bad.npz")
    assert len(load_genecis(root, "focus_object", images=False).queries) == 1960


def test_table_names_protocol_and_interval(shared_dir, golden, capsys) -> None:
    path = golden / "cirr_val_recall_submission.json.gz"
    _run("cirr", "--annotations", shared_dir / "annotations/cirr", "--ranking", path)
    out = capsys.readouterr().out
    assert "reference out of the ranking" in out and "R@10          67.66  [66." in out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["rankings"].pop(5), "query 'dress-val-5' has no ranking"),
        (lambda d: d["rankings"].append(d["rankings"][5]), "entry 2017: candidate .* a second time"),
        (lambda d: d["rankings"][5].update(target="B0"), "entry 5: no query has candidate .* and target 'B0'"),
        (lambda d: d["rankings"][5]["ranking"].pop(), "query 'dress-val-5': 49 images listed"),
        (lambda d: d["rankings"][5].update(ranking=["x"] * 50), "query 'dress-val-5': image 'x' at place 1"),
        (lambda d: d["rankings"][5].pop("ranking"), "entry 5: field 'ranking' is absent"),
        (lambda d: d.update(category="skirt"), "category 'skirt' is unknown"),
        (lambda d: d.pop("rankings"), "holds no object with 'category'"),
    ],
)
def test_wrong_fashioniq_files(shared_dir, golden, tmp_path, change, message: str) -> None:
    document = json.loads(gzip.decompress((golden / "fashioniq_val_dress_top50.json.gz").read_bytes()))
    change(document)
    (tmp_path / "f.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=message):
        _run("fashioniq", "--annotations", shared_dir / "annotations/fashioniq", "--ranking", tmp_path / "f.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(version="rc1"), "version 'rc1'"),
        (lambda d: d.pop("12060"), "query '12060' has no ranking"),
        (lambda d: d["12060"].__setitem__(3, "dev-244-0-img0"), "query '12060': place 4 is the reference"),
        (lambda d: d.update({"12060": "x"}), "query '12060': the ranking must be a list of texts"),
    ],
)
def test_wrong_cirr_files(shared_dir, golden, tmp_path, change, message: str) -> None:
    document = json.loads(gzip.decompress((golden / "cirr_val_recall_submission.json.gz").read_bytes()))
    change(document)
    (tmp_path / "f.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=message):
        _run("cirr", "--annotations", shared_dir / "annotations/cirr", "--ranking", tmp_path / "f.json")


def test_hidden_splits_and_strange_archives(shared_dir, tmp_path) -> None:
    demo = shared_dir / "annotations/cirr/demo_files/test1_pred_ranks_recall.json"
    with pytest.raises(InputError, match="no public target"):
        _run("cirr", "--annotations", shared_dir / "annotations/cirr", "--ranking", demo, "--split", "test1")
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"x\.npz is no \.npz"):
        _run("genecis", "--annotations", shared_dir / "annotations/genecis", "--ranking", tmp_path / "x.npz")
