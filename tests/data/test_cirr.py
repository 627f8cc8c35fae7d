import json
from pathlib import Path

import pytest

from cirlib.data.cirr import load_cirr
from cirlib.types import InputError

MEMBERS = ["a", "b", "c", "d", "e", "f"]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    for folder in ("captions", "image_splits"):
        (tmp_path / folder).mkdir()
    entry = {"pairid": 7, "reference": "b", "target_hard": "d", "caption": "is red", "img_set": {"id": 1, "members": MEMBERS}}
    (tmp_path / "captions/cap.rc2.val.json").write_text(json.dumps([entry]))
    (tmp_path / "image_splits/split.rc2.val.json").write_text(json.dumps({name: f"./dev/{name}.png" for name in MEMBERS}))
    return tmp_path


@pytest.mark.parametrize(("split", "queries", "gallery"), [("val", 4181, 2297), ("test1", 4148, 2315)])
def test_official_files(shared_dir: Path, split: str, queries: int, gallery: int) -> None:
    benchmark = load_cirr(shared_dir / "annotations/cirr", split)
    assert (len(benchmark.queries), len(benchmark.gallery)) == (queries, gallery)
    assert benchmark.protocol.exclude_reference and benchmark.version.startswith("rc2-")
    for query in benchmark.queries:
        assert len(query.subset) == 5 and query.reference not in query.subset
        assert query.positives == () if split == "test1" else query.target in query.subset


def test_absent_training_captions_are_explained(shared_dir: Path) -> None:
    with pytest.raises(InputError, match=r"cap\.rc2\.train\.json.*official branch `cirr_dataset` has them"):
        load_cirr(shared_dir / "annotations/cirr", "train")


def test_translation(small: Path) -> None:
    [query] = load_cirr(small, check_counts=False).queries
    assert (query.id, query.reference, query.target, query.subset) == ("7", "b", "d", ("a", "c", "d", "e", "f"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.update(pairid=None), "entry 0: field 'pairid' is null"),
        (lambda e: e.update(target_hard="b"), "field 'target_hard'"),
        (lambda e: e.update(target_hard="z"), "field 'target_hard'"),
        (lambda e: e["img_set"].pop("members"), r"field 'img_set\.members' is absent"),
        (lambda e: e["img_set"].update(members=["a", "c"]), "field 'img_set'"),
        (lambda e: e["img_set"].update(members=[*MEMBERS, "z"]), "query '7': image 'z' is not in the gallery"),
    ],
)
def test_malformed_entries_are_named(small: Path, change, message: str) -> None:
    path = small / "captions/cap.rc2.val.json"
    entries = json.loads(path.read_text())
    change(entries[0])
    path.write_text(json.dumps(entries))
    with pytest.raises(InputError, match=message):
        load_cirr(small, check_counts=False)


def test_wrong_count(small: Path) -> None:
    with pytest.raises(InputError, match="1 queries of CIRR val, the official file has 4,181"):
        load_cirr(small)
