import json

import numpy as np
import pytest
import torch
from tiny_v_dict_ae import tiny_recipe

from cirlib.backbones.vlm_prompts import DICTIONARY_PROMPT
from cirlib.methods.pix2key.reconstruction import reconstruct, reconstruction_losses
from cirlib.methods.pix2key.slot_writer import SlotWriter
from cirlib.methods.pix2key.v_dict_ae import VDictAE
from cirlib.methods.pix2key.v_dict_ae_recipe import Recipe
from cirlib.methods.pix2key.v_dict_ae_training import (
    Average,
    load_v_dict_ae,
    parameter_groups,
    save_v_dict_ae,
    train_v_dict_ae,
)
from cirlib.types import InputError

pytestmark = pytest.mark.usefixtures("own_cache")


def train(models, images, recipe, **options):
    return train_v_dict_ae(recipe, *models, images, progress=False, **options)


def weights(trained):
    return {name: tensor.clone() for name, tensor in trained.model.state_dict().items()}


def frozen(models):
    vlm, diffusion = models
    parts = {"vlm": vlm.model, "vae": diffusion.vae, "unet": diffusion.unet, "text": diffusion.text_encoder}
    return {
        f"{part}.{name.replace('.base_layer', '')}": tensor.clone()
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
        if "lora_" not in name
    }


def test_frozen_weights_are_bit_identical_after_training_and_the_trained_ones_moved(models, images):
    before, start = frozen(models), VDictAE(models[0], tiny_recipe(), models[1]).state_dict()
    trained = train(models, images, tiny_recipe(steps=2))
    after = frozen(models)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    moved = {name.split(".")[0] for name, tensor in trained.model.state_dict().items() if not torch.equal(tensor, start[name])}
    assert moved == {"pooler", "head", "adapters"}


def test_an_interrupted_training_ends_at_the_same_weights(models, images, tmp_path, monkeypatch):
    recipe = tiny_recipe(head="vocabulary", lora_dropout=0.3)
    whole = train(models, images, recipe)
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "other"))
    part = train(models, images, recipe, stop_after=3)
    assert len(part.history) == 3
    rest = train(models, images, recipe)
    assert [row["step"] for row in rest.history] == list(range(6))
    assert [row["total"] for row in rest.history] == [row["total"] for row in whole.history]
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(rest)[name]), name


def test_a_finished_training_is_read_back(models, images):
    first = train(models, images, tiny_recipe(steps=2))
    again = train(models, images, tiny_recipe(steps=2))
    assert first.history == again.history
    assert all(torch.equal(tensor, weights(again)[name]) for name, tensor in weights(first).items())


def test_another_seed_gives_other_weights_and_the_global_generator_is_left_alone(models, images):
    state = torch.get_rng_state()
    first, second = (weights(train(models, images, tiny_recipe(seed=seed, steps=2))) for seed in (0, 1))
    assert not torch.equal(first["pooler.queries"], second["pooler.queries"])
    assert torch.equal(torch.get_rng_state(), state)


def test_losses_fall_on_a_few_pictures(models, images):
    few = images.select(images.ids[:4])
    recipe = tiny_recipe(steps=20, rate=2e-2, warmup=3, guard_weight=1.0, pixel_weight=0.0, save_every=100)
    seen = []
    trained = train(models, few, recipe, watch=lambda step, model: seen.append(reconstruction_losses(model, opened(few)).right.mean()))
    assert seen[-1] < seen[0]
    guard = [row["guard"] for row in trained.history]
    assert np.mean(guard[-5:]) < 0.8 * np.mean(guard[:5])


def opened(images):
    return [images.open(i) for i in images.ids]


def test_history_has_a_row_per_step(models, images):
    trained = train(models, images, tiny_recipe(steps=4))
    rows = trained.history
    assert {row["step"] % 2 for row in rows if "pixel" in row} == {0}  # every second step, where a timestep is early
    assert all({"step", "v", "guard", "total", "norm", "rate", "seconds"} <= row.keys() for row in rows)
    for row in rows:
        assert row["total"] == pytest.approx(row["v"] + 0.05 * row.get("pixel", 0.0) + 0.1 * row["guard"], rel=1e-5)
    assert trained.seconds == pytest.approx(sum(row["seconds"] for row in rows)) and trained.peak_mib > 10


def watched(models, images, recipe, every=2, **options):
    """What a watch sees: the averaged weights by steps done."""
    seen = {}

    def watch(done, model):
        seen[done] = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    train(models, images, recipe, watch=watch, watch_every=every, **options)
    return seen


def test_watch_does_not_disturb_and_sees_the_same_of_a_training_that_is_resumed_or_read_back(models, images, tmp_path, monkeypatch):
    recipe = tiny_recipe(pixel_weight=0.0)
    plain = weights(train(models, images, recipe))
    whole = watched(models, images, recipe)
    assert not torch.equal(whole[2]["pooler.queries"], whole[6]["pooler.queries"])
    assert all(torch.equal(tensor, whole[6][name]) for name, tensor in plain.items())
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "other"))
    for stop_after, stages in ((3, [0, 2]), (4, [0, 2, 4]), (None, [0, 2, 4, 6]), (None, [0, 2, 4, 6])):
        seen = watched(models, images, recipe, stop_after=stop_after)
        assert list(seen) == stages
        for step in stages:
            assert all(torch.equal(tensor, whole[step][name]) for name, tensor in seen[step].items()), (stop_after, step)


def test_a_finished_training_that_was_watched_at_other_steps_is_trained_again(models, images):
    recipe = tiny_recipe(steps=2, pixel_weight=0.0)
    train(models, images, recipe)
    assert [list(watched(models, images, recipe, every)) for every in (1, 0)] == [[0, 1, 2], [0, 2]]


