"""Is this machine ready? Versions, device, memory, disk, checkpoints and data, each as one finding."""

import hashlib
import json
import os
import shutil
import statistics
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import torch
from packaging.requirements import Requirement

from cirlib import _torchvision
from cirlib.runs import cpu_name

MINIMUM_PYTHON = (3, 11)
MINIMUM_MEMORY_GIB = 4.0  # the mini profile peaks at about 3
MINIMUM_DISK_GIB = 2.0  # drawn pictures, caches and results of the mini profile
BENCHMARKS = ("fashioniq", "cirr", "circo", "genecis", "dfmm")
EXTRAS = {"notebooks": "runs the notebooks", "kernels": "runs the GPU kernels", "bench": "peers of benchmarks", "dev": "runs the tests"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        state: "OK"; "FAIL" when the mini profile cannot run so; "--" when something is absent that not everybody needs.
        name: What was looked at.
        detail: What was found and, unless it is well, what to do.
    """

    state: Literal["OK", "FAIL", "--"]
    name: str
    detail: str

    def __str__(self) -> str:
        return f"{f'[{self.state}]':<6} {self.name:<18} {self.detail}"


def check_environment(root: Path) -> list[Finding]:
    """Look at everything that the notebooks rely on. Nothing is changed, nothing is downloaded.

    Args:
        root: Folder of the project; checkpoints and data are looked for in its `data/`.

    Returns:
        Findings in reading order: Python, packages, device, memory, disk, checkpoints, data.
    """
    return [_python(), *_packages(), _torchvision_state(), _device(), _memory(), _disk(root), *_checkpoints(root), *_data(root)]


def measure_matmul_gflops(rows: int, device: torch.device | str = "cpu", repeats: int = 9) -> float:
    """Speed of a product of two square fp32 matrices: 2 * rows**3 operations over the median time of `repeats` runs, in GFLOP/s.

    Args:
        rows: Side of the matrices.
        device: Where to multiply.
        repeats: Timed runs, after two that warm up.
    """
    device = torch.device(device)
    left, right = (torch.ones(rows, rows, device=device) for _ in range(2))
    seconds = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return 2 * rows**3 / statistics.median(seconds[2:]) / 1e9


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < MINIMUM_PYTHON:
        return Finding("FAIL", "python", f"{found}; 3.11 or newer is needed")
    return Finding("OK", "python", found)


def _packages() -> list[Finding]:
    try:
        declared = [Requirement(text) for text in metadata.requires("cirlib") or []]
    except metadata.PackageNotFoundError:
        return [Finding("FAIL", "cirlib", "is not installed; run make setup, or pip install -e .")]
    return [_package(requirement) for requirement in declared]


def _package(requirement: Requirement) -> Finding:
    extra = next((name for name in EXTRAS if f'extra == "{name}"' in str(requirement.marker)), "")
    try:
        found = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        if extra:
            return Finding("--", requirement.name, f"is not installed; {EXTRAS[extra]}: pip install 'cirlib[{extra}]'")
        return Finding("FAIL", requirement.name, f"is not installed; {requirement.specifier} is needed, run make setup")
    if not requirement.specifier.contains(found, prereleases=True):
        return Finding("FAIL", requirement.name, f"{found}; {requirement.specifier} is needed, run make setup")
    return Finding("OK", requirement.name, found)


def _torchvision_state() -> Finding:
    state = _torchvision.prepare()
    try:
        import torchvision  # noqa: F401 - the question is whether it can be imported
    except (ImportError, RuntimeError) as error:
        return Finding("FAIL", "torch+torchvision", f"do not fit together ({error}); run make setup")
    if state == "declared":
        return Finding(
            "OK",
            "torch+torchvision",
            "CPU torch beside CUDA torchvision: what cirlib uses works, compiled operators do not",
        )
    return Finding("OK", "torch+torchvision", "fit together")


def _device() -> Finding:
    if not torch.cuda.is_available():
        return Finding("OK", "device", f"CPU: {cpu_name()}, {os.cpu_count()} cores, torch uses {torch.get_num_threads()}")
    names = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return Finding("OK", "device", ", ".join(f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB" for gpu in names))


def _memory() -> Finding:
    try:
        gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError, AttributeError):
        return Finding("--", "memory", "this system does not tell")
    state = "OK" if gib >= MINIMUM_MEMORY_GIB else "FAIL"
    return Finding(state, "memory", f"{gib:.1f} GiB" + ("" if state == "OK" else f"; {MINIMUM_MEMORY_GIB:.0f} GiB are needed"))


def _disk(root: Path) -> Finding:
    gib = shutil.disk_usage(root).free / 2**30
    state = "OK" if gib >= MINIMUM_DISK_GIB else "FAIL"
    return Finding(state, "disk", f"{gib:.1f} GiB free" + ("" if state == "OK" else f"; {MINIMUM_DISK_GIB:.0f} GiB are needed"))


def _checkpoints(root: Path) -> list[Finding]:
    folders = sorted(path for path in (root / "data" / "checkpoints").glob("*") if path.is_dir() and any(path.iterdir()))
    if not folders:
        return [Finding("--", "checkpoints", "data/checkpoints is empty; notebooks from 02 on need the shipped miniature checkpoints")]
    return [_checkpoint(folder) for folder in folders]


def _checkpoint(folder: Path) -> Finding:
    """Compare each file that the card names with its checksum: half a download or a Git LFS pointer shows here, not in a notebook."""
    name, again = f"checkpoint {folder.name}", "restore it with: git checkout -- " + f"data/checkpoints/{folder.name}"
    try:
        sums = dict(json.loads((folder / "card.json").read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return Finding("FAIL", name, f"has no card.json with a sha256 for each file; {again}")
    for file, expected in sums.items():
        try:
            with open(folder / file, "rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError:
            return Finding("FAIL", name, f"lacks {file}; {again}")
        if found != expected:
            return Finding("FAIL", name, f"{file} has sha256 {found[:12]}..., its card says {expected[:12]}...; {again}")
    return Finding("OK", name, f"{len(sums)} file{'s' * (len(sums) != 1)} as on the card")


def _data(root: Path) -> list[Finding]:
    findings = []
    for name in BENCHMARKS:
        files = [path for path in (root / "data" / name).glob("*") if path.name != "README.md"]
        if files:
            findings.append(Finding("OK", f"data {name}", f"is there; look inside: cirlib data verify {name} --root data/{name}"))
        else:
            findings.append(Finding("--", f"data {name}", f"is not here; only profile full needs it: cirlib data fetch {name}"))
    return findings
