import numpy as np
import pytest

from cirlib.card_numbers import floor_table, interval_cell, interval_numbers
from cirlib.evaluation.intervals import mean_interval
from cirlib.types import InputError


def test_stored_numbers_are_the_interval_in_four_digits():
    values = np.random.default_rng(0).random(50)
    expected = mean_interval(values)
    found = interval_numbers(np.append(values, np.nan), majority=1 / 3)
    assert list(found) == ["mean", "low", "high", "majority"] and found["majority"] == 1 / 3
    assert found["mean"] == round(expected.mean, 4) and found["low"] < found["mean"] < found["high"]
    assert interval_numbers(values) == {part: round(getattr(expected, part), 4) for part in ("mean", "low", "high")}
    with pytest.raises(InputError):
        interval_numbers(np.full(3, np.nan))


def test_tables_are_in_percent_and_mark_details():
    rows = {
        "color": {"mean": 0.98765, "low": 0.9, "high": 1.0, "chance": 0.12345},
        "belt": {"mean": 0.5, "low": 0.4, "high": 0.6, "chance": 0.5},
    }
    assert floor_table("attribute", "accuracy", "chance level", rows, "chance") == [
        "| attribute | accuracy | 95 % interval | chance level |",
        "|---|---:|---|---:|",
        "| color | 98.8 | 90.0 to 100.0 | 12.35 |",
        "| belt (yes or no) | 50.0 | 40.0 to 60.0 | 50.00 |",
    ]


def test_what_has_no_number_has_an_empty_cell():
    assert interval_cell(None, 1) == ""
    assert interval_cell({"mean": 0.12345, "low": 0.1, "high": 0.2}, 3) == "0.123 (0.100 to 0.200)"
