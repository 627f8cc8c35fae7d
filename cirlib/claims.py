"""Claims of papers, tested: what was claimed, what we measured, and the verdict that the interval allows. Never typed, always computed.

Each notebook of a method saves its claims as `tables/NN_claims.csv`; `claims_page` puts all of them on one page, together with the claims
that need more than drawn garments and miniature checkpoints. Those stand in `untested_claims.json`, each with where it was read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

import pandas as pd

from cirlib._atomic import atomic_write_text
from cirlib.evaluation.intervals import Interval
from cirlib.types import InputError

Verdict = Literal["reproduced", "not reproduced", "inconclusive"]
PAPERS = ("Pix2Key", "DQE-CIR", "Map-to-Compose")
UNTESTABLE = "not testable here"


@dataclass(frozen=True)
class Claim:
    """One claim in a form that a difference can decide.

    Attributes:
        text: What is claimed, in our words.
        source: Where it stands ("Pix2Key, Table 2").
        measure: What the difference is of ("R@10 on atelier test, Pix2Key minus caption rewrite").
        difference: Our paired difference with its interval, as fractions.
        above: The claim holds if the difference lies above this: 0 for a gain, a small negative number for "costs at most".
    """

    text: str
    source: str
    measure: str
    difference: Interval
    above: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """ "reproduced" if the whole interval lies above the bar, "not reproduced" if none of it does, else "inconclusive".

        Example:
            >>> Claim("a is better", "a paper", "R@10", Interval(0.02, 0.01, 0.03)).verdict
            'reproduced'
        """
        if self.difference.low > self.above:
            return "reproduced"
        return "not reproduced" if self.difference.high <= self.above else "inconclusive"


def claims_table(claims: Sequence[Claim], notebook: str) -> pd.DataFrame:
    """One row per claim: claim, source, measure, mean, low, high, above, verdict, notebook; differences as fractions.

    Raises:
        InputError: If there are none.
    """
    if not claims:
        raise InputError("no claims given; a table of claims has at least one")
    rows = [
        {
            "claim": claim.text,
            "source": claim.source,
            "measure": claim.measure,
            "mean": claim.difference.mean,
            "low": claim.difference.low,
            "high": claim.difference.high,
            "above": claim.above,
            "verdict": claim.verdict,
            "notebook": notebook,
        }
        for claim in claims
    ]
    return pd.DataFrame(rows)


def shown_claims(table: pd.DataFrame) -> pd.DataFrame:
    """The table of `claims_table` for reading: the difference in points with its interval in one cell."""
    points = [f"{100 * row['mean']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]" for _, row in table.iterrows()]
    bars = [f"above {100 * value:+g}" if value else "above 0" for value in table["above"]]
    shown = table[["claim", "source", "measure"]].assign(points=points, bar=bars, verdict=table["verdict"])
    return shown.rename(columns={"points": "difference (points) [95 %]", "bar": "holds if"})


@dataclass(frozen=True)
class UntestedClaim:
    """A claim that this repository cannot decide in its profiles without downloads.

    Attributes:
        text: What is claimed, in our words.
        source: Where it stands ("Pix2Key, Table 1").
        read: How we know: "paper", "abstract", or "summary", written by others about a paper whose body we could not read.
        reason: What is missing here.
    """

    text: str
    source: str
    read: Literal["paper", "abstract", "summary"]
    reason: str


def untested_claims() -> tuple[UntestedClaim, ...]:
    """The claims of the three papers that are not testable here, in the order of the papers."""
    text = resources.files("cirlib").joinpath("untested_claims.json").read_text(encoding="utf-8")
    return tuple(UntestedClaim(**entry) for entry in json.loads(text))


def collect_claims(tables: Path) -> pd.DataFrame:
    """Every claim that notebooks have saved below a folder of tables, in the order of the notebooks; columns as in `claims_table`.

    Raises:
        InputError: If there is none, or a file is no table of claims.
    """
    files = sorted(tables.glob("[0-9][0-9]_claims.csv"))
    if not files:
        raise InputError(f"no tables of claims in {tables}; run the notebooks of the methods first, such as 04_pix2key")
    found = [pd.read_csv(file) for file in files]
    wanted = ["claim", "source", "measure", "mean", "low", "high", "above", "verdict", "notebook"]
    for file, table in zip(files, found, strict=True):
        if list(table.columns) != wanted:
            raise InputError(f"{file} has the columns {', '.join(table.columns)}; a table of claims has {', '.join(wanted)}")
    return pd.concat(found, ignore_index=True)


def claims_section(notebook: Path) -> str:
    """Number of the section of a notebook that saves its table of claims, "4.10"; raises InputError if none does."""
    section, table = "", f'"{notebook.stem[:2]}_claims"'
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and "save_table(" in source and table in source:
            return section
        section = next((line.split()[1] for line in source.splitlines()[::-1] if line.startswith("## ")), section)
    raise InputError(f"{notebook} saves no table {table}; its claims come from elsewhere")


def claims_page(claims: pd.DataFrame, sections: Mapping[str, str], profile: str, data: str) -> str:
    """All claims as one Markdown page, a table per paper; links lead from `results/<profile>/tables` to the notebooks.

    Args:
        claims: From `collect_claims`.
        sections: Notebook to the number of its section, from `claims_section`.
        profile: That was measured.
        data: What was measured on, in words.
    """
    untested = untested_claims()
    of_paper = {paper: claims[claims["source"].str.startswith(paper)] for paper in PAPERS}
    others = claims[~claims["source"].str.startswith(PAPERS)]
    tested = pd.concat(of_paper.values())
    counts = [f"{int((tested['verdict'] == verdict).sum())} {verdict}" for verdict in ("reproduced", "not reproduced", "inconclusive")]
    lines = [
        f"# Claims of the three papers, profile {profile}",
        "",
        f"{len(tested)} tested on {data}: {', '.join(counts)}. {len(untested)} more are {UNTESTABLE}.",
        "",
        "A verdict says whether a claim holds in our reconstruction, on this data and at this size; it does not judge the paper.",
        "It follows from the 95 % interval of the difference alone: all of it above the bar (0 unless told), none of it, or neither.",
        "Of DQE-CIR and Map-to-Compose we could read abstracts and summaries only; which rivals and which metric is then our reading.",
    ]
    head = ["| claim | where it stands | our measurement (points, 95 %) | verdict | where |", "|---|---|---|---|---|"]
    for title, part in (*of_paper.items(), ("Claims of others that we met, and our own", others)):
        lines += ["", f"## {title}", "", *head, *(_tested_row(row, sections) for _, row in part.iterrows())]
        lines += [_untested_row(claim) for claim in untested if claim.source.startswith(title)]
    return "\n".join(lines) + "\n"


def save_claims_page(tables: Path, notebooks: Path, profile: str, data: str, origin: str = "") -> Path:
    """Write `claims.md` beside the tables that it is made of. Returns its path.

    Args:
        tables: `results/<profile>/tables`.
        notebooks: Folder of the notebooks that saved them.
        profile: That was measured.
        data: What was measured on, in words.
        origin: A line about the run, kept as a comment at the end.
    """
    claims = collect_claims(tables)
    sections = {name: claims_section(notebooks / f"{name}.ipynb") for name in claims["notebook"].unique()}
    comment = f"\n<!-- {origin} -->\n" if origin else ""
    return atomic_write_text(tables / "claims.md", claims_page(claims, sections, profile, data) + comment)


def _tested_row(row: pd.Series, sections: Mapping[str, str]) -> str:
    measured = f"{row['measure']}: {100 * row['mean']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]"
    measured += f", holds above {100 * row['above']:+g}" if row["above"] else ""
    measured += ", no query differs" if row["low"] == row["high"] == 0 else ""
    where = f"[{row['notebook']}](../../../notebooks/{row['notebook']}.ipynb), {sections[row['notebook']]}"
    return f"| {row['claim']} | {row['source']} | {measured} | {row['verdict']} | {where} |"


def _untested_row(claim: UntestedClaim) -> str:
    source = f"{claim.source} (from a summary)" if claim.read == "summary" else claim.source
    return f"| {claim.text} | {source} | - | {UNTESTABLE}: {claim.reason} | |"
