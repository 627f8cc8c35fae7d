"""The label files of DeepFashion-MultiModal (Jiang et al., SIGGRAPH 2022): three text files, 18 label dimensions, one line per picture.

    shape_anno_all.txt   NAME.jpg and 12 numbers: sleeves, lengths, accessories, neckline
    fabric_ann.txt       NAME.jpg and 3 numbers: fabric of the upper, lower and outer garment
    pattern_ann.txt      NAME.jpg and 3 numbers: their patterns (the authors call them colors; colors are not labelled)

The last number of every dimension means that the part is not visible: not applicable, -1 here and no key in a benchmark's labels. The
authors' README numbers necklines in two ways: its earlier states skip 3 and end at 7, its later states count from 0 to 6. The largest
number in the file decides. A file cut down to pictures with visible necklines would be taken for the later way.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from cirlib.types import InputError

GARMENT_FABRICS = ("denim", "cotton", "leather", "furry", "knitted", "chiffon", "other")
GARMENT_PATTERNS = ("floral", "graphic", "striped", "pure color", "lattice", "other", "color block")
DIMENSIONS: dict[str, tuple[str, ...]] = {
    "sleeve": ("sleeveless", "short", "medium", "long", "not long"),
    "lower_length": ("three-point", "medium short", "three-quarter", "long"),
    "socks": ("no", "socks", "leggings"),
    "hat": ("no", "yes"),
    "glasses": ("no", "eyeglasses", "sunglasses", "in hand or on clothes"),
    "neckwear": ("no", "yes"),
    "wrist": ("no", "yes"),
    "ring": ("no", "yes"),
    "waist": ("no", "belt", "clothing", "hidden"),
    "neckline": ("v-shape", "square", "round", "standing", "lapel", "suspenders"),
    "cardigan": ("yes", "no"),  # the outer garment is a cardigan; yes comes first in the official numbers too
    "navel_covered": ("no", "yes"),
    **{f"{garment}_fabric": GARMENT_FABRICS for garment in ("upper", "lower", "outer")},
    **{f"{garment}_pattern": GARMENT_PATTERNS for garment in ("upper", "lower", "outer")},
}
"""Dimension to values, in the order of the files and of their numbers."""

NAMES = tuple(DIMENSIONS)
_PARTS = {"shape": NAMES[:12], "fabric": NAMES[12:15], "pattern": NAMES[15:]}
_NAME = re.compile(r"(?P<gender>[^-]+)-(?P<category>.+)-(?P<product>id_\d+)-(?P<variant>\d+)_(?P<number>\d+)_(?P<view>\w+)")


@dataclass(frozen=True)
class PictureName:
    """What a file name of DeepFashion says, as in `WOMEN-Dresses-id_00000021-05_1_front.jpg`.

    Attributes:
        gender: "MEN" or "WOMEN".
        category: Such as "Dresses" or "Tees_Tanks".
        product: Such as "id_00000021".
        variant: Color variant of the product, such as "05".
        number: Number of the view within the variant.
        view: Such as "front", "side", "back", "full", "additional".
    """

    gender: str
    category: str
    product: str
    variant: str
    number: int
    view: str


@dataclass(frozen=True)
class PictureLabels:
    """Every picture that all three files label.

    Attributes:
        ids: File names without suffix, sorted; the order of lines in the files does not matter.
        names: What each id says.
        codes: (n, 18) position of the value in `DIMENSIONS`, columns in its order; -1 where not applicable.
        counts: Pictures in the "shape", "fabric" and "pattern" file, and in "all" three.
    """

    ids: tuple[str, ...]
    names: tuple[PictureName, ...]
    codes: Int[np.ndarray, "n 18"]
    counts: Mapping[str, int]

    def values(self, row: int) -> dict[str, str]:
        """Labels of one picture; a dimension that is not applicable has no key."""
        return {name: DIMENSIONS[name][code] for name, code in zip(NAMES, self.codes[row], strict=True) if code >= 0}


def parse_name(image_id: str) -> PictureName | None:
    """Parts of a file name without suffix, or None where it is not one of DeepFashion.

    Example:
        >>> parse_name("MEN-Denim-id_00000080-01_7_additional")
        PictureName(gender='MEN', category='Denim', product='id_00000080', variant='01', number=7, view='additional')
    """
    found = _NAME.fullmatch(image_id)
    return PictureName(**(found.groupdict() | {"number": int(found["number"])})) if found else None


def read_labels(shape: Path, fabric: Path, pattern: Path) -> PictureLabels:
    """Read the three label files and keep the pictures that all of them name.

    A line that repeats an earlier one is passed over: it says nothing new. Blank lines are too.

    Args:
        shape: `shape_anno_all.txt`.
        fabric: `fabric_ann.txt`.
        pattern: `pattern_ann.txt`.

    Raises:
        InputError: With file and line, if a file cannot be read, a line is malformed, a number is outside its dimension, a picture has
            two different lines, or a file name is not DeepFashion's; also if no picture is in all three files.
    """
    paths = {"shape": shape, "fabric": fabric, "pattern": pattern}
    parts = {part: _read_part(path, _PARTS[part]) for part, path in paths.items()}
    ids = tuple(sorted(set.intersection(*(set(rows) for rows, _ in parts.values()))))
    if not ids:
        raise InputError(f"no picture is in all of {', '.join(map(str, paths.values()))}; use label files of one release")
    codes = np.concatenate([codes[[rows[i] for i in ids]] for rows, codes in parts.values()], axis=1)
    counts = {part: len(rows) for part, (rows, _) in parts.items()} | {"all": len(ids)}
    return PictureLabels(ids, tuple(map(parse_name, ids)), codes, counts)


def _read_part(path: Path, dimensions: Sequence[str]) -> tuple[dict[str, int], Int[np.ndarray, "n d"]]:
    """Row of each picture, and codes with -1 for not applicable."""
    rows: dict[str, int] = {}
    numbers: list[list[int]] = []
    lines: list[int] = []
    for line, text in enumerate(_read_lines(path), start=1):
        fields = text.split()
        if not fields:
            continue
        given = fields[1:]
        if len(given) != len(dimensions) or not all(field.isdecimal() and len(field) <= 2 for field in given):
            raise InputError(f"{path}, line {line}: {_short(text)} given; it must be an image name and {len(dimensions)} label numbers")
        image_id = fields[0].rpartition(".")[0] or fields[0]
        if parse_name(image_id) is None:
            raise InputError(f"{path}, line {line}: image name {fields[0]!r}; it must be like WOMEN-Dresses-id_00000021-05_1_front.jpg")
        label = [int(field) for field in given]
        if image_id not in rows:
            rows[image_id] = len(numbers)
            numbers.append(label)
            lines.append(line)
        elif numbers[rows[image_id]] != label:
            raise InputError(
                f"{path}, line {line}: {fields[0]!r} has other labels on line {lines[rows[image_id]]}; every picture may have one label"
            )
    codes = np.array(numbers, np.int64).reshape(len(numbers), len(dimensions))
    for column, name in enumerate(dimensions):
        codes[:, column] = _codes(codes[:, column], name, path, lines)
    return rows, codes.astype(np.int8)


def _codes(numbers: Int[np.ndarray, " n"], name: str, path: Path, lines: Sequence[int]) -> Int[np.ndarray, " n"]:
    """Numbers of one dimension as positions of its values, -1 for the last number, which means not applicable."""
    values, given = len(DIMENSIONS[name]), numbers
    wrong, allowed = given > values, f"0 to {values}"
    if name == "neckline" and given.max(initial=0) > values:
        wrong, allowed = (given == 3) | (given > values + 1), f"0, 1, 2 or 4 to {values + 1}, since {given.max()} occurs in this file"
        numbers = np.where(given > 3, given - 1, given)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(f"{path}, line {lines[row]}: {name} is {given[row]}; it must be {allowed}")
    return np.where(numbers == values, -1, numbers)


def _read_lines(path: Path) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; give the label file of DeepFashion-MultiModal") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a readable label file") from None


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
