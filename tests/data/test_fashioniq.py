import json
from pathlib import Path

import pytest
from PIL import Image

from cirlib.data.fashioniq import leaking_images, load_fashioniq
from cirlib.types import InputError

QUERIES = {"dress": 2017, "shirt": 2038, "toptee": 1961}
GALLERY = {"dress": 3817, "shirt": 6346, "toptee": 5373}
UNION = {"dress": 2628, "shirt": 3089, "toptee": 2902}
TRAIN = {"dress": 5985, "shirt": 5988, "toptee": 6027}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Three pictures and two queries in the official layout."""
    for folder in ("captions", "image_splits", "images"):
        (tmp_path / folder).mkdir()
    entries = [
        {"candidate": "A", "target": "B", "captions": ["is red.", "has a belt"]},
        {"candidate": "C", "target": "B", "captions": ["is blue", " "]},
    ]
    (tmp_path / "captions/cap.dress.val.json").write_text(json.dumps(entries))
    (tmp_path / "image_splits/split.dress.val.json").write_text(json.dumps(["C", "A", "B", "D"]))
    for name in ("A.jpg", "B.png", "C.jpg", "D.jpg"):
        Image.new("RGB", (2, 2)).save(tmp_path / "images" / name)
    return tmp_path


@pytest.mark.parametrize("category", QUERIES)
def test_official_counts_of_both_galleries(shared_dir: Path, category: str) -> None:
    root = shared_dir / "annotations/fashioniq"
    original = load_fashioniq(root, category)
    assert original.part == category
    union = load_fashioniq(root, category, gallery="val_split")
    assert (len(original.queries), len(original.gallery)) == (QUERIES[category], GALLERY[category])
    assert (len(union.queries), len(union.gallery)) == (QUERIES[category], UNION[category])
    assert len(load_fashioniq(root, category, "train").queries) == TRAIN[category]
    assert not original.protocol.exclude_reference
    assert original.protocol.gallery == "original val list" and union.protocol.gallery == "union of val pairs"
    first = json.loads((root / f"captions/cap.{category}.val.json").read_text())[0]
    assert original.queries[0].reference == first["candidate"] and original.queries[0].positives == (first["target"],)


def test_joint_training_would_leak(shared_dir: Path) -> None:
    root = shared_dir / "annotations/fashioniq"
    assert len(leaking_images(root, "toptee")) == 419
    assert len(leaking_images(root, "shirt")) == 392
    assert leaking_images(root, "dress") == ()
    kept = load_fashioniq(root, "toptee", "train", exclude_leaks=True)
    used = {i for query in kept.queries for i in (query.reference, *query.positives)} | set(kept.gallery.ids)
    for held_out in ("val", "test"):
        assert used.isdisjoint(leaking_images(root, "toptee", held_out))
    assert 5000 < len(kept.queries) < TRAIN["toptee"]
    assert "left out" in kept.protocol.gallery


def test_hidden_targets(shared_dir: Path) -> None:
    query = load_fashioniq(shared_dir / "annotations/fashioniq", "dress", "test").queries[0]
    assert query.positives == ()
    with pytest.raises(InputError, match="no public target"):
        _ = query.target


@pytest.mark.parametrize(
    ("how", "texts"),
    [
        ("and", ["is red and has a belt", "is blue"]),
        ("reverse", ["has a belt and is red", "is blue"]),
        ("comma", ["is red, has a belt", "is blue"]),
        ("separate", ["is red", "has a belt", "is blue", ""]),
    ],
)
def test_caption_joins(small: Path, how: str, texts: list[str]) -> None:
    benchmark = load_fashioniq(small, "dress", caption_join=how, check_counts=False)
    assert [query.text for query in benchmark.queries] == texts
    assert len({query.id for query in benchmark.queries}) == len(texts)


def test_pictures_open_and_the_gallery_is_sorted(small: Path) -> None:
    benchmark = load_fashioniq(small, "dress", check_counts=False)
    assert benchmark.gallery.ids == ("A", "B", "C", "D")
    assert benchmark.gallery.open("B").size == (2, 2)
    assert benchmark.missing == ()


def test_missing_pictures_are_refused_or_stated(small: Path) -> None:
    (small / "images/C.jpg").unlink()
    (small / "images/B.png").unlink()
    with pytest.raises(InputError, match=r"2 of 4 pictures .* such as 'B'"):
        load_fashioniq(small, "dress", check_counts=False)
    with pytest.warns(UserWarning, match="1 of 2 queries left out"):
        benchmark = load_fashioniq(small, "dress", check_counts=False, allow_missing=True)
    assert benchmark.missing == ("B", "C")
    assert benchmark.gallery.ids == ("A", "D")
    assert [query.reference for query in benchmark.queries] == ["A"]


def test_no_pictures_at_all_still_loads(small: Path) -> None:
    benchmark = load_fashioniq(small, "dress", images=False, check_counts=False)
    with pytest.raises(InputError, match=r"picture 'A' cannot be opened: no folder .*hongwang600"):
        benchmark.gallery.open("A")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.pop("candidate"), r"cap\.dress\.val\.json, entry 1: field 'candidate' is absent"),
        (lambda e: e.update(captions=["one"]), "entry 1: field 'captions' .* 2 texts"),
        (lambda e: e.update(captions=["", " "]), "entry 1: field 'captions' .* not blank"),
        (lambda e: e.update(target="Z"), "query 'dress-val-1': image 'Z' is not in the gallery"),
        (lambda e: e.update(candidate="Z"), "query 'dress-val-1': reference 'Z' is not in the split list"),
    ],
)
def test_malformed_entries_are_named(small: Path, change, message: str) -> None:
    path = small / "captions/cap.dress.val.json"
    entries = json.loads(path.read_text())
    change(entries[1])
    path.write_text(json.dumps(entries))
    with pytest.raises(InputError, match=message):
        load_fashioniq(small, "dress", check_counts=False)


def test_wrong_counts_and_choices(small: Path) -> None:
    with pytest.raises(InputError, match=r"2 queries of Fashion IQ val dress, the official file has 2,017"):
        load_fashioniq(small, "dress")
    for options in ({"category": "skirt"}, {"category": "dress", "gallery": "half"}, {"category": "dress", "split": "dev"}):
        with pytest.raises(InputError, match="is unknown; choose one of"):
            load_fashioniq(small, **options)
    with pytest.raises(InputError, match="exclude_leaks"):
        load_fashioniq(small, "dress", exclude_leaks=True)
    with pytest.raises(InputError, match="picture folder .* does not exist"):
        load_fashioniq(small, "dress", images=small / "nowhere", check_counts=False)