def test_average_is_the_plain_recursion(models):
    model = VDictAE(models[0], tiny_recipe(head="vocabulary"), models[1])
    average, name = Average(model), "pooler.queries"
    slow = model.pooler.queries.detach().clone()
    recipe = tiny_recipe(ema=0.5)
    for step in range(4):
        with torch.no_grad():
            model.pooler.queries.add_(1.0)
            model.head.cool()
        decay = min(0.5, (1 + step) / (10 + step))
        slow = decay * slow + (1 - decay) * model.pooler.queries.detach()
        average.update(model, recipe.ema_decay(step))
    torch.testing.assert_close(average.weights[name], slow)
    assert average.weights["head.tau"] == model.head.tau  # buffers are copied


def test_weight_decay_spares_norms_biases_and_queries(models):
    model = VDictAE(models[0], tiny_recipe(lora_rate=1e-5), models[1])
    groups = parameter_groups(model, model.recipe)
    place = {id(p): group for group in groups for p in group["params"]}
    assert len(place) == len(list(model.parameters()))
    for name, p in model.named_parameters():
        spared = name in ("pooler.queries", "pooler.types") or "norm" in name or name.endswith("bias")
        assert (place[id(p)]["weight_decay"] == 0) == spared, name
        assert place[id(p)]["peak"] == (1e-5 if name.startswith("adapters") else 2e-3), name


def test_checkpoint_gives_the_same_slots_and_texts(models, images, tmp_path):
    recipe = tiny_recipe(steps=2)
    trained = train(models, images, recipe, folder=tmp_path / "checkpoint")
    stored = json.loads((tmp_path / "checkpoint" / "training.json").read_text())
    assert Recipe.read(stored["recipe"]) == recipe and stored["peak_mib"] > 10
    for diffusion in (None, models[1]):
        loaded = load_v_dict_ae(tmp_path / "checkpoint", models[0], diffusion)
        assert loaded.weights_hash() == trained.model.weights_hash()
        patches = loaded.patches(opened(images))
        assert torch.equal(loaded.pooler(patches), trained.model.pooler(patches))
    assert (loaded.head is None) == (diffusion is None)


def test_checkpoints_refuse_other_models_and_empty_folders(models, images, tmp_path):
    with pytest.raises(InputError, match="holds no V-Dict-AE"):
        load_v_dict_ae(tmp_path, models[0])
    trained = train(models, images, tiny_recipe(steps=1))
    save_v_dict_ae(trained, tmp_path / "checkpoint")
    file = tmp_path / "checkpoint" / "training.json"
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({**stored, "vlm": {"weights": "another"}}))
    with pytest.raises(InputError, match="was trained on"):
        load_v_dict_ae(tmp_path / "checkpoint", models[0])
    file.write_text(json.dumps({**stored, "recipe": {**stored["recipe"], "colour": 1}}))
    with pytest.raises(InputError, match="no colour"):
        load_v_dict_ae(tmp_path / "checkpoint", models[0])


@pytest.mark.parametrize("keep_patches", [False, True])
def test_slot_writer_writes_what_the_slots_say_and_remembers_it(models, images, tmp_path, keep_patches, monkeypatch):
    vlm, images = models[0], images.select(images.ids[:3])
    model = VDictAE(vlm, tiny_recipe(keep_patches=keep_patches)).eval()
    with torch.no_grad():
        for weight in model.adapters.parameters():
            weight.add_(0.05)
    writer = SlotWriter(model, cache=tmp_path, batch=2, progress=False)
    texts = writer(images, DICTIONARY_PROMPT)
    with torch.no_grad(), model.adapted():
        patches = vlm.patch_features(opened(images)[:1])
        fed, grid = model.fed(patches, model.pooler(patches))
        assert texts[0] == vlm.write_from_slots(fed, DICTIONARY_PROMPT.text, grid=grid)[0]
    monkeypatch.setattr(vlm, "write_from_slots", None)  # a second call must not need it
    assert writer(images, DICTIONARY_PROMPT) == texts
    before = writer.fingerprint
    with torch.no_grad():
        model.pooler.queries.add_(0.1)
    assert writer.fingerprint != before


def test_slot_writer_takes_one_prompt_for_all(models, images, tmp_path):
    writer = SlotWriter(VDictAE(models[0], tiny_recipe(lora_rank=0)), cache=tmp_path, progress=False)
    few = opened(images)[:2]
    assert writer.write(few, ["Describe", "Describe"], 4) == writer.write(few, "Describe", 4)
    with pytest.raises(InputError, match="2 different prompts"):
        writer.write(few, ["one", "two"], 4)


def test_reconstructions_are_pictures_and_follow_the_seed(models, images):
    model = VDictAE(models[0], tiny_recipe(lora_rank=0), models[1])
    few = opened(images)[:2]
    first, again, other = (reconstruct(model, few, steps=2, seed=seed) for seed in (0, 0, 1))
    assert len(first) == 2 and first[0].size == (models[1].image_size,) * 2
    assert first[0].tobytes() == again[0].tobytes() != other[0].tobytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 0}, "steps = 0"),
        ({"v_weight": 0.0, "guard_weight": 0.0}, "nothing to train"),
        ({"guard_weight": -1.0}, "guard_weight"),
        ({"ema": 1.0}, "ema"),
        ({"precision": "fp16"}, "fp32 or bf16"),
    ],
)
def test_recipes_refuse_what_cannot_be(change, words):
    with pytest.raises(InputError, match=words):
        tiny_recipe(**change)
