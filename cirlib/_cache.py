"""Where files that can be made again are kept. Floor 0."""

import os
from pathlib import Path


def cache_dir(*parts: str) -> Path:
    """A folder under `CIRLIB_CACHE`, or under the user's cache folder where that is not set; made when missing."""
    root = os.environ.get("CIRLIB_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cirlib"
    folder = Path(root).joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
