import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirlib.methods.map_to_compose.layers import COMPOSING_BLOCKS, INJECTION_BLOCKS, composing_blocks, injection_blocks
from cirlib.types import InputError


def test_twelve_blocks_are_the_released_choice():
    assert injection_blocks(12) == INJECTION_BLOCKS == (3, 7, 9)
    assert injection_blocks(12, released=True) == (3, 7, 9, 11)
    assert composing_blocks(12) == COMPOSING_BLOCKS == (1, 3, 5, 7, 9, 11)


@given(st.integers(2, 60))
def test_other_depths_keep_the_shares_of_the_tower(depth):
    """Each block is the first that ends at its share or beyond; the last one never gets an injection."""
    injected, composing = injection_blocks(depth), composing_blocks(depth)
    assert all(0 <= block < depth - 1 for block in injected) and injected
    assert composing[-1] == depth - 1
    for chosen, blocks in ((injected, INJECTION_BLOCKS), (composing, COMPOSING_BLOCKS)):
        assert list(chosen) == sorted(set(chosen))
        ends = {min(b for b in range(depth) if 12 * (b + 1) >= (block + 1) * depth) for block in blocks}
        assert set(chosen) == (ends - {depth - 1} or {0} if blocks is INJECTION_BLOCKS else ends)


def test_a_tower_of_one_block_has_no_place_for_an_injection():
    with pytest.raises(InputError, match="2 text blocks"):
        injection_blocks(1)
