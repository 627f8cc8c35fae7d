"""Rankings and methods among the results of a profile: one place that every notebook writes them to, and that others read.

`<profile>/ranks` holds reports query by query, `<profile>/models` a folder per tuned or trained method, which `cirlib.suite` loads again.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cirlib._atomic import atomic_write_text
from cirlib.evaluation.report import load_report, save_report
from cirlib.runs import Run
from cirlib.types import InputError, Report

SETTINGS = "settings.json"


def benchmark_key(report: Report) -> str:
    """Name of the benchmark that a report answers: "atelier-test", "fashioniq-val-dress"."""
    parts = (report.fingerprint["benchmark"], report.fingerprint["split"], report.fingerprint.get("part", ""))
    return "-".join(part for part in parts if part)


def save_ranking(run: Run, report: Report, seed: int = 0) -> Path:
    """Write `ranks/<benchmark key>/<method>-seed<seed>.npz` of a run, and its `.json` for reading.

    Args:
        run: The run that made the report.
        report: What `evaluate` returned. A report of the same benchmark, split, method and seed is replaced.
        seed: Seed of whatever was random in the method; methods without randomness use 0.
    """
    return save_report(report, run.path("ranks", benchmark_key(report), f"{method_slug(report.method)}-seed{seed}.npz"))


def load_rankings(folder: Path) -> Mapping[str, list[Report]]:
    """Every report below `<folder>/ranks`, by benchmark key, in the order of file names.

    Args:
        folder: Results of one profile, `run.folder`.

    Raises:
        InputError: If there is none, or a file is no report.
    """
    files = sorted((folder / "ranks").glob("*/*.npz"))
    if not files:
        raise InputError(
            f"no rankings below {folder / 'ranks'}; run a notebook that evaluates methods first, such as 02_embeddings_and_baselines"
        )
    found: dict[str, list[Report]] = {}
    for file in files:
        found.setdefault(file.parent.name, []).append(load_report(file))
    return found


def method_slug(name: str) -> str:
    """Name of a method as files and folders have it; raises InputError where nothing is left of it.

    Example:
        >>> method_slug("Pix2Key, no MMR")
        'pix2key-no-mmr'
    """
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not slug:
        raise InputError(f"method name {name!r} has no letter or digit to name a file by; rename the method")
    return slug


def model_folder(models: Path, name: str, seed: int = 0) -> Path:
    """Folder of a tuned or trained method, which need not be there: named by the method, with the seed behind it if it is not 0.

    Args:
        models: Of a profile, `run.folder / "models"`.
        name: Of the method, as its rankings are called.
        seed: Of its training.

    Example:
        >>> model_folder(Path("models"), "Pic2Word", seed=1).as_posix()
        'models/pic2word-seed1'
    """
    return models / (f"{method_slug(name)}-seed{seed}" if seed else method_slug(name))


def save_settings(run: Run, name: str, settings: Mapping[str, Any]) -> Path:
    """Write `models/<method>/settings.json`: the numbers that a run tuned for a method. Returns the file.

    Args:
        run: The run that tuned them.
        name: Of the method, as its rankings are called.
        settings: By name, as JSON can hold them. Floats come back as the very same numbers.
    """
    told = {"method": name, "tuned_by": run.name, "settings": dict(settings)}
    return atomic_write_text(model_folder(run.folder / "models", name) / SETTINGS, json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def load_settings(models: Path, name: str) -> dict[str, Any] | None:
    """What `save_settings` wrote for a method, or None where nothing was saved.

    Args:
        models: Of a profile.
        name: Of the method.

    Raises:
        InputError: If the file is damaged.
    """
    file = model_folder(models, name) / SETTINGS
    if not file.is_file():
        return None
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))["settings"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} holds no settings ({error!r}); delete it, or run the notebook again that tunes {name}") from error
