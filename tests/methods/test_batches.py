import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cirlib.methods.batches import batch_rows
from cirlib.types import InputError


@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 3))
def test_an_epoch_holds_each_row_once(count, batch, seed):
    if batch > count:
        with pytest.raises(InputError, match=f"batch of {batch}"):
            batch_rows(count, batch, 0, seed)
        return
    steps = count // batch
    for epoch in range(2):
        rows = torch.cat([batch_rows(count, batch, epoch * steps + step, seed) for step in range(steps)])
        assert len(rows) == steps * batch == len(set(rows.tolist())) and set(rows.tolist()) <= set(range(count))


def test_batches_depend_on_seed_and_epoch():
    first = batch_rows(50, 10, 0, 0)
    assert torch.equal(first, batch_rows(50, 10, 0, 0))
    assert not torch.equal(first, batch_rows(50, 10, 0, 1)) and not torch.equal(first, batch_rows(50, 10, 5, 0))
