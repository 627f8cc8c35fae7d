"""Numbers of the smoke pipeline against `tests/expected/*.json`, each by its own absolute tolerance.

After the pipeline (`.ci/run`, `make check`) every expected number must be there and near; elsewhere the test is skipped. A change that
moves numbers on purpose records the new ones with `python tests/expected/update.py NAME`, and the changelog says why.
"""

import json
import os

import pytest
from expected.update import FOLDER, deviations, flatten

RAN = bool(os.environ.get("CIRLIB_PIPELINE_RAN"))
EXPECTED = sorted(path.stem for path in FOLDER.glob("*.json"))


@pytest.mark.parametrize("name", EXPECTED)
def test_the_numbers_are_as_expected(repo_root, name):
    if not RAN:
        pytest.skip("compares what the smoke pipeline has just made; make check runs both")
    made = json.loads((repo_root / "results" / "smoke" / "metrics" / f"{name}.json").read_text())["metrics"]
    wrong = deviations(json.loads((FOLDER / f"{name}.json").read_text()), flatten(made))
    assert not wrong, "\n".join(wrong)


def test_every_notebook_has_expected_numbers(repo_root):
    assert {path.stem for path in (repo_root / "notebooks").glob("*.ipynb")} == set(EXPECTED)


def test_deviations_are_found_and_named():
    expected = {
        "recall@10/sum": {"value": 0.5, "tolerance": 0.02},
        "n": {"value": 3, "tolerance": 0},
        "note": {"value": "x", "tolerance": 0},
    }
    assert deviations(expected, {"recall@10/sum": 0.515, "n": 3, "note": "x", "other": 1}) == []
    assert deviations(expected, {"recall@10/sum": 0.53, "n": 3, "note": "x"}) == ["recall@10/sum is 0.53, expected 0.5 +- 0.02"]
    assert deviations(expected, {"recall@10/sum": 0.5, "note": "y"}) == ["n is not among the metrics", "note is 'y', expected 'x'"]


def test_flatten_joins_keys():
    assert flatten({"a": {"b": [1, {"c": 2.5}]}, "d": None}) == {"a/b/0": 1, "a/b/1/c": 2.5, "d": None}
