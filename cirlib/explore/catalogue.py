"""Which methods the page offers, and what to run for those that it cannot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cirlib.suite import Suite
from cirlib.types import InputError, Method

NOT_HERE = ("Pix2Key, no MMR", "slerp")  # the slider of diversity makes the first; the second hardly differs from the sum


@dataclass(frozen=True)
class Catalogue:
    """Methods by name in the order of the page, and for each that cannot be asked the line that says why."""

    methods: Mapping[str, Method]
    unavailable: Mapping[str, str]


def suite_catalogue(suite: Suite, only: Sequence[str] = ()) -> Catalogue:
    """The methods of a profile: all that need no training, and those whose notebook has run.

    Args:
        suite: Of the profile.
        only: Names to keep; empty keeps all.

    Raises:
        InputError: If a name of `only` is unknown or its method is not trained.
    """
    names = [name for name in suite.names if name not in NOT_HERE]
    if unknown := [name for name in only if name not in suite.names]:
        raise InputError(f"method {unknown[0]!r} is not known; choose among {', '.join(names)}")
    for name in only:
        if line := suite.missing(name):
            raise InputError(line)
    chosen = list(dict.fromkeys(only)) or names
    missing = {name: line for name in chosen if (line := suite.missing(name))}
    return Catalogue({name: suite.method(name) for name in chosen if name not in missing}, missing)
