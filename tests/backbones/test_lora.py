import pytest
import torch

from cirlib import _torchvision
from cirlib.backbones.lora import LanguageAdapters
from cirlib.backbones.vlm import load_vlm
from cirlib.types import InputError

_torchvision.prepare()  # before the helper below imports transformers

from tiny_vlm import tiny_vlm  # noqa: E402


@pytest.fixture
def vlm(tmp_path):
    return load_vlm(tiny_vlm(tmp_path), "cpu")


SLOTS = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))


def change(adapters):
    with torch.no_grad():
        for weight in adapters.parameters():
            weight.add_(0.1)


def test_the_stock_model_is_untouched_outside_the_block(vlm):
    before, stock = vlm.slot_states(SLOTS, "Describe"), {name: p.clone() for name, p in vlm.model.named_parameters()}
    adapters = LanguageAdapters(vlm.model, rank=4, dropout=0.0)
    with adapters.active():
        torch.testing.assert_close(vlm.slot_states(SLOTS, "Describe"), before)  # the update starts at zero
        change(adapters)
        assert (vlm.slot_states(SLOTS, "Describe") - before).abs().max() > 0.01
    assert torch.equal(vlm.slot_states(SLOTS, "Describe"), before)
    after = {name.replace(".base_layer", ""): p for name, p in vlm.model.named_parameters() if "lora" not in name}
    assert stock.keys() == after.keys() and all(torch.equal(stock[name], after[name]) for name in stock)


def test_the_update_is_scale_over_rank_times_b_a(vlm):
    layer = vlm.model.model.language_model.layers[0].self_attn.q_proj
    weight = layer.weight.clone()
    adapters = LanguageAdapters(vlm.model, rank=4, scale=8.0, dropout=0.0)
    change(adapters)
    a, b = adapters.weights[0], adapters.weights[1]
    x = torch.randn(3, 32)
    adapted = vlm.model.model.language_model.layers[0].self_attn.q_proj
    with adapters.active():
        torch.testing.assert_close(adapted(x) - layer.bias, x @ (weight + 8 / 4 * b @ a).T)


def test_only_the_language_tower_has_adapters(vlm):
    adapters = LanguageAdapters(vlm.model, rank=2)
    named = {name for name, _ in vlm.model.named_parameters() if "lora" in name}
    assert named and all(".language_model." in name for name in named)
    assert len(named) == len(list(adapters.parameters())) == 2 * 4 * 2  # two layers, four projections, A and B


def test_only_adapters_get_gradients_and_only_while_they_are_on(vlm):
    adapters = LanguageAdapters(vlm.model, rank=2)
    assert not any(p.requires_grad for p in vlm.model.parameters())
    with adapters.active(training=True):
        vlm.slot_states(SLOTS, "Describe").sum().backward()
        own = {id(p) for p in adapters.parameters()}
        assert {id(p) for p in vlm.model.parameters() if p.grad is not None} == own


def test_dropout_works_in_training_only(vlm):
    adapters = LanguageAdapters(vlm.model, rank=2, dropout=0.5)
    change(adapters)
    with adapters.active():
        assert torch.equal(vlm.slot_states(SLOTS, "Describe"), vlm.slot_states(SLOTS, "Describe"))
    with adapters.active(training=True):
        assert not torch.equal(vlm.slot_states(SLOTS, "Describe"), vlm.slot_states(SLOTS, "Describe"))


def test_two_sets_do_not_meet(vlm):
    first, second = LanguageAdapters(vlm.model, rank=2, dropout=0.0), LanguageAdapters(vlm.model, rank=3, dropout=0.0)
    before = vlm.slot_states(SLOTS, "Describe")
    change(first)
    with second.active():
        torch.testing.assert_close(vlm.slot_states(SLOTS, "Describe"), before)
        assert not any(p.requires_grad for p in first.parameters())
    with first.active():
        assert (vlm.slot_states(SLOTS, "Describe") - before).abs().max() > 0.01


def test_the_seed_decides_the_start_and_the_global_generator_is_left_alone(vlm):
    state = torch.get_rng_state()
    starts = [LanguageAdapters(vlm.model, rank=2, seed=seed).weights[0].clone() for seed in (1, 1, 2)]
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_refuses_rank_zero_and_models_without_a_language_tower():
    with pytest.raises(InputError, match="rank 0"):
        LanguageAdapters(torch.nn.Linear(2, 2), rank=0)
    with pytest.raises(InputError, match="language_model"):
        LanguageAdapters(torch.nn.Sequential(torch.nn.Linear(2, 2)))
