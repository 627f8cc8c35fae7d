"""Pictures in every mode and state, as users have them."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cirlib.data.files import PictureFolder, list_pictures, picture_set, read_picture
from cirlib.types import InputError


def _gradient(mode: str = "RGB", size: tuple[int, int] = (8, 6)) -> Image.Image:
    pixels = np.linspace(0, 255, size[0] * size[1] * 3).reshape(size[1], size[0], 3).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize(
    ("mode", "name"), [("RGB", "a.png"), ("L", "a.png"), ("1", "a.png"), ("P", "a.gif"), ("CMYK", "a.jpg"), ("RGB", "a.webp")]
)
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str, name: str) -> None:
    _gradient(mode).save(tmp_path / name)
    picture = read_picture(tmp_path / name)
    assert (picture.mode, picture.size) == ("RGB", (8, 6))


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("LA", (4, 4), (0, 128)).save(tmp_path / "half.png")
    assert read_picture(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)
    assert read_picture(tmp_path / "half.png").getpixel((0, 0)) == pytest.approx((127, 127, 127), abs=1)


def test_transparent_palette_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.save(tmp_path / "p.png", transparency=1)
    assert read_picture(tmp_path / "p.png").getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bit_greys_are_scaled_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257 * 100, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    picture = read_picture(tmp_path / "deep.png")
    assert [picture.getpixel((x, 0))[0] for x in range(3)] == [0, 100, 255]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # camera held upright
    _gradient(size=(8, 6)).save(tmp_path / "phone.jpg", exif=exif)
    assert read_picture(tmp_path / "phone.jpg").size == (6, 8)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(InputError, match=r"picture 'x' at .*x\.png cannot be read"):
        read_picture(tmp_path / "x.png", "x")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "gif"])
def test_truncated_files_are_refused_and_not_half_read(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="cannot be read"):
        read_picture(path, "x")


def test_floating_point_pictures_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((2, 2), dtype=np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(InputError, match="no stated range"):
        read_picture(tmp_path / "f.tif")


def test_folder_finds_any_depth_and_suffix(tmp_path: Path) -> None:
    (tmp_path / "sub/deep").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    for name in ("a.jpg", "sub/b.PNG", "sub/deep/c.jpeg", ".hidden/d.jpg", "notes.txt", ".e.jpg"):
        (tmp_path / name).touch()
    assert [path.name for path in list_pictures(tmp_path)] == ["a.jpg", "b.PNG", "c.jpeg"]
    folder = PictureFolder(tmp_path)
    assert folder.find("absent", "c").name == "c.jpeg"
    with pytest.raises(InputError, match=r"picture 'z' is not below .* \(looked for z "):
        folder.find("z")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"'a' is there twice, .*a\.jpg and .*a\.png"):
        PictureFolder(tmp_path).find("a")


def test_set_opens_crops_and_hashes_by_content(tmp_path: Path) -> None:
    _gradient().save(tmp_path / "a.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "a.png").read_bytes())
    _gradient("L").save(tmp_path / "other.png")
    places = {"a": "a.png", "copy": "copy.png", "other": "other.png", "cut": "a.png"}
    pictures = picture_set(places, lambda i: tmp_path / places[i], {"cut": lambda image: image.crop((0, 0, 2, 3))}, {"cut": "0,0,2,3"})
    assert pictures.ids == ("a", "copy", "other", "cut")
    assert pictures.open("cut").size == (2, 3)
    assert pictures.content_hash("a") == pictures.content_hash("copy") == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    assert len({pictures.content_hash(i) for i in ("a", "other", "cut")}) == 3
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match="picture 'a'"):
        pictures.content_hash("a")
    with pytest.raises(InputError, match="picture 'a' is not at"):
        pictures.open("a")
