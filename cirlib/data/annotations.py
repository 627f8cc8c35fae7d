"""Annotation files, read with errors that name the file, the entry and the field."""

import gzip
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cirlib.types import InputError


def locate(root: str | os.PathLike[str], *candidates: str) -> Path:
    """The first of several usual places that exists below `root`.

    Raises:
        InputError: If `root` is no folder or none of the places exists; it names all of them.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"annotation folder {root} does not exist; give the folder that `cirlib data fetch` or `git clone` made")
    for candidate in candidates:
        if (root / candidate).is_file():
            return root / candidate
    raise InputError(f"{root} has no {' or '.join(candidates)}; fetch the annotations with `cirlib data fetch` or give another folder")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read JSON, gzipped where the name ends in .gz.

    Raises:
        InputError: If the file is absent, is not JSON (with line and column), or names one key twice: JSON would silently
            keep the last.
    """
    path = Path(path)
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            return json.load(file, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}; replace the file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; give a JSON file, or a .gz of one") from None
    except _RepeatedKey as error:
        raise InputError(f"{path} has the key {error} twice; every key may occur once") from None
    except (OSError, EOFError) as error:
        raise InputError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}); give a readable JSON file") from None


class _RepeatedKey(Exception):
    pass


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        raise _RepeatedKey(repr(next(key for key, _ in pairs if key in seen or seen.add(key))))
    return made


@dataclass(frozen=True)
class Entry:
    """One entry of an annotation file, with accessors that say where a field is wrong.

    Attributes:
        path: The file, for messages.
        number: Position in the file, from 0 as Python counts.
        fields: The JSON object.
        prefix: Name of the enclosing field, for messages.
    """

    path: Path
    number: int
    fields: Mapping[str, Any]
    prefix: str = ""

    def text(self, field: str, blank: bool = False) -> str:
        """A string, stripped; not empty unless `blank`."""
        value = self._get(field)
        if not isinstance(value, str) or not (blank or value.strip()):
            raise self.wrong(field, "a text that is not empty")
        return value.strip()

    def texts(self, field: str, count: int | None = None) -> tuple[str, ...]:
        """A list of strings, of `count` items where given. Items may be blank: real annotations have such captions."""
        value = self._get(field)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(field, "a list of texts")
        if count is not None and len(value) != count:
            raise self.wrong(field, f"a list of {count} texts")
        return tuple(value)

    def image_number(self, field: str) -> str:
        """An image id that the file writes as an integer, or as text of one; returned as text."""
        value = self._get(field)
        if not _is_image_number(value):
            raise self.wrong(field, "an image number")
        return str(int(value))

    def image_numbers(self, field: str) -> tuple[str, ...]:
        """A list of at least one image number, as texts."""
        value = self._get(field)
        if not isinstance(value, list) or not value or not all(_is_image_number(item) for item in value):
            raise self.wrong(field, "a list of image numbers")
        return tuple(str(int(item)) for item in value)

    def inside(self, field: str) -> "Entry":
        """The object in a field, with the same accessors."""
        value = self._get(field)
        if not isinstance(value, Mapping):
            raise self.wrong(field, "an object")
        return Entry(self.path, self.number, value, f"{self.prefix}{field}.")

    def objects(self, field: str) -> list["Entry"]:
        """The objects of a list of at least one."""
        value = self._get(field)
        if not isinstance(value, list) or not value or not all(isinstance(item, Mapping) for item in value):
            raise self.wrong(field, "a list of objects")
        return [Entry(self.path, self.number, item, f"{self.prefix}{field}[{i}].") for i, item in enumerate(value)]

    def numbers(self, field: str, count: int) -> tuple[float, ...]:
        """A list of `count` finite numbers."""
        value = self._get(field)
        plain = isinstance(value, list) and all(isinstance(item, int | float) and not isinstance(item, bool) for item in value)
        if not plain or len(value) != count or not all(abs(item) < float("inf") for item in value):
            raise self.wrong(field, f"{count} finite numbers")
        return tuple(value)

    def wrong(self, field: str, allowed: str) -> InputError:
        """The error for a field that does not hold what is allowed."""
        if field not in self.fields:
            return InputError(f"{self.path}, entry {self.number}: field {self.prefix + field!r} is absent; it must be {allowed}")
        given = json.dumps(self.fields[field], default=str)
        given = given if len(given) <= 60 else f"{given[:57]}..."
        return InputError(f"{self.path}, entry {self.number}: field {self.prefix + field!r} is {given}; it must be {allowed}")

    def _get(self, field: str) -> Any:
        return self.fields.get(field)


def _is_image_number(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool) and value >= 0) or (isinstance(value, str) and value.isdecimal())


def read_entries(path: str | os.PathLike[str]) -> list[Entry]:
    """Read a JSON list of objects.

    Raises:
        InputError: As `read_json`, or if the file holds something else; an item that is no object is named by its number.
    """
    path = Path(path)
    content = read_json(path)
    if not isinstance(content, list):
        raise InputError(f"{path} holds {type(content).__name__}; it must be a list of entries")
    for number, item in enumerate(content):
        if not isinstance(item, Mapping):
            raise InputError(f"{path}, entry {number}: {type(item).__name__} given; it must be an object with named fields")
    return [Entry(path, number, item) for number, item in enumerate(content)]


def read_image_list(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Image ids of a split file: a JSON list of names, or an object whose keys are names.

    Raises:
        InputError: As `read_json`, or if an item is no name or occurs twice.
    """
    content = read_json(path)
    if not isinstance(content, list | Mapping):
        raise InputError(f"{path} holds {type(content).__name__}; it must be a list of image names")
    seen: set[str] = set()
    for number, name in enumerate(content):
        if not isinstance(name, str) or not name:
            raise InputError(f"{path}, entry {number}: {name!r} given; it must be an image name")
        if name in seen:
            raise InputError(f"{path}, entry {number}: image {name!r} occurs twice; every image may occur once")
        seen.add(name)
    return tuple(content)
