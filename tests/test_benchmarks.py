import dataclasses

import pytest

from cirlib.benchmarks import hidden_benchmarks, reported_benchmarks, tuning_benchmark
from cirlib.config import load_config
from cirlib.types import InputError


def test_smoke_tunes_on_val_and_reports_both_tests():
    config = load_config("smoke")
    assert tuning_benchmark(config).split == "val"
    assert [(b.name, b.split, len(b.queries)) for b in reported_benchmarks(config)] == [
        ("atelier", "test", 160),
        ("atelier", "test-compositional", 160),
    ]


def test_public_benchmarks_are_read_from_the_data_folder(shared_dir, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "circo").symlink_to(shared_dir / "annotations" / "circo")
    config = load_config("smoke")
    profile = dataclasses.replace(config.profile, benchmarks=("circo",))
    config = dataclasses.replace(config, root=tmp_path, profile=profile)
    (circo,) = reported_benchmarks(config)
    assert (circo.name, circo.split, len(circo.queries)) == ("circo", "val", 220)
    (hidden,) = hidden_benchmarks(config)
    assert (hidden.name, hidden.split, len(hidden.queries)) == ("circo", "test", 800)
    assert all(not query.positives for query in hidden.queries)


def test_a_public_benchmark_that_is_absent_is_named(tmp_path):
    config = load_config("smoke")
    config = dataclasses.replace(config, root=tmp_path, profile=dataclasses.replace(config.profile, benchmarks=("cirr",)))
    for load in (reported_benchmarks, hidden_benchmarks):
        with pytest.raises(InputError, match="cirr"):
            load(config)


def test_drawn_benchmarks_have_no_hidden_targets():
    assert hidden_benchmarks(load_config("mini")) == []
