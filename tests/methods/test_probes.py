import numpy as np
import pytest

from cirlib.methods.probes import probe_attributes
from cirlib.types import InputError


def world(count, seed):
    """Rows in which two attributes lie along directions of their own, one not at all, and one applies to every second row."""
    rng = np.random.default_rng(seed)
    color, fit, noise = rng.integers(0, 3, count), rng.integers(0, 2, count), rng.integers(0, 2, count)
    rows = rng.normal(size=(count, 8)) * 0.1
    rows[np.arange(count), color] += 1.0
    rows[:, 5] += fit
    labels = [{"color": "rgb"[c], "noise": "ab"[n], "same": "x"} for c, n in zip(color, noise, strict=True)]
    for row in range(0, count, 2):
        labels[row]["fit"] = "ls"[fit[row]]
    return rows, labels


def test_reads_what_is_linear_in_the_rows_and_nothing_else():
    probes = probe_attributes(*world(300, 0), *world(200, 1))
    assert list(probes) == ["color", "noise", "fit"]
    assert probes["color"].accuracy > 0.97 and probes["fit"].accuracy > 0.97
    assert abs(probes["noise"].accuracy - 0.5) < 0.15
    assert probes["fit"].pictures == 100 and probes["color"].pictures == 200


def test_majority_is_the_commonest_value_of_the_training_rows():
    rows, labels = np.eye(4), [{"a": "x"}, {"a": "x"}, {"a": "x"}, {"a": "y"}]
    probes = probe_attributes(rows, labels, rows[:2], [{"a": "x"}, {"a": "y"}])
    assert probes["a"].majority == 0.5


def test_refuses_rows_without_labels():
    rows, labels = world(10, 0)
    with pytest.raises(InputError, match="one label a row"):
        probe_attributes(rows, labels[:9], rows, labels)


def test_hits_say_picture_by_picture_what_was_read():
    rows, labels = world(200, 2)
    probe = probe_attributes(*world(300, 0), rows, labels)["fit"]
    assert np.isnan(probe.hits[1::2]).all() and np.isfinite(probe.hits[::2]).all()
    assert np.nanmean(probe.hits) == probe.accuracy and np.isfinite(probe.hits).sum() == probe.pictures
