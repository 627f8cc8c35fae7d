"""Ablations come from tables and rankings, and say which notebook is missing."""

import numpy as np
import pandas as pd
import pytest

from cirlib.ablations import ROWS, Ranked, Saved, ablation_table
from cirlib.evaluation.intervals import paired_interval
from cirlib.types import InputError, Report

FACTS = {"benchmark": "atelier", "split": "test", "protocol": {}, "version": "1", "gallery_size": 9, "part": ""}


def report(method, values, seed=0):
    ids = tuple(f"q{number}" for number in range(len(values)))
    ranks = np.ones(len(values), np.int64)
    return Report(method, ids, ranks, {"recall@10": np.asarray(values, float)}, np.zeros((len(values), 1), int), {**FACTS, "seed": seed})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tables").mkdir()
    rows = [("negatives help", "R@10", 0.02, 0.01, 0.03), ("negatives help", "AC@10", -0.02, -0.03, 0.01)]
    pd.DataFrame(rows, columns=["claim", "measure", "mean", "low", "high"]).to_csv(tmp_path / "tables" / "04_claims.csv")
    return tmp_path


SAVED = Saved("04_pix2key", "avoids", "ac@10", "04_claims", "claim", "negatives help", "AC@10")
RANKED = Ranked("08_composing", "stage 2", "recall@10", "two", "one")


def test_rows_keep_their_order_and_their_numbers(folder):
    rng = np.random.default_rng(0)
    one, two = rng.integers(0, 2, 30), rng.integers(0, 2, (2, 30))
    rankings = {"atelier-test": [report("one", one), report("two", two[0]), report("two", two[1], 1)]}
    found = ablation_table(folder, rankings, [RANKED, SAVED], resamples=500)
    expected = paired_interval(two.mean(0), one.astype(float), resamples=500)
    assert found.iloc[0, :3].tolist() == ["08_composing", "stage 2", "recall@10"]
    assert found.iloc[0, 3:6].tolist() == [expected.mean, expected.low, expected.high]
    assert found.iloc[1].tolist() == ["04_pix2key", "avoids", "ac@10", -0.02, -0.03, 0.01, "inconclusive"]


def test_what_is_missing_is_named(folder):
    with pytest.raises(InputError, match="run notebook 08_composing"):
        ablation_table(folder, {}, [RANKED])
    with pytest.raises(InputError, match=r"06_parts.csv is not here; run notebook 06"):
        ablation_table(folder, {}, [Saved("06_dqe_cir", "x", "y", "06_parts", "method", "z")])
    with pytest.raises(InputError, match="has 2 rows of 'negatives help'"):
        ablation_table(folder, {}, [Saved("04_pix2key", "avoids", "ac@10", "04_claims", "claim", "negatives help")])


def test_the_page_is_sorted_by_notebook_and_names_no_part_twice():
    assert [row.notebook for row in ROWS] == sorted(row.notebook for row in ROWS)
    assert len({(row.notebook, row.part, row.metric) for row in ROWS}) == len(ROWS)
