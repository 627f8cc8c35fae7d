"""Tuning looks at val only, and what it counts is what the evaluation counts."""

from dataclasses import replace

import pytest
from dictionary_world import benchmark, method

from cirlib.evaluation.evaluate import evaluate
from cirlib.methods.pix2key.tuning import tune_diversity, tune_weights
from cirlib.types import InputError


@pytest.mark.parametrize("matching", ["pooled", "slots"])
@pytest.mark.parametrize("exclude_reference", [True, False])
def test_recall_on_the_grid_is_that_of_the_evaluation(matching, exclude_reference):
    pix2key, val = method(matching=matching, diversity=0.4, pool=5), benchmark(exclude_reference=exclude_reference)
    tuned = tune_weights(pix2key, val, (0.2, 0.8), (0.0, 1.0), k=1)
    for (alpha, beta), recall in tuned.recall.items():
        assert recall == evaluate(pix2key.variant(alpha=alpha, beta=beta, diversity=0.0), val).mean("recall@1")
    assert tuned.recall[tuned.alpha, tuned.beta] == max(tuned.recall.values()) and len(tuned.recall) == 4
    assert (tuned.alpha, tuned.beta) == next(pair for pair in tuned.recall if tuned.recall[pair] == max(tuned.recall.values()))
    assert pix2key.options.diversity == 0.4, "the method itself is left as it was"
    assert len(pix2key.parser.asked) == 3, "edits are parsed once, not once per pair of weights"


def test_a_test_split_is_refused():
    for split in ("test", "test-compositional"):
        with pytest.raises(InputError, match="tuned on val, never on a test split"):
            tune_weights(method(), benchmark(split))
    with pytest.raises(InputError, match="lacks pictures"):
        tune_weights(method(), replace(benchmark(), missing=("z",)))


def test_diversity_takes_the_most_variety_that_half_a_point_buys():
    asked = []

    def score(diversity, pool):
        asked.append((diversity, pool))
        return 0.8 - 0.02 * diversity - (0.01 if pool == 500 and diversity else 0), 0.2 + diversity

    tuned = tune_diversity(score, (0.1, 0.2, 0.3), (200, 100, 500))
    assert (tuned.diversity, tuned.pool) == (0.2, 100), "0.3 costs 0.006; a pool of 500 a whole point"
    assert asked.count((0.0, 100)) == 1 and (0.0, 200) not in asked and len(asked) == 10 == len(tuned.tried)


def test_nothing_affordable_leaves_diversity_off():
    tuned = tune_diversity(lambda diversity, pool: (0.9 - diversity, 0.3 + diversity), (0.1, 0.5), (100,))
    assert tuned.diversity == 0.0
