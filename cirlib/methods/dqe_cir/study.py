"""Many trainings side by side: settings times seeds, each trained or read back, judged, and kept as reports and logs instead of weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pandas as pd
from tqdm import tqdm

from cirlib.methods.dqe_cir.recipe import Recipe
from cirlib.methods.training import Trained
from cirlib.types import InputError, Method, Report


class Done(Protocol):
    """A finished training, of DQE-CIR or of a baseline. One of DQE-CIR also has `minings`."""

    method: Method
    outcome: Trained


@dataclass(frozen=True)
class Outcome:
    """What is kept of one training.

    Attributes:
        seed: Of the training.
        reports: What the judge said, by benchmark.
        outcome: Losses, looks at val, the steps at which the kept weights were found.
        minings: One log per definition of negative sets; empty for a baseline and for "in_batch".
        method: The method itself, where it was asked to be kept.
    """

    seed: int
    reports: Mapping[str, Report]
    outcome: Trained
    minings: Sequence[Mapping[str, Any]] = ()
    method: Method | None = None


def study(
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    train: Callable[[str, Any], Done],
    judge: Callable[[Method, int], Mapping[str, Report]],
    *,
    keep: Sequence[str] = (),
    progress: bool = True,
) -> dict[str, list[Outcome]]:
    """Train every setting with every seed, and judge each.

    Args:
        settings: Name to recipe, a dataclass with a field `seed`.
        seeds: Of every setting; the recipe's own is not looked at.
        train: From name and recipe to a finished training. Finished trainings are read back by it, so a study goes on where it was stopped.
        judge: From a trained method and its seed to its report on each benchmark.
        keep: Names whose methods are kept in memory; of the others only reports and logs are.
        progress: Show a bar over all trainings.

    Raises:
        InputError: If there are no seeds, or a name to keep is none of the settings.
    """
    if not seeds or not set(keep) <= set(settings):
        raise InputError(f"seeds {list(seeds)}, keep {list(keep)} given; give one seed or more, and names among {', '.join(settings)}")
    found: dict[str, list[Outcome]] = {name: [] for name in settings}
    with tqdm(total=len(settings) * len(seeds), desc="Trainings", disable=not progress) as bar:
        for name, recipe in settings.items():
            for seed in seeds:
                done = train(name, replace(recipe, seed=seed))
                reports = judge(done.method, seed)
                kept = done.method if name in keep else None
                found[name].append(Outcome(seed, reports, done.outcome, tuple(getattr(done, "minings", ())), kept))
                bar.update()
    return found


def grid(base: Recipe, modes: Sequence[str], rules: Mapping[str, Mapping[str, Any]]) -> dict[str, Recipe]:
    """Every attribute mode with every negative rule, under the preference loss alone.

    Args:
        base: All other settings.
        modes: Of the attribute weights.
        rules: Name of a rule to its settings.

    Example:
        >>> cells = grid(Recipe(), ("none", "gated"), {"random": {}, "midzone": {"low": 0.1, "high": 0.3}})
        >>> list(cells), cells["gated, midzone"].rule
        (['none, random', 'none, midzone', 'gated, random', 'gated, midzone'], {'low': 0.1, 'high': 0.3})
    """
    alone = replace(base, margin_weight=0.0, attribute_weight=0.0)
    return {f"{mode}, {name}": replace(alone, mode=mode, negatives=name, rule=dict(rule)) for mode in modes for name, rule in rules.items()}


def mining_table(found: Mapping[str, Sequence[Outcome]]) -> pd.DataFrame:
    """Every definition of negative sets of every training in a row.

    Returns:
        Columns setting, seed, definition (from 0, the random one), epoch, size (mean members of a set), median (of the sizes), widened
        (share of queries), wrong_members (mean share of a set that is in truth correct), wrong_drawn (the same share of what was drawn),
        gap (median gap of all candidates below the target). Fractions, and NaN for what a rule does not read.
    """
    rows = []
    for name, outcomes in found.items():
        for one in outcomes:
            for number, log in enumerate(one.minings):
                rows.append(
                    {
                        "setting": name,
                        "seed": one.seed,
                        "definition": number,
                        "epoch": log["epoch"],
                        "size": log["size"]["mean"],
                        "median": log["size"]["p50"],
                        "widened": log["widened"],
                        "wrong_members": log["wrong_members"],
                        "wrong_drawn": log["wrong_drawn"] / log["drawn"] if log["drawn"] else float("nan"),
                        "gap": log.get("gap", {}).get("p50", float("nan")),
                    }
                )
    return pd.DataFrame(rows)
