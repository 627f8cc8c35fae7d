import pytest
import torch
from tiny_v_dict_ae import tiny_recipe

from cirlib.methods.pix2key.reconstruction import reconstruction_losses
from cirlib.methods.pix2key.v_dict_ae import PROMPT, Batch, VDictAE
from cirlib.methods.pix2key.v_dict_ae_batches import Batches, augment
from cirlib.types import InputError

pytestmark = pytest.mark.usefixtures("own_cache")


def opened(images, count=None):
    return [images.open(i) for i in images.ids[:count]]


def frozen_parameters(models):
    vlm, diffusion = models
    for part in (vlm.model, diffusion.vae, diffusion.unet, diffusion.text_encoder):
        yield from ((name, p) for name, p in part.named_parameters() if "lora_" not in name)


@pytest.mark.parametrize("head", ["continuous", "vocabulary"])
def test_only_pooler_head_and_adapters_receive_gradients(models, images, head):
    model = VDictAE(models[0], tiny_recipe(head=head), models[1])
    batch = Batches(model, images, progress=False)(0)
    with model.adapted(training=True):
        losses = model(batch)
        model.total(losses).backward()
    assert set(losses) == {"v", "pixel", "guard"}
    assert all(p.grad is None and not p.requires_grad for _, p in frozen_parameters(models))
    own = dict(model.named_parameters())
    assert {name.split(".")[0] for name in own} == {"pooler", "head", "adapters"}
    silent = {name for name, p in own.items() if p.grad is None or not p.grad.any()}
    assert all(name.startswith("adapters.weights.") and int(name.split(".")[-1]) % 2 == 0 for name in silent)  # A, while B is zero


def test_computing_activations_twice_changes_no_gradient(models, images):
    found = []
    for checkpointing in (False, True):
        model = VDictAE(models[0], tiny_recipe(lora_dropout=0.0, checkpointing=checkpointing), models[1])
        batch = Batches(model, images, progress=False)(0)
        calls = []
        hook = models[0].model.model.language_model.layers[0].self_attn.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        with model.adapted(training=True):
            model.total(model(batch)).backward()
        hook.remove()
        found.append(({name: p.grad for name, p in model.named_parameters()}, len(calls)))
    (kept, once), (recomputed, twice) = found
    assert twice == 2 * once
    for name, gradient in kept.items():
        torch.testing.assert_close(recomputed[name], gradient, msg=name)
    assert not models[0].model.training and not models[0].model.model.language_model.training


def test_shapes_along_the_way(models, images):
    model = VDictAE(models[0], tiny_recipe(), models[1])
    patches = model.patches(opened(images, 3))
    slots = model.pooler(patches)
    assert slots.shape == (3, 6, models[0].hidden_size)
    context = model.context(slots)
    assert context.shape == (3, models[1].context_length, models[1].token_width)


def test_without_a_diffusion_model_there_is_no_head(models):
    assert not any(name.startswith("head") for name in VDictAE(models[0], tiny_recipe()).state_dict())


def test_v_loss_is_the_mean_square_of_the_difference_to_the_target(models, images):
    model = VDictAE(models[0], tiny_recipe(lora_rank=0), models[1])
    batch = Batches(model, images, progress=False)(1)
    diffusion = models[1]
    context = model.context(model.pooler(batch.patches))
    noisy = diffusion.add_noise(batch.latents, batch.noise, batch.timesteps)
    errors = []
    for row in range(4):
        one = slice(row, row + 1)
        made = diffusion.predict_v(noisy[one], batch.timesteps[one], context[one])
        wanted = diffusion.v_target(batch.latents[one], batch.noise[one], batch.timesteps[one])
        errors.append(sum((a - b) ** 2 for a, b in zip(made.flatten().tolist(), wanted.flatten().tolist(), strict=True)) / made.numel())
    assert model(batch)["v"].item() == pytest.approx(sum(errors) / 4, rel=1e-4)


def test_pixel_loss_looks_at_early_timesteps_only(models, images):
    model = VDictAE(models[0], tiny_recipe(lora_rank=0, guard_weight=0.0), models[1])
    batch = Batches(model, images, progress=False)(0)
    at = lambda *t: Batch(batch.patches, batch.latents, batch.noise, torch.tensor(t), batch.pixels)  # noqa: E731
    assert set(model(at(500, 700, 800, 900))) == {"v"}
    alone, both = model(at(100, 700, 800, 900))["pixel"], model(at(100, 700, 800, 499))["pixel"]
    assert 0 < alone < 1 and alone != both
    late = at(100, 700, 800, 900)
    late.pixels[1:] = 0.5
    torch.testing.assert_close(model(late)["pixel"], alone)


def test_the_guard_alone_needs_no_diffusion(models, images, monkeypatch):
    model = VDictAE(models[0], tiny_recipe(v_weight=0.0), models[1])
    batch = Batches(model, images, progress=False)(0)
    monkeypatch.setattr(models[1], "predict_v", None)
    assert batch.pixels is None and set(model(batch)) == {"guard"}
    assert model.total({"guard": torch.tensor(2.0)}) == pytest.approx(0.2)


def test_total_weighs_the_losses(models):
    model = VDictAE(models[0], tiny_recipe(v_weight=3.0, pixel_weight=0.5, guard_weight=2.0, lora_rank=0))
    losses = {"v": torch.tensor(1.0), "pixel": torch.tensor(10.0), "guard": torch.tensor(100.0)}
    assert model.total(losses) == 208 and model.total({"v": losses["v"]}) == 3


