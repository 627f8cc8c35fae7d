"""Which rows a training step takes: the same for every method that draws from a fixed list."""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from cirlib.types import InputError


def batch_rows(count: int, batch: int, step: int, seed: int) -> Int[Tensor, " b"]:
    """Rows of one step: a new shuffle each epoch, an incomplete last batch left out; a function of (seed, step) alone.

    Raises:
        InputError: If there are fewer rows than a batch needs.

    Example:
        >>> sorted(torch.cat([batch_rows(6, 3, step, 0) for step in (0, 1)]).tolist())
        [0, 1, 2, 3, 4, 5]
    """
    if not 1 <= batch <= count:
        raise InputError(f"a batch of {batch} asked for and {count} examples given; ask for 1 to {count}")
    epoch, place = divmod(step, count // batch)
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return torch.from_numpy(order[place * batch : (place + 1) * batch])
