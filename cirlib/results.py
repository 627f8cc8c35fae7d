"""Reports among the results of a profile: one place that every notebook writes its rankings to, and that the tables read."""

import re
from collections.abc import Mapping
from pathlib import Path

from cirlib.evaluation.report import load_report, save_report
from cirlib.runs import Run
from cirlib.types import InputError, Report


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
    slug = re.sub(r"[^a-z0-9]+", "-", report.method.lower()).strip("-")
    if not slug:
        raise InputError(f"method name {report.method!r} has no letter or digit to name a file by; rename the method")
    return save_report(report, run.path("ranks", benchmark_key(report), f"{slug}-seed{seed}.npz"))


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
