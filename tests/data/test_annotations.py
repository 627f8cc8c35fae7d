import gzip
import json
from pathlib import Path

import pytest

from cirlib.data.annotations import Entry, locate, read_entries, read_image_list, read_json
from cirlib.types import InputError


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1, 2", r"f\.json is not JSON: .* at line 1, column"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b'{"a": 1, "a": 2}', "key 'a' twice"),
    ],
)
def test_broken_json_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "f.json").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_json(tmp_path / "f.json")


def test_gzip_is_read_and_a_cut_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "f.json.gz"
    path.write_bytes(gzip.compress(json.dumps(list(range(5000))).encode()))
    assert read_json(path)[-1] == 4999
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"f\.json\.gz cannot be read"):
        read_json(path)


def test_entries_and_image_lists_name_the_offender(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    path.write_text('[{"a": 1}, 7]')
    with pytest.raises(InputError, match="entry 1: int given"):
        read_entries(path)
    path.write_text('{"a": 1}')
    with pytest.raises(InputError, match="holds dict"):
        read_entries(path)
    path.write_text('["x", "y", "x"]')
    with pytest.raises(InputError, match="entry 2: image 'x' occurs twice"):
        read_image_list(path)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda e: e.text("nowhere"), "entry 4: field 'nowhere' is absent; it must be a text"),
        (lambda e: e.text("blank"), "field 'blank' is \" \""),
        (lambda e: e.texts("list", 2), "a list of 2 texts"),
        (lambda e: e.image_number("flag"), "field 'flag' is true"),
        (lambda e: e.image_numbers("list"), "a list of image numbers"),
        (lambda e: e.inside("sub").text("x"), r"field 'sub\.x' is absent"),
        (lambda e: e.numbers("box", 4), "4 finite numbers"),
        (lambda e: e.objects("list"), "a list of objects"),
    ],
)
def test_fields_say_what_they_must_be(read, message: str) -> None:
    fields = {"blank": " ", "list": ["a"], "flag": True, "sub": {}, "box": [1, 2, 3, float("nan")]}
    with pytest.raises(InputError, match=message):
        read(Entry(Path("f.json"), 4, fields))


def test_locate_names_every_place_it_looked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no a\.json or b/a\.json"):
        locate(tmp_path, "a.json", "b/a.json")
    with pytest.raises(InputError, match="does not exist"):
        locate(tmp_path / "nowhere", "a.json")
