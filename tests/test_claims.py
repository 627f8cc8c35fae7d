import json

import pandas as pd
import pytest

from cirlib.claims import (
    PAPERS,
    UNTESTABLE,
    Claim,
    claims_page,
    claims_section,
    claims_table,
    collect_claims,
    save_claims_page,
    shown_claims,
    untested_claims,
)
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


def save(folder, number, claims):
    claims_table(claims, f"{number}_method").to_csv(folder / f"{number}_claims.csv", index=False)


@pytest.fixture
def tables(tmp_path):
    paper = {
        text: Claim(text, "Pix2Key, Table 2", "R@10", Interval(*found)) for text, found in {"a": (0.02, 0.01, 0.03), "b": (0, 0, 0)}.items()
    }
    save(tmp_path, "04", [paper["a"], paper["b"]])
    save(
        tmp_path,
        "08",
        [Claim("c", "Map-to-Compose, abstract", "R@1", Interval(0.0, -0.1, 0.1), -0.02), Claim("d", "ours", "R@5", Interval(1, 1, 1))],
    )
    return tmp_path


def test_claims_of_all_notebooks_come_in_order(tables):
    found = collect_claims(tables)
    assert list(found["claim"]) == ["a", "b", "c", "d"] and list(found["notebook"]) == ["04_method"] * 2 + ["08_method"] * 2


def test_the_page_has_every_claim_once_under_its_paper(tables):
    page = claims_page(collect_claims(tables), {"04_method": "4.10", "08_method": "8.2"}, "mini", "drawings")
    parts = dict(part.split("\n", 1) for part in page.split("## ")[1:])
    assert [title for title in parts][:3] == list(PAPERS) and len(parts) == 4
    rows = {
        title: [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| claim")]
        for title, text in parts.items()
    }
    assert rows["Pix2Key"][0] == (
        "| a | Pix2Key, Table 2 | R@10: +2.0 [+1.0, +3.0] | reproduced | [04_method](../../../notebooks/04_method.ipynb), 4.10 |"
    )
    assert "+0.0 [+0.0, +0.0], no query differs | not reproduced" in rows["Pix2Key"][1]
    assert "holds above -2 | inconclusive" in rows["Map-to-Compose"][0]
    assert "3 tested on drawings: 1 reproduced, 1 not reproduced, 1 inconclusive" in page, "the fourth is no claim of a paper"
    untested = [row for text in rows.values() for row in text if UNTESTABLE in row]
    assert len(untested) == len(untested_claims()) and sum(len(text) for text in rows.values()) == 4 + len(untested)


def test_untested_claims_say_where_they_were_read():
    for claim in untested_claims():
        assert claim.source.startswith(PAPERS) and claim.read in ("paper", "abstract", "summary") and claim.reason
        assert claim.read == "paper" or not claim.source.startswith("Pix2Key"), "Pix2Key was read whole, the others were not"
        assert claim.read != "paper" or claim.source.startswith("Pix2Key")


def test_the_section_is_the_one_that_saves_the_table(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["## 4.1  First\n", "text"]},
        {"cell_type": "code", "source": ['run.save_table(table, "04_main")']},
        {"cell_type": "markdown", "source": ["text\n", "## 4.2  Second"]},
        {"cell_type": "markdown", "source": ["no heading"]},
        {"cell_type": "code", "source": ['run.save_table(table, "04_claims")']},
    ]
    (tmp_path / "04_method.ipynb").write_text(json.dumps({"cells": cells}))
    (tmp_path / "05_other.ipynb").write_text(json.dumps({"cells": cells}))
    assert claims_section(tmp_path / "04_method.ipynb") == "4.2"
    with pytest.raises(InputError, match='saves no table "05_claims"'):
        claims_section(tmp_path / "05_other.ipynb")


def test_every_table_of_claims_has_a_section(repo_root):
    for path in sorted((repo_root / "results/mini/tables").glob("[0-9][0-9]_claims.csv")):
        for notebook in pd.read_csv(path)["notebook"].unique():
            assert claims_section(repo_root / "notebooks" / f"{notebook}.ipynb").startswith(f"{int(notebook[:2])}.")


def test_missing_or_strange_tables_are_refused(tmp_path):
    with pytest.raises(InputError, match="no tables of claims"):
        collect_claims(tmp_path)
    pd.DataFrame({"claim": ["a"]}).to_csv(tmp_path / "04_claims.csv", index=False)
    with pytest.raises(InputError, match="has the columns claim"):
        collect_claims(tmp_path)


def test_the_page_is_written_beside_its_tables(tables, tmp_path):
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    for number in ("04", "08"):
        cells = [
            {"cell_type": "markdown", "source": [f"## {int(number)}.3  Claims"]},
            {"cell_type": "code", "source": [f'run.save_table(t, "{number}_claims")']},
        ]
        (notebooks / f"{number}_method.ipynb").write_text(json.dumps({"cells": cells}))
    path = save_claims_page(tables, notebooks, "smoke", "drawings", "made today")
    text = path.read_text()
    assert (
        path == tables / "claims.md" and "profile smoke" in text and "04_method.ipynb), 4.3 |" in text and text.endswith("made today -->\n")
    )
