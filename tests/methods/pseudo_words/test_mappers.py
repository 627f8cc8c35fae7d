import pytest
import torch
from torch import nn

from cirlib.methods.pseudo_words.mappers import MAPPERS, Pic2WordMapper, SearleMapper, build_mapper, mapper_kind
from cirlib.types import InputError


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_sizes_are_those_of_the_sources():
    assert count(Pic2WordMapper(768, 768)) == 1_050_368  # ViT-L/14
    assert count(Pic2WordMapper(512, 512)) == 787_968  # ViT-B/32
    assert count(SearleMapper(768, 768)) == 14_162_688


def test_blocks_stand_in_the_order_of_the_sources():
    assert [type(layer) for layer in Pic2WordMapper(4, 6).layers] == [
        nn.Linear,
        nn.Dropout,
        nn.ReLU,
        nn.Linear,
        nn.Dropout,
        nn.ReLU,
        nn.Linear,
    ]
    assert [type(layer) for layer in SearleMapper(4, 6).layers] == [
        nn.Linear,
        nn.GELU,
        nn.Dropout,
        nn.Linear,
        nn.GELU,
        nn.Dropout,
        nn.Linear,
    ]
    assert [layer.p for layer in SearleMapper(4, 6).layers if isinstance(layer, nn.Dropout)] == [0.5, 0.5]
    assert [layer.p for layer in Pic2WordMapper(4, 6).layers if isinstance(layer, nn.Dropout)] == [0.1, 0.1]


@pytest.mark.parametrize("kind", MAPPERS)
def test_a_mapper_is_rebuilt_from_its_kind_and_settings(kind):
    mapper = build_mapper(kind, d=5, t=7)
    assert mapper(torch.zeros(3, 5)).shape == (3, 7)
    again = build_mapper(mapper_kind(mapper), **mapper.settings)
    again.load_state_dict(mapper.state_dict())
    assert mapper_kind(again) == kind


def test_unknown_kinds_are_refused():
    with pytest.raises(InputError, match="pic2word or searle"):
        build_mapper("lincir", d=4, t=4)
    with pytest.raises(InputError, match="Linear"):
        mapper_kind(nn.Linear(2, 2))
