"""The benchmarks of a profile: what to tune on and what to report, from `config.yaml`."""

from cirlib.config import Config
from cirlib.data.atelier import load_atelier
from cirlib.data.registry import REPORTED_SPLITS, load_benchmarks
from cirlib.types import Benchmark


def tuning_benchmark(config: Config) -> Benchmark:
    """Atelier's val split in the size of the profile. Numbers that are chosen by hand are chosen here, never on what is reported."""
    sizes = config.profile.atelier
    return load_atelier("val", sizes.val, sizes.queries)


def reported_benchmarks(config: Config) -> list[Benchmark]:
    """Everything that the tables of a profile report: atelier's test and test-compositional, then the public ones on their reported split.

    The public benchmarks are read from `data/<name>`; see `cirlib data fetch`.

    Raises:
        InputError: If a public benchmark of the profile is not there.
    """
    sizes, found = config.profile.atelier, []
    for name in config.profile.benchmarks:
        if name == "atelier":
            found += [
                load_atelier("test", sizes.test, sizes.queries),
                load_atelier("test-compositional", sizes.test_compositional, sizes.queries),
            ]
        else:
            found += load_benchmarks(name, config.root / "data" / name, REPORTED_SPLITS.get(name, "val"))
    return found


def hidden_benchmarks(config: Config) -> list[Benchmark]:
    """The splits of a profile's benchmarks whose targets only a test server knows: CIRR test1 and CIRCO test; empty without them.

    Raises:
        InputError: If a benchmark of the profile is not there.
    """
    hidden = {"cirr": "test1", "circo": "test"}
    named = [name for name in config.profile.benchmarks if name in hidden]
    return [part for name in named for part in load_benchmarks(name, config.root / "data" / name, hidden[name])]
