import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cirlib.methods.pix2key.pooler import AttentionPooler, PoolerBlock
from cirlib.types import InputError


def make(seed=0, **sizes):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AttentionPooler(**{"width": 24, "slots": 5, "depth": 2, "heads": 3, **sizes})


def patches(seed=1, pictures=2, count=7, width=24):
    return torch.randn(pictures, count, width, generator=torch.Generator().manual_seed(seed))


def reference(pooler, rows):
    """Eq. 13-14 in plain loops over torch's own encoder layer: X = Enc([Q0; P]), Z = X[:Q]."""
    x = torch.stack([torch.cat([pooler.queries + pooler.types[0], picture + pooler.types[1]]) for picture in rows])
    for block in pooler.blocks:
        width = x.shape[-1]
        layer = torch.nn.TransformerEncoderLayer(width, block.heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        layer.self_attn.load_state_dict(
            {
                "in_proj_weight": block.query_key_value.weight,
                "in_proj_bias": block.query_key_value.bias,
                "out_proj.weight": block.out.weight,
                "out_proj.bias": block.out.bias,
            }
        )
        for ours, theirs in ((block.network[0], layer.linear1), (block.network[2], layer.linear2)):
            theirs.load_state_dict(ours.state_dict())
        layer.norm1.load_state_dict(block.norm_attention.state_dict())
        layer.norm2.load_state_dict(block.norm_network.state_dict())
        x = layer(x)
    return pooler.norm(x)[:, : pooler.slots]


def test_equals_the_first_outputs_of_an_encoder_over_queries_and_patches():
    pooler, rows = make(depth=3), patches()
    torch.testing.assert_close(pooler(rows), reference(pooler, rows), atol=1e-5, rtol=1e-5)


@settings(max_examples=10, deadline=None)
@given(count=st.integers(1, 20), slots=st.integers(1, 75), depth=st.integers(1, 3))
def test_shape_follows_the_slots_and_not_the_patches(count, slots, depth):
    assert make(slots=slots, depth=depth)(patches(count=count)).shape == (2, slots, 24)


def test_order_of_the_patches_does_not_matter_and_their_content_does():
    pooler, rows = make(), patches()
    torch.testing.assert_close(pooler(rows.flip(1)), pooler(rows), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(pooler(rows + patches(9)), pooler(rows), atol=1e-3)


def test_pictures_do_not_see_each_other():
    pooler, rows = make(), patches(pictures=3)
    torch.testing.assert_close(pooler(rows)[1], pooler(rows[1:2])[0], atol=1e-5, rtol=1e-5)


def test_slots_start_at_the_statistics_of_the_patches():
    pooler = make(slots=64)
    rows = 3 * patches(pictures=40, count=16) + torch.arange(24.0)
    pooler.match_statistics(rows)
    torch.testing.assert_close(pooler.norm.weight, rows.flatten(0, 1).std(0, correction=0))
    torch.testing.assert_close(pooler.norm.bias, rows.flatten(0, 1).mean(0))
    away = (pooler(rows).mean((0, 1)) - rows.mean((0, 1))) / rows.flatten(0, 1).std(0)
    assert away.abs().max() < 3  # in spreads of the real patches; a plain LayerNorm is up to eight away


def test_queries_start_small():
    assert 0.015 < make(slots=75, width=96).queries.std() < 0.025


def test_attention_rows_are_distributions_over_patches():
    seen = make().attention(patches())
    assert seen.shape == (2, 5, 7)
    torch.testing.assert_close(seen.sum(-1), torch.ones(2, 5))
    assert (seen >= 0).all()


def test_attention_of_one_layer_is_its_softmax():
    pooler, rows = make(depth=1), patches()
    weights = pooler.blocks[0].attention(pooler._join(rows))[:, :5, 5:]
    torch.testing.assert_close(pooler.attention(rows), weights / weights.sum(-1, keepdim=True))


def test_a_block_can_be_asked_for_its_first_rows_only():
    block, rows = PoolerBlock(24, 3), patches()
    torch.testing.assert_close(block(rows, rows=3), block(rows)[:, :3])


@pytest.mark.parametrize(
    ("sizes", "words"),
    [({"slots": 76}, "1 to 75"), ({"slots": 0}, "1 to 75"), ({"heads": 5}, "divide"), ({"depth": 0}, "1 or more")],
)
def test_refuses_sizes_that_cannot_be(sizes, words):
    with pytest.raises(InputError, match=words):
        make(**sizes)


def test_refuses_patches_of_another_width():
    with pytest.raises(InputError, match="24"):
        make()(patches(width=12))
    with pytest.raises(InputError, match="24"):
        make().match_statistics(patches()[0])
