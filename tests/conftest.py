"""Settings and fixtures of every test."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):  # `make test`: the workers share the cores, and so do their threads
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))  # read when torch is imported

settings.register_profile("cirlib", deadline=None)  # a busy machine is no reason to fail
settings.load_profile("cirlib")


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """Root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder with official annotations, photographs and golden values; the test is skipped where it is absent.

    They lie outside the repository because their licences differ from ours: `CIRLIB_SHARED`, or `shared` beside the checkout.
    """
    path = Path(os.environ.get("CIRLIB_SHARED", ROOT.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"official annotations, photographs and golden values are not here ({path}); set CIRLIB_SHARED to their folder")
    return path


@pytest.fixture(autouse=True)
def no_accelerator_left():
    """Accelerate remembers the precision of a process's first training and refuses another one; each test starts without that memory."""
    yield
    state = sys.modules.get("accelerate.state")
    if state is not None:
        state.AcceleratorState._reset_state(reset_partial_state=True)
