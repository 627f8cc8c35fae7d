"""Numbers that others have published, each with its source, the protocol, and how we know it.

Only what was read stands here: "paper" is a table of the paper that `source` names (which may report another method), "second-hand" a table
of third parties that nobody held against the paper, "summary" a text about a paper whose body could not be read. Numbers are kept in
percent, as they are printed, and handed out as fractions.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from cirlib.types import InputError

BENCHMARKS = ("fashioniq", "cirr", "circo")
READ = ("paper", "second-hand", "summary")


@dataclass(frozen=True)
class PublishedRow:
    """One method in one published table.

    Attributes:
        method: As its authors call it.
        setting: "zero-shot", "trained on it", "trained on CIRR".
        backbone: Encoder, "not said" where our source does not tell.
        values: Metric to fraction; FashionIQ's categories as "dress/recall@10", their mean as "recall@10".
        source: Where the numbers stand.
        read: One of `READ`.
    """

    method: str
    setting: str
    backbone: str
    values: Mapping[str, float]
    source: str
    read: str


@dataclass(frozen=True)
class PublishedTable:
    """Published numbers on one benchmark.

    Attributes:
        benchmark: Name of the benchmark.
        split: That they are on.
        protocol: What they mean, in words.
        rows: In the order of the file.
    """

    benchmark: str
    split: str
    protocol: str
    rows: tuple[PublishedRow, ...]


def load_published(benchmark: str) -> PublishedTable:
    """Published numbers on FashionIQ val, CIRR test1 or CIRCO test; raises InputError for another benchmark.

    Example:
        >>> table = load_published("fashioniq")
        >>> table.split, next(row.values["recall@10"] for row in table.rows if row.method == "Pix2Key")
        ('val', 0.2918)
    """
    if benchmark not in BENCHMARKS:
        raise InputError(f"no published numbers of {benchmark!r}; there are some of {', '.join(BENCHMARKS)}")
    told = json.loads(resources.files(__package__).joinpath(f"{benchmark}.json").read_text(encoding="utf-8"))
    return PublishedTable(**{**told, "rows": tuple(_row(row) for row in told["rows"])})


def _row(told: Mapping) -> PublishedRow:
    values = {metric: round(percent / 100, 6) for metric, percent in told["percent"].items()}
    return PublishedRow(values=values, **{key: value for key, value in told.items() if key != "percent"})
