"""Triton for tests: on the GPU where there is one, otherwise interpreted. Without Triton, tests that import this are skipped.

Whether kernels are interpreted is settled when Triton is imported, once a process: here, while test modules are collected. Other processes
that a test starts compile as usual.
"""

import os
import sys

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def _load() -> None:
    """Decorate the kernels and launch one: some of Triton's modules are imported at the first launch."""
    from cirlib.kernels.triton_kernels import load
    from cirlib.kernels.triton_scan import group_maxima

    kind = type(load()["products"]).__name__
    assert DEVICE == "cuda" or kind == "InterpretedFunction", f"Triton was imported before, kernels are {kind}; import triton_here first"
    group_maxima(*torch.zeros(2, 1, 16, device=DEVICE))


if DEVICE == "cpu" and "triton" not in sys.modules:
    os.environ["TRITON_INTERPRET"] = "1"
try:
    pytest.importorskip("triton", reason="Triton is not installed: pip install -r requirements-kernels.lock", exc_type=ImportError)
    _load()
finally:
    os.environ.pop("TRITON_INTERPRET", None)
