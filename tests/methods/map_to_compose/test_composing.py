import torch

from cirlib.methods.map_to_compose.composing import ComposingAdapters


def test_every_token_gets_the_low_rank_part_after_chosen_blocks_only():
    adapters = ComposingAdapters(6, (0, 2), rank=2, init="released")
    hidden = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(adapters.after_block(1, hidden), hidden)
    a, b = adapters.down[1], adapters.up[1]
    slow = torch.stack([torch.stack([row + (row @ a) @ b for row in sentence]) for sentence in hidden])
    torch.testing.assert_close(adapters.after_block(2, hidden), slow)
    assert torch.linalg.matrix_rank((adapters.after_block(2, hidden) - hidden).reshape(-1, 6), tol=1e-5) == 2


def test_the_default_start_changes_nothing_and_can_learn():
    adapters = ComposingAdapters(6, (0,), rank=2)
    hidden = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    out = adapters.after_block(0, hidden)
    assert torch.equal(out, hidden)
    out.square().sum().backward()
    assert adapters.up[0].grad.abs().sum() > 0
