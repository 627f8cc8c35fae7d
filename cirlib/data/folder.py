"""A folder of anybody's pictures as a benchmark, with an optional CSV of labels or of queries."""

import csv as csv_format
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from cirlib.data.files import list_pictures, picture_set
from cirlib.types import Benchmark, BenchmarkProtocol, InputError, Query

QUERY_COLUMNS = ("reference", "text")


def load_folder(root: str | os.PathLike[str], csv: str | os.PathLike[str] | None = None) -> Benchmark:
    """Load every picture below a folder. Ids are paths below it ("tops/red.jpg"), sorted. No picture is opened here.

    A CSV with the columns `reference` and `text` gives queries; a column `target` (several pictures separated by "|", the designated one
    first; may be empty) their positives. A CSV with the column `image` gives labels: every other column is an attribute, and an empty cell
    means that it does not apply. Pictures are named by path below the folder, by file name, or by file name without suffix, as long as the
    name is unique. The reference is left out of its own ranking (our choice: nobody wants the own picture back).

    Args:
        root: Folder, searched to its leaves; hidden files are passed over.
        csv: See above, UTF-8 with a header line.

    Raises:
        InputError: If the folder has no pictures, or the CSV is malformed or names a picture that is not there (with its line).
    """
    root = Path(root)
    paths = {path.relative_to(root).as_posix(): path for path in list_pictures(root)}
    if not paths:
        raise InputError(f"folder {root} holds no pictures; give a folder with .jpg, .png, .webp, ... files")
    queries: tuple[Query, ...] = ()
    labels = None
    if csv is not None:
        queries, labels = _read_csv(Path(csv), _name_index(paths))
    several = any(len(query.positives) > 1 for query in queries)
    protocol = BenchmarkProtocol(True, (1, 5, 10, 50), map_at=(5, 10, 50) if several else (), gallery="every picture in the folder")
    pictures = picture_set(paths, lambda image_id: paths[image_id])
    return Benchmark("folder", "all", queries, pictures, pictures, protocol, labels=labels)


def _name_index(paths: Mapping[str, Path]) -> dict[str, list[str]]:
    """Every name by which a picture may be called, to the ids that it could mean."""
    index: dict[str, list[str]] = {}
    for image_id in paths:
        short = PurePosixPath(image_id)
        for name in {image_id, short.name, short.stem}:
            index.setdefault(name, []).append(image_id)
    return index


def _read_csv(path: Path, names: Mapping[str, list[str]]) -> tuple[tuple[Query, ...], dict[str, dict[str, str]] | None]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv_format.DictReader(file, strict=True)
            columns = [column.strip() for column in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv_format.Error) as error:
        raise InputError(f"{path} cannot be read ({error}); give a CSV in UTF-8 with a header line") from None
    for line, row in rows:
        if None in row or None in row.values():
            raise InputError(f"{path}, line {line}: {len(columns)} columns expected as in the header; quote cells that hold commas")
    if set(QUERY_COLUMNS) <= set(columns):
        return tuple(_query(path, line, number, row, names) for number, (line, row) in enumerate(rows)), None
    if "image" in columns:
        return (), _labels(path, rows, names)
    given = ", ".join(columns) or "none"
    raise InputError(f"{path} has the columns {given}; give 'image' and labels, or 'reference', 'text' and perhaps 'target'")


def _query(path: Path, line: int, number: int, row: Mapping[str, str], names: Mapping[str, list[str]]) -> Query:
    text = row["text"].strip()
    if not text:
        raise InputError(f"{path}, line {line}: the text is empty; write what should change")
    positives = tuple(_resolve(path, line, cell, names) for cell in row.get("target", "").split("|") if cell.strip())
    return Query(f"{number}", _resolve(path, line, row["reference"], names), text, tuple(dict.fromkeys(positives)))


def _labels(path: Path, rows: list[tuple[int, dict[str, str]]], names: Mapping[str, list[str]]) -> dict[str, dict[str, str]]:
    labels: dict[str, dict[str, str]] = {}
    for line, row in rows:
        image_id = _resolve(path, line, row["image"], names)
        if image_id in labels:
            raise InputError(f"{path}, line {line}: picture {image_id!r} has a second line of labels; give one line per picture")
        labels[image_id] = {column: cell.strip() for column, cell in row.items() if column != "image" and cell.strip()}
    return labels


def _resolve(path: Path, line: int, cell: str, names: Mapping[str, list[str]]) -> str:
    name = cell.strip().removeprefix("./")
    found = names.get(name, [])
    if name in found:
        return name
    if len(found) > 1:
        raise InputError(f"{path}, line {line}: {name!r} could be {found[0]} or {found[1]}; write the path below the folder")
    if not found:
        raise InputError(f"{path}, line {line}: picture {name!r} is not in the folder; correct the name or add the picture")
    return found[0]
