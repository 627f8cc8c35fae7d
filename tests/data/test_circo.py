import json
from pathlib import Path

import pytest
from PIL import Image

from cirlib.data.circo import ANNOTATED_ONLY, load_circo
from cirlib.types import InputError


@pytest.fixture
def small(tmp_path: Path) -> Path:
    entry = {
        "id": 0,
        "reference_img_id": 1,
        "target_img_id": 3,
        "gt_img_ids": [3, 2],
        "relative_caption": "x",
        "semantic_aspects": ["negation"],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/val.json").write_text(json.dumps([entry]))
    return tmp_path


@pytest.mark.parametrize(("split", "queries"), [("val", 220), ("test", 800)])
def test_official_files(shared_dir: Path, split: str, queries: int) -> None:
    benchmark = load_circo(shared_dir / "annotations/circo", split)
    assert [query.id for query in benchmark.queries] == [str(i) for i in range(queries)]
    assert benchmark.protocol.gallery == ANNOTATED_ONLY
    assert not benchmark.protocol.exclude_reference
    if split == "val":
        assert sum(len(query.positives) for query in benchmark.queries) == 916 == sum(len(set(q.positives)) for q in benchmark.queries)
        assert len({aspect for query in benchmark.queries for aspect in query.aspects}) == 9


def test_the_target_comes_first(small: Path) -> None:
    path = small / "annotations/val.json"
    path.write_text(path.read_text().replace("[3, 2]", "[2, 3]"))
    assert load_circo(small, check_counts=False).queries[0].positives == ("3", "2")


def test_the_gallery_is_the_folder_or_the_image_list(small: Path) -> None:
    folder = small / "COCO2017_unlabeled/unlabeled2017"
    folder.mkdir(parents=True)
    for number in (1, 2, 3, 99):
        Image.new("RGB", (2, 2), (number, 0, 0)).save(folder / f"{number:012d}.png")
    by_folder = load_circo(small, check_counts=False)
    assert sorted(by_folder.gallery.ids) == ["1", "2", "3", "99"]
    assert by_folder.gallery.open("99").getpixel((0, 0)) == (99, 0, 0)
    with pytest.raises(InputError, match=r"4 gallery pictures of CIRCO val, the official file has 123,403"):
        path = small / "annotations/val.json"
        entry = json.loads(path.read_text())[0]
        path.write_text(json.dumps([entry | {"id": i} for i in range(220)]))
        load_circo(small)
    (small / "annotations/image_info_unlabeled2017.json").write_text(json.dumps({"images": [{"id": i} for i in (1, 2, 3, 4, 5)]}))
    by_list = load_circo(small, images=False, check_counts=False)
    assert sorted(by_list.gallery.ids) == ["1", "2", "3", "4", "5"] and "image list" in by_list.protocol.gallery


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gt_img_ids": [2]}, "field 'gt_img_ids' .* the target 3 among them"),
        ({"gt_img_ids": [3, 3]}, "field 'gt_img_ids' .* distinct"),
        ({"gt_img_ids": []}, "field 'gt_img_ids'"),
        ({"semantic_aspects": ["magic"]}, "field 'semantic_aspects'"),
        ({"reference_img_id": "x1"}, "entry 0: field 'reference_img_id' is \"x1\""),
    ],
)
def test_malformed_entries_are_named(small: Path, change: dict, message: str) -> None:
    path = small / "annotations/val.json"
    path.write_text(json.dumps([json.loads(path.read_text())[0] | change]))
    with pytest.raises(InputError, match=message):
        load_circo(small, check_counts=False)
