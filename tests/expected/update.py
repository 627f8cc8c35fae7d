"""Record the numbers that the smoke pipeline has just made: `python tests/expected/update.py NAME [KEY-PART ...]`.

Keys that are expected already keep their tolerance and take the new value. With KEY-PARTs, every number whose key contains one of them is
added, with the tolerance 0.02: edit it to the band that the notebook states, and leave times out.
"""

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
DEFAULT_TOLERANCE = 0.02


def flatten(value, prefix=""):
    """Nested metrics as one mapping: {"a": {"b": [1]}} becomes {"a/b/0": 1}."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {path: leaf for key, item in items for path, leaf in flatten(item, f"{prefix}{key}/").items()}
    return {prefix.rstrip("/"): value}


def deviations(expected, made):
    """One line for each expected number that is missing or too far away."""
    wrong = []
    for key, entry in expected.items():
        value, tolerance = entry["value"], entry["tolerance"]
        if key not in made:
            wrong.append(f"{key} is not among the metrics")
        elif isinstance(value, int | float) and isinstance(made[key], int | float):
            if not abs(made[key] - value) <= tolerance:
                wrong.append(f"{key} is {made[key]}, expected {value} +- {tolerance}")
        elif made[key] != value:
            wrong.append(f"{key} is {made[key]!r}, expected {value!r}")
    return wrong


def main(name, *parts):
    """Rewrite `tests/expected/NAME.json` from `results/smoke/metrics/NAME.json`."""
    path = FOLDER / f"{name}.json"
    made = flatten(json.loads((FOLDER.parents[1] / "results" / "smoke" / "metrics" / f"{name}.json").read_text())["metrics"])
    expected = json.loads(path.read_text()) if path.exists() else {}
    for key in sorted(made):
        if key in expected or any(part in key for part in parts):
            tolerance = expected.get(key, {}).get("tolerance", DEFAULT_TOLERANCE if isinstance(made[key], float) else 0)
            expected[key] = {"value": made[key], "tolerance": tolerance}
    path.write_text(json.dumps(expected, indent=1) + "\n")
    print(f"{path.name}: {len(expected)} numbers")


if __name__ == "__main__":
    main(*sys.argv[1:])
