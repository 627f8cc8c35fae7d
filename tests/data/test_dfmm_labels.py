"""Label files in the official format, both neckline numberings, and what is wrong with a line."""

from pathlib import Path

import numpy as np
import pytest
from dfmm_files import make_lines, write_lines

from cirlib.data.dfmm_labels import DIMENSIONS, NAMES, parse_name, read_labels
from cirlib.types import InputError

DRESS, DENIM = "WOMEN-Dresses-id_00000021-05_1_front", "MEN-Denim-id_00000080-01_7_additional"
SHAPE = f"{DRESS}.jpg 0 4 3 0 4 2 1 2 1 {{}} 2 1\n{DENIM}.jpg 3 3 0 1 2 1 0 0 3 {{}} 1 2\n"
FABRIC = f"{DRESS}.jpg 5 7 7\n{DENIM}.jpg 0 0 6\n"
PATTERN = f"{DRESS}.jpg 0 7 7\n{DENIM}.jpg 3 4 7\n"


def write(folder: Path, shape: str, fabric: str = FABRIC, pattern: str = PATTERN) -> tuple[Path, ...]:
    paths = tuple(folder / name for name in ("shape_anno_all.txt", "fabric_ann.txt", "pattern_ann.txt"))
    for path, text in zip(paths, (shape, fabric, pattern), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


@pytest.mark.parametrize(("dress", "denim"), [(6, 4), (7, 5)])
def test_both_neckline_numberings_say_the_same(tmp_path: Path, dress: int, denim: int) -> None:
    labels = read_labels(*write(tmp_path, SHAPE.format(dress, denim)))
    assert labels.ids == (DENIM, DRESS)
    assert labels.values(0) == {
        "sleeve": "long",
        "lower_length": "long",
        "socks": "no",
        "hat": "yes",
        "glasses": "sunglasses",
        "neckwear": "yes",
        "wrist": "no",
        "ring": "no",
        "waist": "hidden",
        "neckline": "lapel",
        "cardigan": "no",
        "upper_fabric": "denim",
        "lower_fabric": "denim",
        "outer_fabric": "other",
        "upper_pattern": "pure color",
        "lower_pattern": "lattice",
    }
    assert labels.values(1) == {
        "sleeve": "sleeveless",
        "hat": "no",
        "wrist": "yes",
        "waist": "belt",
        "navel_covered": "yes",
        "upper_fabric": "chiffon",
        "upper_pattern": "floral",
    }


def test_a_whole_file_reads_alike_in_both_numberings_and_any_order(tmp_path: Path) -> None:
    late = read_labels(*write_lines(tmp_path / "late", make_lines(300)))
    early = read_labels(*write_lines(tmp_path / "early", make_lines(300, early=True), order=-1))
    assert late.ids == early.ids and np.array_equal(late.codes, early.codes)
    assert {-1, 2, 3, 4} <= set(late.codes[:, NAMES.index("neckline")])
    assert late.codes.shape == (len(late.ids), 18) == (len(make_lines(300)), len(DIMENSIONS))


def test_pictures_in_some_files_only_are_left_out_and_counted(tmp_path: Path) -> None:
    other = DRESS.replace("front", "side")
    labels = read_labels(
        *write(tmp_path, SHAPE.format(6, 6), FABRIC + f"\n{other}.jpg 1 1 7\n{other}.jpg  1 1 7\n", PATTERN.splitlines()[0])
    )
    assert labels.ids == (DRESS,)
    assert labels.counts == {"shape": 2, "fabric": 3, "pattern": 1, "all": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x.jpg 1 1 7", r"fabric_ann\.txt, line 2: image name 'x\.jpg'; it must be like WOMEN-"),
        (f"{DENIM}.jpg 1 1", r"line 2: 'MEN-Denim.* 1 1' given; it must be an image name and 3 label numbers"),
        (f"{DENIM}.jpg 1 1 7 7", "an image name and 3 label numbers"),
        (f"{DENIM}.jpg 1 1 -1", "an image name and 3 label numbers"),
        (f"{DENIM}.jpg 1 1 x", "an image name and 3 label numbers"),
        (f"{DENIM}.jpg 1 8 7", "line 2: lower_fabric is 8; it must be 0 to 7"),
        (f"{DRESS}.jpg 1 1 7", r"line 2: 'WOMEN.*' has other labels on line 1; every picture may have one label"),
    ],
)
def test_malformed_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        read_labels(*write(tmp_path, SHAPE.format(6, 4), f"{FABRIC.splitlines()[0]}\n{line}\n"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("dress", "denim", "message"),
    [(7, 3, "line 2: neckline is 3; it must be 0, 1, 2 or 4 to 7, since 7 occurs"), (7, 9, "line 2: neckline is 9; .* since 9 occurs")],
)
def test_neckline_numberings_do_not_mix(tmp_path: Path, dress: int, denim: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_labels(*write(tmp_path, SHAPE.format(dress, denim)))


def test_files_that_are_no_label_files(tmp_path: Path) -> None:
    paths = write(tmp_path, SHAPE.format(6, 4))
    with pytest.raises(InputError, match="no picture is in all of"):
        read_labels(*write(tmp_path, "", "", ""))
    paths[1].write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_labels(*paths)
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(tmp_path / "nowhere.txt", *paths[1:])


def test_names_of_other_makes() -> None:
    assert parse_name("WOMEN-Tees_Tanks-id_00000112-06_7_additional").category == "Tees_Tanks"
    assert parse_name("img_0") is None
