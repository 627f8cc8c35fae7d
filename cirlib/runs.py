"""A run: seeds, where its results go, and where its numbers come from. Every results file carries its provenance."""

import json
import math
import os
import platform
import random
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from cirlib import __version__
from cirlib._atomic import atomic_path, atomic_write_text
from cirlib.config import PROFILES, find_root
from cirlib.types import InputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FIGURE_DPI = 150
NAMED_PACKAGES = ("torch", "torchvision", "open_clip_torch", "transformers", "diffusers", "faiss-cpu", "numpy", "pillow")


@dataclass(frozen=True)
class Run:
    """One execution of a notebook or script, made by `start_run`.

    Attributes:
        name: Name of the notebook or script; its metrics file is named so.
        profile: "smoke", "mini" or "full".
        seed: Seed that everything random was started with.
        device: Where tensors live.
        folder: `<out_dir>/<profile>`; every file of the run lies below it.
        provenance: Commit, versions, device, date and the rest: see `provenance`.
    """

    name: str
    profile: str
    seed: int
    device: torch.device
    folder: Path
    provenance: Mapping[str, Any]
    _started: float = field(default_factory=time.perf_counter, repr=False)

    def path(self, *parts: str) -> Path:
        """File below the results folder of this run, with its parent folders made: `run.path("ranks", "sum.npz")`."""
        path = self.folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def save_metrics(self, metrics: Mapping[str, Any]) -> Path:
        """Write `metrics/<name>.json`: the numbers of this run with their provenance. A run has one such file; saving again replaces it.

        Args:
            metrics: Numbers, texts, lists and nested mappings of them; fractions in [0, 1], other units in the key (`_ms`).

        Raises:
            InputError: For a value that JSON cannot hold, named by its key. NaN and infinity are such values.
        """
        origin = {**self.provenance, "wall_s": round(time.perf_counter() - self._started, 2)}
        content = {"name": self.name, "metrics": _plain(metrics, self.name), "provenance": origin}
        return atomic_write_text(self.folder / "metrics" / f"{self.name}.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def read_metrics(self, name: str) -> dict[str, Any]:
        """Metrics that another notebook saved in the same profile; raises InputError saying which notebook to run when there are none."""
        path = self.folder / "metrics" / f"{name}.json"
        if not path.is_file():
            raise InputError(f"{path} is not here; run notebook {name} in profile {self.profile} first, or all with make results")
        return json.loads(path.read_text(encoding="utf-8"))["metrics"]

    def save_figure(self, figure: "Figure", name: str) -> Path:
        """Write `figures/<name>.png` at 150 dpi. Returns its path."""
        path = self.path("figures", f"{name}.png")
        with atomic_path(path) as draft:
            figure.savefig(draft, dpi=FIGURE_DPI, bbox_inches="tight", metadata={"Description": self._origin_line()})
        return path

    def save_table(self, table: "pd.DataFrame", name: str, *, percent: bool = False, shown: "pd.DataFrame | None" = None) -> Path:
        """Write `tables/<name>.csv` (fractions) and `tables/<name>.md` (for reading). Returns the path of the CSV.

        Args:
            table: Rows and columns; an index without a name is not written.
            name: File name without suffix.
            percent: Show the float columns of the Markdown file times 100 with two decimals.
            shown: What the Markdown file shows instead, where a table for reading has another shape than the numbers.
        """
        index = any(label is not None for label in table.index.names)
        path = self.path("tables", f"{name}.csv")
        with atomic_path(path) as draft:
            table.to_csv(draft, index=index)
        if shown is None:
            shown = table.reset_index() if index else table
        atomic_write_text(path.with_suffix(".md"), f"{_markdown(shown, percent)}\n<!-- {self._origin_line()} -->\n")
        return path

    def _origin_line(self) -> str:
        told = ("commit", "dirty", "device_name", "date")
        return f"{self.name}, profile {self.profile}, seed {self.seed}, " + ", ".join(f"{key} {self.provenance[key]}" for key in told)


def start_run(
    name: str,
    profile: str = "mini",
    *,
    seed: int = 0,
    device: str = "auto",
    out_dir: str | os.PathLike[str] = "../results",
    quiet: bool = False,
) -> Run:
    """Begin a run: seed everything, choose the device, say in three lines what runs where.

    Args:
        name: Name of the notebook or script.
        profile: "smoke", "mini" or "full".
        seed: Seed of Python, NumPy and torch.
        device: "auto" (CUDA if there is one, else the CPU), "cpu", "cuda", "cuda:1", "mps".
        out_dir: Folder of all results, relative to the working folder; the run writes to `<out_dir>/<profile>`.
        quiet: Print nothing.

    Raises:
        InputError: For an unknown profile or device.
    """
    if profile not in PROFILES:
        raise InputError(f"profile {profile!r} is not known; use {', '.join(PROFILES)}")
    chosen = choose_device(device)
    seed_everything(seed)
    origin = {"name": name, "profile": profile, "seed": seed, **provenance(chosen)}
    run = Run(name, profile, seed, chosen, Path(out_dir) / profile, origin)
    if not quiet:
        changed = " with local changes" if origin["dirty"] else ""
        versions = ", ".join(f"{package} {version}" for package, version in origin["packages"].items() if package != "pillow")
        print(f"{name}: profile {profile}, seed {seed}, on {origin['device_name']}, {origin['date']}")
        print(f"cirlib {__version__}, commit {origin['commit'][:10]}{changed}; Python {origin['python']}, {versions}")
        print(f"Results go to {run.folder.as_posix()}/")
    return run


def seed_everything(seed: int) -> torch.Generator:
    """Seed Python, NumPy's legacy generator and torch (every device). Returns a fresh CPU generator with the same seed.

    Call it right before a cell that draws random numbers, so that the cell gives the same result whatever ran before it. NumPy code should
    make its own `np.random.default_rng(seed)`.

    Example:
        >>> first = torch.rand(2, generator=seed_everything(3))
        >>> bool((first == torch.rand(2, generator=seed_everything(3))).all())
        True
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries that we call still draw from it
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def choose_device(device: str = "auto") -> torch.device:
    """Turn "auto", "cpu", "cuda", "cuda:1" or "mps" into a device that is there; raises InputError where it is not."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise InputError(f"device {device!r} is not known; use auto, cpu, cuda, cuda:1 or mps") from None
    present = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(chosen.type, 0)
    if (chosen.index or 0) >= present:
        raise InputError(f"device {device!r} is not on this machine, which has {present} of that kind; use auto or cpu")
    return chosen


def provenance(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Where numbers come from: commit, uncommitted changes, versions, device and date.

    Outside a git checkout `commit` is "unknown" and `dirty` false. Changes below `results/` do not count: a run makes them itself.
    """
    commit, dirty = _git_state()
    device = torch.device(device)
    return {
        "commit": commit,
        "dirty": dirty,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{cpu_name()} ({torch.get_num_threads()} threads)",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {package: _version(package) for package in NAMED_PACKAGES},
    }


def cpu_name() -> str:
    """Model name of the processor, or its architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return " ".join((names[0] if names else platform.processor() or platform.machine()).split())


def _git_state() -> tuple[str, bool]:
    try:
        root = find_root()
        git = ["git", "-C", str(root)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        status = subprocess.run([*git, "status", "--porcelain", "--", ".", ":!results"], capture_output=True, text=True, check=True).stdout
    except (InputError, OSError, subprocess.CalledProcessError):
        return "unknown", False
    return commit, bool(status.strip())


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _plain(value: Any, where: str) -> Any:
    """The same value in types that JSON has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{position}]") for position, item in enumerate(value)]
    if isinstance(value, np.ndarray | torch.Tensor):
        return _plain(value.tolist(), where)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"metric {where} is {value}; only finite numbers can be saved, leave it out or say why it is undefined")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(f"metric {where} is a {type(value).__name__}; use numbers, texts, lists and mappings")


def _markdown(table: "pd.DataFrame", percent: bool) -> str:
    """A Markdown table; numbers to the right, a bar in a cell escaped."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return f"{100 * value:.2f}" if percent else f"{value:.4g}"
        return str(value).replace("|", "\\|")

    rule = ["---:" if getattr(dtype, "kind", "") in "fiu" else "---" for dtype in table.dtypes]
    rows = [
        [cell(str(column)) for column in table.columns],
        rule,
        *([cell(value) for value in row] for row in table.itertuples(index=False)),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
