import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cirlib.data.genecis import CANDIDATES, cut_out, load_genecis
from cirlib.types import InputError


@pytest.mark.parametrize(
    ("task", "queries"), [("focus_attribute", 2000), ("change_attribute", 2112), ("focus_object", 1960), ("change_object", 1960)]
)
def test_official_files(shared_dir: Path, task: str, queries: int) -> None:
    benchmark = load_genecis(shared_dir / "annotations/genecis", task)
    assert len(benchmark.queries) == queries
    assert benchmark.protocol.candidates == "subset" and benchmark.protocol.recall_at == (1, 2, 3)
    for query in benchmark.queries:
        assert query.subset[0] == query.target and len(set(query.subset)) == CANDIDATES[task]
    first = [benchmark.gallery.rows[q.target] < min(benchmark.gallery.rows[i] for i in q.subset[1:]) for q in benchmark.queries]
    assert np.mean(first) < 2 / CANDIDATES[task]  # gallery order does not give the target away


def _reference_cut(image: Image.Image, box: tuple) -> np.ndarray:
    """Pixel by pixel, from the rule in words."""
    x, y, w, h = box
    left, top = max(0, x - 0.7 * w), max(0, y - 0.7 * h)
    right, bottom = min(image.width, left + 1.7 * w), min(image.height, top + 1.7 * h)
    left, top, right, bottom = (round(v) for v in (left, top, right, bottom))
    side = max(right - left, bottom - top)
    out = np.zeros((side, side, 3), dtype=np.uint8)
    dx, dy = (side - (right - left)) // 2, (side - (bottom - top)) // 2
    for row in range(top, bottom):
        for column in range(left, right):
            out[row - top + dy, column - left + dx] = image.getpixel((column, row))
    return out


@pytest.mark.parametrize("box", [(10, 8, 6, 4), (0, 0, 5, 9), (1, 1, 30, 3), (25, 15, 10, 10), (3.3, 2.7, 4.5, 6.1)])
def test_cut_is_the_authors_cut(box: tuple) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8))
    assert np.array_equal(np.asarray(cut_out(image, box)), _reference_cut(image, box))


def _write(root: Path, task: str, entries: list) -> None:
    (root / f"{task}.json").write_text(json.dumps(entries))


def test_crops_of_one_picture_are_different_pictures(tmp_path: Path) -> None:
    (tmp_path / "images/VG_100K").mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(tmp_path / "images/VG_100K/5.png")
    boxes = [{"image_id": "5", "instance_bbox": box} for box in ([20, 20, 6, 4], [10, 20, 6, 4], [30, 20, 6, 4], [10, 20, 6, 4])]
    _write(tmp_path, "focus_attribute", [{"reference": boxes[0], "target": boxes[1], "gallery": boxes[2:], "condition": "color"}])
    benchmark = load_genecis(tmp_path, "focus_attribute", check_counts=False)
    [query] = benchmark.queries
    assert query.subset == ("5@10,20,6,4", "5@30,20,6,4", "5@10,20,6,4#2")
    assert benchmark.gallery.open(query.target).size == (10, 10)
    hashes = [benchmark.gallery.content_hash(i) for i in query.subset]
    assert hashes[0] == hashes[2] != hashes[1]


def test_coco_pictures_are_not_mistaken_for_visual_genome(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name, red in (("5", 10), ("000000000005", 200), ("000000000006", 7), ("000000000007", 7)):
        Image.new("RGB", (3, 3), (red, 0, 0)).save(tmp_path / f"images/{name}.png")
    entry = {"reference": {"val_image_id": 5}, "target": {"val_image_id": 6}, "gallery": [{"val_image_id": 7}], "condition": "wall"}
    _write(tmp_path, "focus_object", [entry])
    benchmark = load_genecis(tmp_path, "focus_object", check_counts=False)
    assert benchmark.references.open("5").getpixel((0, 0)) == (200, 0, 0)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([1, 2, 3], r"field 'target\.instance_bbox' is \[1, 2, 3\]; it must be 4 finite numbers"),
        ([1, 2, 0, 3], "width and height above 0"),
    ],
)
def test_malformed_boxes_are_named(tmp_path: Path, box: list, message: str) -> None:
    good = {"image_id": "5", "instance_bbox": [1, 2, 3, 4]}
    entry = {"reference": good, "target": good | {"instance_bbox": box}, "gallery": [good], "condition": "color"}
    _write(tmp_path, "focus_attribute", [entry])
    with pytest.raises(InputError, match=message):
        load_genecis(tmp_path, "focus_attribute", check_counts=False)
