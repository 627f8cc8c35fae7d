import pandas as pd
import pytest

from cirlib.claims import Claim, claims_table, shown_claims
from cirlib.evaluation.intervals import Interval
from cirlib.types import InputError


def claim(mean, low, high, above=0.0):
    return Claim("a beats b", "a paper, Table 1", "R@10, a minus b", Interval(mean, low, high), above)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (claim(0.02, 0.01, 0.03), "reproduced"),
        (claim(0.02, 0.0, 0.03), "inconclusive"),
        (claim(-0.02, -0.03, -0.01), "not reproduced"),
        (claim(0.0, 0.0, 0.0), "not reproduced"),
        (claim(-0.002, -0.004, 0.0, above=-0.01), "reproduced"),
        (claim(-0.012, -0.02, -0.005, above=-0.01), "inconclusive"),
        (claim(-0.03, -0.04, -0.02, above=-0.01), "not reproduced"),
    ],
)
def test_the_interval_decides(found, verdict):
    assert found.verdict == verdict


def test_a_table_has_a_row_per_claim_and_shows_points():
    table = claims_table([claim(0.02, 0.01, 0.03), claim(-0.002, -0.004, 0.001, above=-0.01)], "04_pix2key")
    assert list(table["verdict"]) == ["reproduced", "reproduced"] and set(table["notebook"]) == {"04_pix2key"}
    shown = shown_claims(table)
    assert list(shown["difference (points) [95 %]"]) == ["+2.0 [+1.0, +3.0]", "-0.2 [-0.4, +0.1]"]
    assert list(shown["holds if"]) == ["above 0", "above -1"]
    assert isinstance(shown, pd.DataFrame) and len(shown) == 2


def test_no_claims_are_refused():
    with pytest.raises(InputError, match="at least one"):
        claims_table([], "04_pix2key")