def test_fed_keeps_the_patches_in_front_when_asked(models, images):
    patches, slots = torch.randn(2, 4, 32), torch.randn(2, 6, 32)
    fed, grid = VDictAE(models[0], tiny_recipe(lora_rank=0)).fed(patches, slots)
    assert torch.equal(fed, slots) and grid is None
    keeping = VDictAE(models[0], tiny_recipe(lora_rank=0, keep_patches=True))
    fed, grid = keeping.fed(patches, slots)
    assert torch.equal(fed, torch.cat([patches, slots], 1)) and grid == (2, 2)
    with pytest.raises(InputError, match="square"):
        keeping.fed(patches[:, :3], slots)


def test_kept_patches_are_seen_as_the_stock_model_sees_them(models, images):
    """The language tower is causal: what it makes of the patches does not change when slots follow them."""
    vlm = models[0]
    patches = vlm.patch_features(opened(images, 2))
    model = VDictAE(vlm, tiny_recipe(lora_rank=0, keep_patches=True))
    fed, grid = model.fed(patches, torch.randn(2, 6, 32))
    stock, _, _ = vlm.answer_logits(patches, PROMPT, ["a", "a"], grid)
    same, _, _ = vlm.answer_logits(fed[:, :4], PROMPT, ["a", "a"], grid)
    torch.testing.assert_close(same, stock)


def test_every_picture_comes_once_an_epoch(models, images):
    batches = Batches(VDictAE(models[0], tiny_recipe(batch=5, guard_weight=0.0), models[1]), images, progress=False)
    first, second = ([*batches.rows(2 * e), *batches.rows(2 * e + 1)] for e in (0, 1))
    assert sorted(first) == sorted(second) == list(range(10)) and first != second


def test_a_step_is_the_same_batch_every_time_and_shared_among_processes(models, images):
    batches = Batches(VDictAE(models[0], tiny_recipe(), models[1]), images, progress=False)
    whole, again = batches(3), batches(3)
    assert torch.equal(whole.noise, again.noise) and torch.equal(whole.patches, again.patches)
    parts = [batches(3, process, 2) for process in (0, 1)]
    for name in ("patches", "latents", "noise", "timesteps"):
        assert torch.equal(getattr(whole, name)[0::2], getattr(parts[0], name))
        assert torch.equal(getattr(whole, name)[1::2], getattr(parts[1], name))
    assert [answer.text for answer in parts[1].stock] == [answer.text for answer in whole.stock[1::2]]


def test_tables_equal_what_the_frozen_models_make(models, images):
    vlm, diffusion = models
    batches = Batches(VDictAE(vlm, tiny_recipe(guard_weight=0.0), diffusion), images, progress=False)
    batch, rows = batches(0), batches.rows(0)
    chosen = [images.open(images.ids[row]) for row in rows]
    torch.testing.assert_close(batch.patches, vlm.patch_features(chosen))
    torch.testing.assert_close(batch.latents, diffusion.encode(diffusion.pixels(chosen)))
    torch.testing.assert_close(batch.pixels, diffusion.pixels(chosen))


def test_augmentation_gives_both_models_the_same_crop(models, images, monkeypatch):
    model = VDictAE(models[0], tiny_recipe(augment=True, guard_weight=0.0), models[1])
    seen = {}
    patches, pixels = model.patches, models[1].pixels
    monkeypatch.setattr(model, "patches", lambda crops: seen.setdefault("vlm", list(crops)) and patches(crops))
    monkeypatch.setattr(models[1], "pixels", lambda crops: seen.setdefault("vae", list(crops)) and pixels(crops))
    batches = Batches(model, images, progress=False)
    batch = batches(0)
    assert [a.tobytes() for a in seen["vlm"]] == [b.tobytes() for b in seen["vae"]]
    torch.testing.assert_close(batch.pixels, pixels(seen["vae"]))
    assert seen["vlm"][0].tobytes() != images.open(images.ids[batches.rows(0)[0]]).tobytes()


def test_augment_crops_between_80_and_100_percent_and_flips_half_of_them(images):
    import numpy as np
    from PIL import Image

    ramp = Image.fromarray(np.tile(np.arange(0, 200, 2, dtype=np.uint8), (100, 1)))
    rng = np.random.default_rng(0)
    spans, flips = [], 0
    for _ in range(200):
        row = np.asarray(augment(ramp, rng), float)[50]
        flips += row[0] > row[-1]
        spans.append((row.max() - row.min()) / 198)
    assert 70 < flips < 130
    assert min(spans) > 0.8**0.5 - 0.03 and max(spans) <= 1.0


def test_reconstruction_losses_by_hand(models, images):
    model = VDictAE(models[0], tiny_recipe(lora_rank=0), models[1])
    few = opened(images, 3)
    losses, again = reconstruction_losses(model, few), reconstruction_losses(model, few, batch=2)
    torch.testing.assert_close(losses.right, again.right)
    diffusion, total = models[1], 0.0
    draw = torch.Generator().manual_seed(0)
    latents = diffusion.encode(diffusion.pixels(few))
    contexts = model.context(model.pooler(model.patches(few)))
    for t in (100, 300, 500, 700, 900):
        noise = torch.randn(latents.shape, generator=draw)
        at = torch.tensor([t])
        noisy, wanted = (f(latents[2:], noise[2:], at) for f in (diffusion.add_noise, diffusion.v_target))
        total += (diffusion.predict_v(noisy, at, contexts[:1]) - wanted).square().mean().item() / 5
    assert losses.wrong[2].item() == pytest.approx(total, rel=1e-4)  # the last picture gets the first one's slots
    torch.testing.assert_close(losses.gap, losses.wrong - losses.right)
    with pytest.raises(InputError, match="2 or more"):
        reconstruction_losses(model, few[:1])


def test_refuses_too_few_pictures(models, images):
    with pytest.raises(InputError, match="10 pictures and batches of 11"):
        Batches(VDictAE(models[0], tiny_recipe(batch=11, lora_rank=0), models[1]), images, progress=False)
