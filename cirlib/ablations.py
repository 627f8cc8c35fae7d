"""The ablations of all notebooks as one table of paired differences, read from what the notebooks saved.

A row is a part of a method, with minus without. It comes from a table of a notebook, where the notebook computed the paired interval
itself, or from saved rankings, where it is computed here, seeds of a query averaged first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cirlib.evaluation.comparisons import group_by_method, pooled, verdict
from cirlib.evaluation.intervals import Interval, paired_interval
from cirlib.evaluation.report import check_comparable
from cirlib.types import InputError, Report

COLUMNS = ("notebook", "part", "metric", "mean", "low", "high", "verdict")


@dataclass(frozen=True)
class Saved:
    """A paired difference that a notebook saved.

    Attributes:
        notebook: Its name.
        part: What is added, as the page shows it.
        metric: Of what the difference is.
        table: File below `tables`, without its ending.
        column: Where the row is named.
        row: Its name there.
        measure: Value of the column "measure" that the row must also have; empty for none.
    """

    notebook: str
    part: str
    metric: str
    table: str
    column: str
    row: str
    measure: str = ""


@dataclass(frozen=True)
class Ranked:
    """A paired difference of two methods whose rankings were saved: `method` minus `without`."""

    notebook: str
    part: str
    metric: str
    method: str
    without: str


def _claim(notebook: str, part: str, metric: str, row: str, measure: str) -> Saved:
    return Saved(notebook, part, metric, f"{notebook[:2]}_claims", "claim", row, measure)


_02, _04, _05 = "02_embeddings_and_baselines", "04_pix2key", "05_v_dict_ae"
_06, _07, _08 = "06_dqe_cir", "07_pseudo_words", "08_composing"
TEST = "atelier-test"
ROWS: tuple[Saved | Ranked, ...] = (
    Ranked(_02, "text, added to the image", "recall@10", "sum", "image only"),
    Ranked(_02, "image, added to the text", "recall@10", "sum", "text only"),
    Ranked(_02, "arc in the place of the chord (slerp)", "recall@10", "slerp", "sum"),
    _claim(_04, "anchors", "recall@50", "anchors raise recall", "R@50, with minus without anchors"),
    _claim(_04, "avoids, without anchors", "recall@50", "negatives raise recall", "R@50, wants + avoids minus wants"),
    _claim(_04, "avoids, without anchors", "ac@10", "negatives raise AC", "AC@10, wants + avoids minus wants"),
    Ranked(_04, "MMR", "recall@10", "Pix2Key", "Pix2Key, no MMR"),
    Ranked(_04, "MMR", "ild@10", "Pix2Key", "Pix2Key, no MMR"),
    Ranked(_04, "gallery of captions, not pictures", "recall@10", "caption rewrite, text gallery", "caption rewrite"),
    Ranked(_05, "V-Dict-AE's writer", "recall@10", "Pix2Key + V-Dict-AE", "Pix2Key"),
    _claim(
        _05,
        "drawing, beside the guard",
        "fact recall",
        "drawing improves dictionaries",
        "dictionary recall on val, against the guard alone",
    ),
    _claim(_05, "LoRA", "fact recall", "LoRA helps", "dictionary recall on val, with minus without"),
    _claim(_05, "depth 5", "fact recall", "depth 5 beats others", "dictionary recall on val, depth 5 minus the other depth"),
    Saved(_06, "attribute weights, scalar", "recall@10", "06_parts", "method", "scalar minus none"),
    Saved(_06, "attribute weights, gated", "recall@10", "06_parts", "method", "gated minus none"),
    Saved(_06, "mid-zone, not steepest drops", "recall@10", "06_parts", "method", "midzone minus steepest drops"),
    Saved(_06, "adaptive zone, not steepest drops", "recall@10", "06_parts", "method", "adaptive minus steepest drops"),
    Saved(_06, "random, not steepest drops", "recall@10", "06_parts", "method", "random minus steepest drops"),
    Saved(_06, "margin loss", "recall@10", "06_parts", "method", "+ margin loss"),
    Saved(_06, "attribute loss", "recall@10", "06_parts", "method", "+ attribute loss"),
    _claim(_07, "injection", "recall@10", "injection helps", "R@10 on atelier test, ablation"),
    _claim(_07, "soft alignment", "recall@10", "soft alignment helps", "R@10 on atelier test, ablation"),
    Ranked(_08, "stage 2, exact triplets", "recall@10", "Map-to-Compose", "Map-to-Compose stage 1"),
    Ranked(_08, "stage 2, template triplets", "recall@10", "Map-to-Compose, template triplets", "Map-to-Compose stage 1"),
    Ranked(_08, "stage 1's injection, under stage 2", "recall@10", "Map-to-Compose", "Map-to-Compose, no injection"),
    Ranked(_08, "stage 2, on Pic2Word", "recall@10", "Pic2Word + stage 2", "Pic2Word"),
    Ranked(_08, "stage 2, on SEARLE", "recall@10", "SEARLE + stage 2", "SEARLE"),
    Ranked(_08, "stage 2, on LinCIR", "recall@10", "LinCIR + stage 2", "LinCIR"),
)


def ablation_table(
    folder: Path, rankings: Mapping[str, Sequence[Report]], rows: Sequence[Saved | Ranked] = ROWS, *, resamples: int = 10_000
) -> pd.DataFrame:
    """Every row, in the order of the notebooks.

    Args:
        folder: Results of one profile, `run.folder`.
        rankings: Reports by benchmark, from `cirlib.results.load_rankings`; those of atelier's test are used.
        rows: What to show.
        resamples: Of the intervals that are computed here.

    Returns:
        Columns notebook, part, metric, mean, low, high, verdict; differences as fractions. The verdict is that of
        `cirlib.evaluation.comparisons.verdict`.

    Raises:
        InputError: If a table, a row of it, or a ranking is not there; it says which notebook to run.
    """
    groups = group_by_method(rankings.get(TEST, ()))
    found = []
    for row in rows:
        gap = _saved(folder, row) if isinstance(row, Saved) else _ranked(groups, row, resamples)
        found.append((row.notebook, row.part, row.metric, gap.mean, gap.low, gap.high, verdict(gap)))
    return pd.DataFrame(found, columns=list(COLUMNS))


def _saved(folder: Path, row: Saved) -> Interval:
    path = folder / "tables" / f"{row.table}.csv"
    if not path.is_file():
        raise InputError(f"{path} is not here; run notebook {row.notebook} in this profile first, or all with make results")
    table = pd.read_csv(path)
    kept = table[table[row.column] == row.row]
    kept = kept[kept["measure"] == row.measure] if row.measure else kept
    if len(kept) != 1:
        raise InputError(
            f"{path} has {len(kept)} rows of {row.row!r} ({row.measure or 'any measure'}), not one; run notebook {row.notebook} again"
        )
    return Interval(*(float(kept[name].iloc[0]) for name in ("mean", "low", "high")))


def _ranked(groups: Mapping[str, Sequence[Report]], row: Ranked, resamples: int) -> Interval:
    absent = [name for name in (row.method, row.without) if name not in groups]
    if absent:
        raise InputError(f"no ranking of {absent[0]!r} on {TEST} is here; run notebook {row.notebook} in this profile first")
    check_comparable([*groups[row.method], *groups[row.without]])
    values = (pooled(groups[name], row.metric) for name in (row.method, row.without))
    return paired_interval(*values, resamples=resamples)
