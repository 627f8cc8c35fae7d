from pathlib import Path

import pytest
from PIL import Image

from cirlib.data.folder import load_folder
from cirlib.types import InputError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    (root / "tops").mkdir(parents=True)
    for name in ("red.jpg", "tops/blue.png", "tops/red.webp"):
        Image.new("RGB", (3, 3)).save(root / name)
    return root


def _csv(photos: Path, text: str) -> Path:
    path = photos.parent / "table.csv"
    path.write_text(text, encoding="utf-8-sig")
    return path


def test_every_picture_by_its_path(photos: Path) -> None:
    benchmark = load_folder(photos)
    assert benchmark.gallery.ids == ("red.jpg", "tops/blue.png", "tops/red.webp")
    assert benchmark.gallery.open("tops/blue.png").size == (3, 3)
    assert benchmark.queries == () and benchmark.labels is None


def test_queries_from_csv(photos: Path) -> None:
    text = 'reference,text,target\nred.jpg,"blue, please",blue|tops/red.webp\ntops/blue.png,in red,\n'
    first, second = load_folder(photos, _csv(photos, text)).queries
    assert (first.reference, first.text, first.positives) == ("red.jpg", "blue, please", ("tops/blue.png", "tops/red.webp"))
    assert second.positives == ()


def test_labels_from_csv(photos: Path) -> None:
    labels = load_folder(photos, _csv(photos, "image,colour,sleeve\nblue,blue,\nred.jpg,red,long\n")).labels
    assert labels == {"tops/blue.png": {"colour": "blue"}, "red.jpg": {"colour": "red", "sleeve": "long"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reference,text\nred.jpg,\n", "line 2: the text is empty"),
        ("reference,text\ngreen,x\n", "line 2: picture 'green' is not in the folder"),
        ("reference,text\nred,x\n", r"line 2: 'red' could be red\.jpg or tops/red\.webp"),
        ("image,colour\nblue,a\nblue.png,b\n", r"line 3: picture 'tops/blue\.png' has a second line"),
        ("image,colour\nblue,a,b\n", "line 2: 2 columns expected"),
        ("image,colour\nblue\n", "line 2: 2 columns expected"),
        ("name,colour\nblue,a\n", "has the columns name, colour; give 'image'"),
        ("", "has the columns none"),
    ],
)
def test_bad_tables_are_named_by_line(photos: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_folder(photos, _csv(photos, text))


def test_empty_and_absent_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no pictures"):
        load_folder(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        load_folder(tmp_path / "nowhere")
