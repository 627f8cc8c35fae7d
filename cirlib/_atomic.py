"""Files that are either whole or absent: write beside the target, then rename. Floor 0."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to; it takes the place of `path` when the block ends well, and vanishes when it does not.

    Missing parent folders are made. The temporary name keeps the suffix of `path`, because `np.savez` and `savefig` look at it, and lies
    beside `path`, because only a rename within one file system is atomic. A reader sees the old file or the new one, never half of one.

    Args:
        path: File to write or replace.

    Yields:
        Path to write to. Nothing lies there yet.

    Raises:
        FileNotFoundError: If the block ended without writing the file.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     target = Path(folder, "new", "numbers.txt")
        ...     with atomic_path(target) as draft:
        ...         written = draft.write_text("1 2 3")
        ...     target.read_text(), [p.name for p in target.parent.iterdir()]
        ('1 2 3', ['numbers.txt'])
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    # Each writer has its own draft folder, so that two processes writing the same file never meet.
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    draft = folder / f"draft{suffix}"
    try:
        yield draft
        with open(draft, "rb") as written:
            os.fsync(written.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
        folder.rmdir()


def atomic_write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write `text` as UTF-8 to `path` in one piece. Returns the path."""
    with atomic_path(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return Path(path)
