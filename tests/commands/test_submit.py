import argparse
import json
from pathlib import Path

import pytest

from cirlib.commands import submit
from cirlib.types import InputError


def _run(*argv) -> int:
    parser = argparse.ArgumentParser()
    submit.add_parser(parser.add_subparsers(dest="command"))
    return submit.run(parser.parse_args(["submit", *map(str, argv)]))


@pytest.fixture
def cirr(shared_dir: Path) -> Path:
    return shared_dir / "annotations/cirr"


@pytest.fixture
def circo(shared_dir: Path) -> Path:
    return shared_dir / "annotations/circo"


def test_official_examples_pass(cirr: Path, circo: Path, capsys) -> None:
    demos = sorted(cirr.glob("demo_files/*.json"))
    assert _run("cirr", "--annotations", cirr, "--check", *demos) == 0
    assert _run("circo", "--annotations", circo, "--check", circo / "submission_examples/submission_test.json") == 0
    assert _run("circo", "--annotations", circo, "--split", "val", "--check", circo / "submission_examples/submission_val.json") == 0
    out = capsys.readouterr().out
    assert out.count("valid for") == 4 and "4,148 queries, metric recall_subset, 3 names" in out


def test_cirr_both_files_from_one_ranking(cirr: Path, tmp_path: Path, capsys) -> None:
    entries = json.loads((cirr / "captions/cap.rc2.test1.json").read_text())
    names = list(json.loads((cirr / "image_splits/split.rc2.test1.json").read_text()))
    ranking = {str(e["pairid"]): e["img_set"]["members"] + [n for n in names[:60] if n not in e["img_set"]["members"]] for e in entries}
    (tmp_path / "r.json").write_text(json.dumps(ranking))
    for metric in ("recall", "recall_subset"):
        out = tmp_path / f"{metric}.json"
        assert _run("cirr", "--annotations", cirr, "--ranking", tmp_path / "r.json", "--metric", metric, "--out", out) == 0
        assert _run("cirr", "--annotations", cirr, "--check", out) == 0
    assert "Upload it at https://cirr" in capsys.readouterr().out
    first = entries[0]
    assert json.loads(out.read_text())[str(first["pairid"])] == [m for m in first["img_set"]["members"] if m != first["reference"]][:3]


def test_circo_from_text_ids(circo: Path, tmp_path: Path) -> None:
    example = json.loads((circo / "submission_examples/submission_test.json").read_text())
    (tmp_path / "r.json").write_text(json.dumps({query: [str(i) for i in ids] for query, ids in example.items()}))
    assert _run("circo", "--annotations", circo, "--ranking", tmp_path / "r.json", "--out", tmp_path / "out.json") == 0
    assert json.loads((tmp_path / "out.json").read_text()) == example


def test_the_gallery_is_checked_where_its_list_is_known(circo: Path, tmp_path: Path) -> None:
    for name in ("val", "test"):
        (tmp_path / f"{name}.json").write_bytes((circo / f"annotations/{name}.json").read_bytes())
    (tmp_path / "image_info_unlabeled2017.json").write_text(json.dumps({"images": [{"id": i} for i in range(1, 123_404)]}))
    with pytest.raises(InputError, match=r"query '0': image '544864' at place 1 is not among the 123,403 candidates"):
        _run("circo", "--annotations", tmp_path, "--check", circo / "submission_examples/submission_test.json")


def test_wrong_use_and_wrong_files(cirr: Path, tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    demo = json.loads((cirr / "demo_files/test1_pred_ranks_recall_subset.json").read_text())
    path.write_text(json.dumps(demo | {"12064": demo["12064"][:2]}))
    with pytest.raises(InputError, match=r"f\.json: query '12064': 2 images listed; it must be exactly 3"):
        _run("cirr", "--annotations", cirr, "--check", path)
    path.write_text(json.dumps(demo)[:-1] + ', "12064": []}')
    with pytest.raises(InputError, match="key '12064' twice"):
        _run("cirr", "--annotations", cirr, "--check", path)
    with pytest.raises(InputError, match="without --out"):
        _run("cirr", "--annotations", cirr, "--ranking", path)
    path.write_text("[]")
    with pytest.raises(InputError, match="holds list"):
        _run("cirr", "--annotations", cirr, "--ranking", path, "--out", tmp_path / "out.json")
    path.write_text('{"12063": [1.5]}')
    with pytest.raises(InputError, match="query '12063' has no list of image ids"):
        _run("cirr", "--annotations", cirr, "--ranking", path, "--out", tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()
