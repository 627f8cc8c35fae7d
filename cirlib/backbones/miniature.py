"""The miniature checkpoints that come with the repository."""

from pathlib import Path

from cirlib.types import InputError

CHECKPOINTS = Path(__file__).resolve().parents[2] / "data" / "checkpoints"


def miniature_path(role: str) -> Path:
    """Folder of the shipped miniature checkpoint of a role ("clip").

    Raises:
        InputError: If it is not there.
    """
    folder = CHECKPOINTS / role
    if not folder.is_dir():
        raise InputError(f"the miniature checkpoint {role!r} is not at {folder}; work in a full checkout, or name a checkpoint of your own")
    return folder
