"""Where files that can be made again are kept. Floor 0."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_SCRATCH: ContextVar[Path | None] = ContextVar("scratch", default=None)


def cache_dir(*parts: str) -> Path:
    """A folder under `CIRLIB_CACHE`, or under the user's cache folder where that is not set; made when missing."""
    root = os.environ.get("CIRLIB_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cirlib"
    folder = Path(_SCRATCH.get() or root).joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def scratch_cache() -> Iterator[Path]:
    """Within, `cache_dir` leads to an empty folder that is deleted at the end: for pictures of which nothing may be kept.

    Holds for the code of this thread (or task) alone. The folder lies in shared memory where the system has it, so that nothing reaches a
    disk. What a cache held before is not seen within.

    Example:
        >>> with scratch_cache() as folder:
        ...     cache_dir("clip").is_relative_to(folder)
        True
        >>> folder.exists()
        False
    """
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="cirlib-", dir=memory) as folder:
        token = _SCRATCH.set(Path(folder))
        try:
            yield Path(folder)
        finally:
            _SCRATCH.reset(token)
