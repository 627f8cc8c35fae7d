"""Which steps a training takes, and an interruption in the middle of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


def record_steps(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[int]:
    """A list that fills with the steps at which `owner.name(something, step, ...)` is called."""
    taken: list[int] = []
    real = getattr(owner, name)

    def recorded(first, step, *rest):
        taken.append(step)
        return real(first, step, *rest)

    monkeypatch.setattr(owner, name, recorded)
    return taken


@contextmanager
def interruption(owner: Any, name: str, step: int) -> Iterator[None]:
    """Within the block `owner.name(something, step, ...)` is interrupted, and the block must end by that."""
    real = getattr(owner, name)

    def interrupted(first, number, *rest):
        if number == step:
            raise KeyboardInterrupt
        return real(first, number, *rest)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(owner, name, interrupted)
        yield
