import argparse
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from cirlib.commands import data
from cirlib.types import InputError


def _run(*argv) -> int:
    parser = argparse.ArgumentParser()
    data.add_parser(parser.add_subparsers(dest="command"))
    return data.run(parser.parse_args(["data", *map(str, argv)]))


def _verify(capsys, *argv) -> tuple[int, dict]:
    code = _run("verify", *argv, "--json")
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(("name", "parts"), [("fashioniq", 9), ("cirr", 2), ("circo", 2), ("genecis", 4)])
def test_official_annotations_are_complete(shared_dir: Path, capsys, name: str, parts: int) -> None:
    code, found = _verify(capsys, name, "--root", shared_dir / "annotations" / name)
    assert code == 0 and found["ok"] and found["problems"] == []
    assert len(found["counts"]) == parts
    assert found["pictures"]["folder"] is None and found["bounds"] == []


def test_what_is_wrong_is_found(shared_dir: Path, tmp_path: Path, capsys) -> None:
    root = tmp_path / "cirr"
    shutil.copytree(shared_dir / "annotations/cirr", root)
    root.chmod(0o755)
    for folder in root.iterdir():
        folder.chmod(0o755)
    path = root / "captions/cap.rc2.val.json"
    entries = json.loads(path.read_text())
    path.unlink()
    path.write_text(json.dumps(entries[:-1]))
    (root / "captions/cap.rc2.test1.json").unlink()
    code, found = _verify(capsys, "cirr", "--root", root)
    assert code == 1 and not found["ok"]
    text = "\n".join(found["problems"])
    assert "cap.rc2.val.json is changed" in text and "cap.rc2.test1.json is absent" in text
    assert "4,180 queries of CIRR val, the official file has 4,181" in text


@pytest.fixture
def pictures(shared_dir: Path, tmp_path: Path) -> tuple[Path, Path]:
    """CIRCO's annotated pictures, three of them missing, one cut short."""
    root = shared_dir / "annotations/circo"
    entries = json.loads((root / "annotations/val.json").read_text())
    ids = sorted({i for e in entries for i in (e["reference_img_id"], *e["gt_img_ids"])})
    Image.new("RGB", (2, 2)).save(tmp_path / "one.png")
    content = (tmp_path / "one.png").read_bytes()
    gone = {entries[0]["target_img_id"], entries[1]["reference_img_id"], entries[2]["gt_img_ids"][-1]}
    folder = tmp_path / "images"
    folder.mkdir()
    for i in ids:
        if i not in gone:
            (folder / f"{i:012d}.png").write_bytes(content)
    (folder / f"{entries[3]['target_img_id']:012d}.png").write_bytes(content[:30])
    return root, folder


def test_missing_pictures_bound_recall(pictures: tuple[Path, Path], capsys) -> None:
    root, folder = pictures
    code, found = _verify(capsys, "circo", "--root", root, "--images", folder)
    assert code == 1
    assert len(found["pictures"]["missing"]) == 3 and len(found["pictures"]["unreadable"]) == 1
    [bound] = found["bounds"]
    assert bound["part"] == "val" and bound["queries"] == 220 and bound["missing_gallery"] == 4
    assert 210 <= bound["answerable"] <= 217 and bound["max_recall"] == bound["answerable"] / 220
    code, found = _verify(capsys, "circo", "--root", root, "--images", folder, "--allow-missing")
    assert code == 0 and found["ok"]


def test_findings_in_words(pictures: tuple[Path, Path], capsys) -> None:
    root, folder = pictures
    assert _run("verify", "circo", "--root", root, "--images", folder) == 1
    out = capsys.readouterr().out
    assert "3 missing, 1 unreadable" in out and "R@(K - 4)" in out and out.rstrip().endswith("Not OK")


def test_list_and_wrong_names(capsys, tmp_path: Path) -> None:
    assert _run("list") == 0
    out = capsys.readouterr().out
    assert "Terms: NLVR2's Terms of Service" in out and "CC BY-NC 4.0" in out
    with pytest.raises(InputError, match="'shoes' is unknown"):
        _run("verify", "shoes", "--root", tmp_path)
    with pytest.raises(InputError, match="annotation folder .* does not exist; make it with `cirlib data fetch cirr"):
        _run("verify", "cirr", "--root", tmp_path / "nowhere")


def test_fetch_reports_a_dead_server_and_keeps_going_later(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="could not be fetched"):
        _run("fetch", "circo", "--root", tmp_path, "--base-url", "http://127.0.0.1:9/")


def test_fetch_says_where_the_pictures_are(shared_dir: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "annotations").mkdir()
    for name in ("val", "test"):  # already there with the right checksum: nothing is asked of the dead server
        shutil.copy(shared_dir / f"annotations/circo/annotations/{name}.json", tmp_path / "annotations")
    assert _run("fetch", "circo", "--root", tmp_path, "--base-url", "http://127.0.0.1:9/") == 0
    out = capsys.readouterr().out
    assert out.count("present") == 2 and "unlabeled2017.zip" in out and "Flickr's terms" in out
