"""Both trainings on a tiny CLIP."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from cirlib.methods.map_to_compose.composer import Composer, new_composer, new_composing
from cirlib.methods.map_to_compose.fitting import parameter_groups
from cirlib.methods.map_to_compose.stage1 import MappingBatches, MappingLosses, train_stage1
from cirlib.methods.map_to_compose.stage2 import ComposingBatches, ComposingLosses, train_stage2
from cirlib.methods.pseudo_words.losses import contrast
from cirlib.methods.pseudo_words.mappers import SearleMapper
from cirlib.methods.pseudo_words.pic2word import Pic2WordObjective
from cirlib.types import InputError


def weights(module):
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def run1(recipe, encoder, pictures, captions, choice=None, **more):
    return train_stage1(recipe, encoder, pictures, captions, choice, progress=False, **more)


def test_the_mapper_alone_learns_what_pic2word_learns(tiny, encoder, pictures, captions, stage1):
    """Same weights, same batch, the same loss and gradient, but for the temperature, which Pic2Word takes from CLIP."""
    recipe = stage1(injection=False, soft_weight=0.0, ref_weight=0.0, temperature=1 / tiny.logit_scale)
    batch = MappingBatches(recipe, encoder, pictures, {})(0)
    composer = new_composer(tiny, recipe).eval()
    losses = MappingLosses(composer, tiny, recipe).eval()(batch)
    other = Pic2WordObjective(tiny, composer.mapper).eval()(batch.features)
    assert losses.keys() == {"align"}
    torch.testing.assert_close(losses["align"], other["contrast"])
    pairs = [torch.autograd.grad(total, [*composer.mapper.parameters()]) for total in (losses["align"], other["contrast"])]
    for ours, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-3)


def test_stage_1_adds_what_its_weights_say(tiny, encoder, pictures, captions, stage1):
    recipe = stage1(soft_weight=0.5, ref_weight=2.0)
    batch = MappingBatches(recipe, encoder, pictures, captions)(0)
    composer = new_composer(tiny, recipe).eval()
    losses = MappingLosses(composer, tiny, recipe).eval()(batch)
    torch.testing.assert_close(losses["ref"], 2 * losses["align"])  # without augmentation both views are the picture
    single = MappingLosses(composer, tiny, replace(recipe, soft_weight=1.0)).eval()(batch)["soft"]
    torch.testing.assert_close(losses["soft"], single / 2)


def test_stage_1_learns_and_leaves_clip_alone(tiny, encoder, pictures, captions, stage1, choice):
    before = weights(tiny.model)
    recipe = stage1(steps=40, batch=8, temperature=0.02, dropout=0.0, look_every=20)
    trained = run1(recipe, encoder, pictures, captions, choice)
    history = trained.outcome.history
    assert set(history[0]) >= {"align", "soft", "ref"}
    assert sum(row["align"] for row in history[-5:]) < 0.9 * sum(row["align"] for row in history[:5])
    assert same(before, weights(tiny.model)) and not any(p.requires_grad or p.grad is not None for p in tiny.model.parameters())
    assert set(trained.outcome.looks) == {0, 20, 40} and trained.outcome.chosen in trained.outcome.looks
    start = weights(new_composer(tiny, recipe))
    moved = {name for name, tensor in weights(trained.method.composer).items() if not torch.equal(tensor, start[name])}
    if trained.outcome.chosen:
        assert any(name.startswith("mapper") for name in moved) and any(name.startswith("injection.adapters") for name in moved)


@pytest.mark.parametrize("augment", ["none", "weak"])
def test_an_interrupted_stage_1_ends_where_an_uninterrupted_one_does(encoder, pictures, captions, stage1, tmp_path, monkeypatch, augment):
    recipe = stage1(augment=augment)
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "one"))
    whole = run1(recipe, encoder, pictures, captions)
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "two"))
    run1(recipe, encoder, pictures, captions, stop_after=1)
    parts = run1(recipe, encoder, pictures, captions)
    assert same(weights(whole.method.composer), weights(parts.method.composer))
    assert [row["align"] for row in whole.outcome.history] == [row["align"] for row in parts.outcome.history]


def test_a_finished_training_is_read_back_without_clip(encoder, pictures, captions, stage1, monkeypatch):
    first = run1(stage1(), encoder, pictures, captions)
    monkeypatch.setattr("cirlib.methods.map_to_compose.stage1.Pictures", None)
    assert same(weights(first.method.composer), weights(run1(stage1(), encoder, pictures, captions).method.composer))


def test_augmented_views_differ_from_each_other(encoder, pictures, captions, stage1):
    batches = MappingBatches(stage1(augment="weak", views=2), encoder, pictures, captions)
    batch, again, later = batches(0), batches(0), batches(1)
    assert torch.equal(batch.tokens, again.tokens) and not torch.equal(batch.features, batch.targets)
    assert len(batches.own) == 20 and not torch.equal(batch.features, later.features)


def test_a_missing_caption_is_named_and_not_needed_without_its_loss(encoder, pictures, captions, stage1):
    del captions["p3"]
    with pytest.raises(InputError, match="1 of 10 pictures have no caption .'p3'."):
        run1(stage1(), encoder, pictures, captions)
    assert "soft" not in run1(stage1(soft_weight=0.0, steps=1), encoder, pictures, {}).outcome.history[0]
    with pytest.raises(InputError, match="smaller batch|ask for 1 to"):
        run1(stage1(batch=11, soft_weight=0.0), encoder, pictures, {})


def test_stage_2_trains_nothing_but_its_adapters(tiny, encoder, composer, data, stage2, choice):
    before, clip_before = weights(composer), weights(tiny.model)
    trained = train_stage2(stage2(steps=6), encoder, composer, data, choice, progress=False)
    after = weights(trained.method.composer)
    assert same(before, weights(composer)) and same(clip_before, weights(tiny.model))
    assert same(before, {name: tensor for name, tensor in after.items() if not name.startswith("composing.")}), "statistics included"
    history = trained.outcome.history
    assert set(history[0]) >= {"i2t", "t2i", "map", "soft"} and any(row["norm"] > 0 for row in history)


def test_train_mode_as_released_lets_the_statistics_drift(encoder, composer, data, stage2):
    before = weights(composer)
    trained = train_stage2(stage2(stage1_trains=True), encoder, composer, data, progress=False)
    moved = {name for name, tensor in before.items() if not torch.equal(tensor, weights(trained.method.composer)[name])}
    assert moved and all("conv_norm.running" in name or "num_batches" in name for name in moved)
    assert same(before, weights(composer)), "the stage 1 that was handed in stays as it is"


def test_stage_2_learns_from_triplets(encoder, composer, data, stage2):
    history = train_stage2(stage2(steps=40, batch=8), encoder, composer, data, progress=False).outcome.history
    assert sum(row["i2t"] for row in history[-5:]) < 0.9 * sum(row["i2t"] for row in history[:5])


def test_an_interrupted_stage_2_ends_where_an_uninterrupted_one_does(encoder, composer, data, stage2, tmp_path, monkeypatch):
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "one"))
    whole = train_stage2(stage2(), encoder, composer, data, progress=False)
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "two"))
    train_stage2(stage2(), encoder, composer, data, stop_after=3, progress=False)
    parts = train_stage2(stage2(), encoder, composer, data, progress=False)
    assert same(weights(whole.method.composer), weights(parts.method.composer))


def test_mixed_precision_changes_rounding_only(encoder, pictures, captions, composer, data, stage1, stage2):
    for make, train, parts in (
        (stage1, train_stage1, (pictures, captions)),
        (stage2, train_stage2, (composer, data)),
    ):
        runs = [train(make(steps=1, precision=precision), encoder, *parts, progress=False) for precision in ("fp32", "bf16")]
        totals = [run.outcome.history[0]["total"] for run in runs]
        assert totals[0] == pytest.approx(totals[1], rel=0.05) and totals[0] != totals[1]


@pytest.mark.parametrize("injection", [True, False])
def test_stage_2_takes_any_mapper(tiny, encoder, composer, data, stage2, injection):
    torch.manual_seed(0)
    stage1 = Composer(SearleMapper(20, 24), composer.injection if injection else None)
    trained = train_stage2(stage2(steps=2), encoder, stage1, data, progress=False)
    assert isinstance(trained.method.composer.mapper, SearleMapper) and (trained.method.composer.injection is None) is not injection


def test_keys_kept_in_memory_are_those_computed_anew(tiny, encoder, composer, data, stage2, monkeypatch):
    recipe = stage2(init="released")
    whole = Composer(composer.mapper, composer.injection, new_composing(tiny, recipe))
    losses = ComposingLosses(whole, tiny, recipe).train()
    kept = ComposingBatches(recipe, encoder, whole, data)(0)
    monkeypatch.setattr("cirlib.methods.map_to_compose.stage2.HELD_BYTES", 0)
    anew = ComposingBatches(recipe, encoder, whole, data)(0)
    assert kept.tokens is None and anew.keys is None
    for name, loss in losses(kept).items():
        torch.testing.assert_close(loss, losses(anew)[name], atol=1e-4, rtol=1e-4)


def test_losses_of_stage_2_are_those_of_the_definition(tiny, encoder, composer, data, stage2):
    recipe = stage2(init="released", mixing="off", map_weight=2.0, temperature=0.1)
    whole = Composer(composer.mapper, composer.injection, new_composing(tiny, recipe)).eval()
    batch = ComposingBatches(recipe, encoder, whole, data)(0)
    losses = ComposingLosses(whole, tiny, recipe).eval()
    with torch.no_grad():
        found = losses(batch)
        composed = normalize(whole(tiny, batch.sentences, whole.mapper(batch.references), batch.keys), dim=-1)
        mapped = whole(tiny, losses.prompt.repeat(4), whole.mapper(batch.references), batch.keys)
    scores = composed @ normalize(batch.targets, dim=-1).T / 0.1
    torch.testing.assert_close(found["i2t"], cross_entropy(scores.T, torch.arange(4)) / 2)
    torch.testing.assert_close(found["t2i"], cross_entropy(scores, torch.arange(4)) / 2)
    torch.testing.assert_close(found["map"], 2 * contrast(batch.references, mapped, 10.0))
    as_released = ComposingLosses(whole, tiny, replace(recipe, teacher="target")).eval()(batch)
    assert as_released["soft"] != found["soft"]
    bare = ComposingLosses(whole, tiny, replace(recipe, map_weight=0.0, soft_weight=0.0)).eval()(batch)
    assert bare.keys() == {"i2t", "t2i"}


def test_a_missing_reference_caption_is_named(encoder, composer, data, stage2):
    bare = replace(data, triplets=(replace(data.triplets[0], reference_caption=""), *data.triplets[1:]))
    with pytest.raises(InputError, match="1 of 8 triplets have no reference caption"):
        train_stage2(stage2(), encoder, composer, bare, progress=False)
    train_stage2(stage2(soft_weight=0.0, steps=1), encoder, composer, bare, progress=False)


def test_decay_by_name_spares_biases_and_decays_norms(composer):
    def decayed(rule):
        sizes = {}
        for group in parameter_groups(composer, 1.0, 0.1, rule):
            sizes[group["weight_decay"]] = sizes.get(group["weight_decay"], 0) + sum(p.numel() for p in group["params"])
        return sizes

    norms = sum(p.numel() for name, p in composer.named_parameters() if "norm" in name and name.endswith("weight"))
    assert decayed("released")[0.1] == decayed("matrices")[0.1] + norms and norms > 0
    assert sum(decayed("released").values()) == sum(decayed("matrices").values()) == sum(p.numel() for p in composer.parameters())
