"""What the cards of all shipped checkpoints have in common: training, measurements, and a checksum for each file. Floor 0."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cirlib._atomic import atomic_write_text

CARD_FILES = ("card.json", "README.md")  # written here, so they have no checksum on the card


def write_checkpoint_card(folder: Path, facts: dict[str, Any], metrics: dict[str, Any], readme: Callable[[dict[str, Any]], str]) -> None:
    """Write `card.json` and `README.md` of a checkpoint folder from its `training.json` and fresh measurements.

    Args:
        folder: Of the checkpoint; every file in it and in its folders gets a checksum.
        facts: Name, class and data.
        metrics: What was measured.
        readme: Says the card in Markdown.
    """
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in CARD_FILES)
    sums = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    card = {**facts, "training": training, "metrics": metrics, "sha256": sums}
    atomic_write_text(folder / "card.json", json.dumps(card, indent=1) + "\n")
    atomic_write_text(folder / "README.md", readme(card))
