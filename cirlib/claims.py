"""Claims of papers, tested: what was claimed, what we measured, and the verdict that the interval allows. Never typed, always computed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from cirlib.evaluation.intervals import Interval
from cirlib.types import InputError

Verdict = Literal["reproduced", "not reproduced", "inconclusive"]


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
