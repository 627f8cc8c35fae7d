from cirlib.methods.tuning import tune


def test_the_first_of_equal_scores_wins_and_every_value_is_kept():
    tuned = tune([0.1, 0.2, 0.3], lambda value: -abs(value - 0.2) if value < 0.3 else 0.0)
    assert tuned.best == 0.2
    assert tuned.values == (0.1, 0.2, 0.3) and tuned.scores == (-0.1, 0.0, 0.0)
