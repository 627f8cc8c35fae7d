"""Numbers on the cards of the shipped checkpoints: means with 95 % intervals, as they are stored and as they are shown."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from cirlib.data.atelier import DETAILS
from cirlib.evaluation.intervals import mean_interval


def interval_numbers(values: Float[np.ndarray, " n"], **floor: float) -> dict[str, float]:
    """Mean with its 95 % interval, four digits each, followed by the level that takes no skill, under the name that it is given by.

    NaN (undefined) is left out.

    Raises:
        InputError: If there is no value.

    Example:
        >>> interval_numbers(np.array([0.5, 0.5, np.nan]), chance=0.25)
        {'mean': 0.5, 'low': 0.5, 'high': 0.5, 'chance': 0.25}
    """
    interval = mean_interval(values)
    return {"mean": round(interval.mean, 4), "low": round(interval.low, 4), "high": round(interval.high, 4), **floor}


def interval_cell(numbers: Mapping[str, float] | None, digits: int, scale: float = 1.0) -> str:
    """Stored numbers as one cell of a table, empty where there are none (None); `scale` is 100 for percent.

    Example:
        >>> interval_cell({"mean": 0.5, "low": 0.4, "high": 0.62}, digits=1, scale=100)
        '50.0 (40.0 to 62.0)'
    """
    if numbers is None:
        return ""
    mean, low, high = (f"{scale * numbers[part]:.{digits}f}" for part in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def floor_table(first: str, second: str, floor: str, rows: Mapping[str, Mapping[str, float]], key: str) -> list[str]:
    """Lines of a Markdown table, in percent: a mean and its interval per row, beside the level that takes no skill.

    Args:
        first: Heading of the rows' names; atelier's details are marked as yes or no.
        second: Heading of the means.
        floor: Heading of the level that takes no skill.
        rows: Numbers by name of the row.
        key: Of that level in the numbers.
    """
    lines = [f"| {first} | {second} | 95 % interval | {floor} |", "|---|---:|---|---:|"]
    for name, row in rows.items():
        mean, low, high, lazy = (100 * row[part] for part in ("mean", "low", "high", key))
        lines.append(f"| {name}{' (yes or no)' if name in DETAILS else ''} | {mean:.1f} | {low:.1f} to {high:.1f} | {lazy:.2f} |")
    return lines
