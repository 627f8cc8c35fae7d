"""The losses against slow loops, the batches, and a whole pretraining in miniature of the miniature."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from interruptions import interruption, record_steps
from tiny_clip import CONTEXT

from cirlib.backbones import clip_pretraining, training_steps
from cirlib.backbones.clip import Clip, load_clip
from cirlib.backbones.clip_pretraining import (
    MEAN,
    PROMPT_CODES,
    SPANS,
    STD,
    Batches,
    Losses,
    Recipe,
    Student,
    caption_fits,
    contrastive_loss,
    encode_trimmed,
    learning_rate,
    pretrain,
    value_loss,
)
from cirlib.data.atelier import render
from cirlib.data.atelier.prompts import value_phrases, value_prompts
from cirlib.data.atelier.schema import ATTRIBUTES
from cirlib.data.atelier.splits import picture
from cirlib.data.atelier.truth import NAMES, value_codes


def unit_rows(seed: int, rows: int, dim: int = 7) -> torch.Tensor:
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1)


def slow_contrast(logits: np.ndarray, fits: np.ndarray) -> float:
    """Mean cross-entropy of each row against the even share over its positives, both ways, number by number."""
    total = 0.0
    for table, positives in ((logits, fits), (logits.T, fits.T)):
        for row, right in zip(table, positives, strict=True):
            whole = math.log(sum(math.exp(value) for value in row))
            total += np.mean([whole - value for value, yes in zip(row, right, strict=True) if yes]) / len(table) / 2
    return total


def random_codes(seed: int, rows: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([rng.integers(-1, len(ATTRIBUTES[name].values), rows) for name in NAMES], 1))


@pytest.mark.parametrize("seed", range(5))
def test_contrast_with_several_positives_is_the_slow_loop(seed: int):
    image, text, scale = unit_rows(seed, 6), unit_rows(seed + 100, 6), torch.tensor(9.0, dtype=torch.float64)
    fits = (torch.rand(6, 6, generator=torch.Generator().manual_seed(seed)) < 0.4) | torch.eye(6, dtype=torch.bool)
    expected = slow_contrast((scale * image @ text.T).numpy(), fits.numpy())
    assert contrastive_loss(image, text, scale, fits).item() == pytest.approx(expected, rel=1e-6)


def test_contrast_is_plain_info_nce_where_every_caption_fits_only_its_picture():
    image, text, scale = unit_rows(0, 8), unit_rows(1, 8), torch.tensor(20.0)
    logits, own = scale * image @ text.T, torch.arange(8)
    expected = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(contrastive_loss(image, text, scale, torch.eye(8, dtype=torch.bool)), expected)


def test_contrast_is_least_where_equal_designs_share_their_captions():
    rows = torch.eye(4, dtype=torch.float64)[[0, 0, 1, 2]]
    fits, scale = rows @ rows.T > 0, torch.tensor(50.0, dtype=torch.float64)
    assert contrastive_loss(rows, rows, scale, fits).item() == pytest.approx(math.log(2) / 2, abs=1e-6)  # half the rows have two positives
    assert contrastive_loss(rows, rows.roll(1, 0), scale, fits) > 5


def test_captions_fit_what_they_name():
    rng = np.random.default_rng(0)
    designs = [picture("test", index).design for index in range(32)]  # one family: many fits
    mentions = [{name for name in design if rng.random() < 0.2} for design in designs]
    expected = [
        [all(d.get(name) == named[name] for name in mention) for named, mention in zip(designs, mentions, strict=True)] for d in designs
    ]
    mentioned = torch.tensor([[name in mention for name in NAMES] for mention in mentions])
    found = caption_fits(torch.from_numpy(value_codes(designs)), mentioned)
    assert found.tolist() == expected
    assert found.diagonal().all() and 32 < found.sum() < 32 * 32


@pytest.mark.parametrize("seed", range(3))
def test_value_loss_is_the_slow_loop(seed: int):
    rows, values, codes = unit_rows(seed, 5), unit_rows(seed + 50, SPANS[-1].stop), random_codes(seed, 5)
    codes[:, 3] = -1  # an attribute that no picture of the batch has is left out of the mean
    per_attribute = []
    for column, name in enumerate(NAMES):
        first = sum(len(ATTRIBUTES[before].values) for before in NAMES[:column])
        losses = []
        for row, code in zip(rows, codes[:, column].tolist(), strict=True):
            if code >= 0:
                logits = [3.0 * float(row @ values[first + value]) for value in range(len(ATTRIBUTES[name].values))]
                losses.append(math.log(sum(map(math.exp, logits))) - logits[code])
        if losses:
            per_attribute.append(np.mean(losses))
    assert len(per_attribute) < len(NAMES)
    assert value_loss(rows, values, torch.tensor(3.0), codes).item() == pytest.approx(np.mean(per_attribute), rel=1e-6)


def test_spans_and_prompt_codes_follow_the_order_of_the_prompts():
    rng = np.random.default_rng(0)
    place = 0
    for column, (name, span) in enumerate(zip(NAMES, SPANS, strict=True)):
        prompts = value_prompts(rng, name)
        assert span == slice(place, place + len(prompts))
        for code, (value, prompt) in enumerate(zip(ATTRIBUTES[name].values, prompts, strict=True)):
            assert prompt in value_phrases(name, value)
            assert PROMPT_CODES[place + code].tolist() == [code if other == column else -1 for other in range(len(NAMES))]
        place += len(prompts)
    assert PROMPT_CODES.shape == (place, len(NAMES))


@pytest.mark.parametrize("lengths", [[5], [2, CONTEXT], [9, 3, 4, CONTEXT, 2, 3, 8]])
def test_trimmed_encoding_is_open_clips_own(tiny: Clip, lengths: list[int]):
    rng = np.random.default_rng(0)
    tokens = torch.zeros(len(lengths), CONTEXT, dtype=torch.long)
    for row, length in enumerate(lengths):
        tokens[row, :length] = torch.from_numpy(rng.integers(1, 500, length))
        tokens[row, 0], tokens[row, length - 1] = tiny.tokenizer.sot_token_id, tiny.tokenizer.eot_token_id
    with torch.no_grad():
        torch.testing.assert_close(encode_trimmed(tiny.model, tokens), F.normalize(tiny.model.encode_text(tokens), dim=-1))


def test_learning_rate_rises_then_falls_to_zero():
    recipe = Recipe(steps=50, horizon=70, warmup=10, cooldown=20, peak_rate=0.5)
    rates = [learning_rate(step, recipe) for step in range(50)]
    assert rates[0] == pytest.approx(0.05) and rates[9] == rates[10] == 0.5
    cosine = [0.25 * (1 + math.cos(math.pi * (step - 10) / 60)) for step in range(50)]
    assert rates[10:31] == pytest.approx(cosine[10:31]), "a plain cosine until the cooldown"
    assert rates[40] == pytest.approx(cosine[40] / 2) and rates[49] == pytest.approx(cosine[49] / 20)
    assert np.all(np.diff(rates[:10]) > 0) and np.all(np.diff(rates[10:]) < 0)
    assert learning_rate(50, recipe) == 0


@pytest.fixture
def few_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of this test alone, in shards of 16, so that few pictures are drawn."""
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(render, "SHARD", 16)


def test_a_step_alone_decides_its_batch(few_pictures: None):
    recipe = Recipe(pictures=16, batch=6)
    batches = Batches(recipe, list)  # the texts stand for their tokens
    batch = batches(3)
    batches(4)
    again, other, seeded = Batches(recipe, list)(3), batches(4), Batches(Recipe(pictures=16, batch=6, seed=1), list)(3)
    for name, value in batch.items():
        assert value == again[name] if isinstance(value, list) else torch.equal(value, again[name]), name
        if name != "prompts":  # sixty-five prompts may, but need not, all be worded alike
            assert str(value) != str(other[name]) and str(value) != str(seeded[name]), name


def test_a_batch_holds_pictures_with_their_codes_and_captions(few_pictures: None):
    batch = Batches(Recipe(pictures=16, batch=8), list)(0)
    pixels = batch["images"] * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    drawn = {(255 * p).round().to(torch.uint8).permute(1, 2, 0).numpy().tobytes(): row for row, p in enumerate(pixels)}
    rows = {drawn[content]: index for index in range(16) if (content := render.draw_picture("pretrain", index).tobytes()) in drawn}
    assert sorted(rows) == list(range(8)), "eight different pictures of the split"
    for row, index in rows.items():
        design = picture("pretrain", index).design
        assert batch["codes"][row].tolist() == value_codes([design])[0].tolist()
        named = [name for name, yes in zip(NAMES, batch["mentioned"][row].tolist(), strict=True) if yes]
        assert named and set(named) <= set(design)
        assert "color" not in named or design["color"] in batch["tokens"][row]
    assert len(batch["prompts"]) == SPANS[-1].stop


def tiny_config(vocabulary: int) -> dict:
    return {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 96, "patch_size": 48, "width": 16, "head_width": 8, "layers": 1},
        "text_cfg": {"context_length": 77, "vocab_size": vocabulary, "width": 16, "heads": 2, "layers": 1},
    }


@pytest.fixture
def steps_taken(few_pictures: None, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A tiny model, saved every second step; the list fills with the steps that the training takes."""
    monkeypatch.setattr(clip_pretraining, "model_config", tiny_config)
    monkeypatch.setattr(training_steps, "SAVE_EVERY", 2)
    return record_steps(monkeypatch, Losses, "__call__")


SHORT = Recipe(pictures=8, steps=2, cooldown=1, batch=4, merges=30, corpus=20, warmup=1)
LONG = replace(SHORT, steps=4)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_clip(folder, device="cpu").model.state_dict()


def test_pretraining_writes_a_checkpoint_that_loads(tmp_path: Path, steps_taken: list[int], monkeypatch: pytest.MonkeyPatch):
    pretrain(SHORT, tmp_path / "clip")
    clip = load_clip(tmp_path / "clip", device="cpu")
    assert steps_taken == [0, 1] and clip.embedding_dim == 16 and clip.image_size == 96
    assert clip.transform.mean == MEAN and clip.transform.std == STD
    assert clip.encode_texts(["a red dress"]).isfinite().all()
    training = json.loads((tmp_path / "clip" / "training.json").read_text())
    assert training["recipe"]["steps"] == 2 and training["parameters"] == sum(p.numel() for p in clip.model.parameters())
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "other cache"))
    pretrain(SHORT, tmp_path / "again")
    assert steps_taken == [0, 1, 0, 1]
    for name, tensor in weights(tmp_path / "again").items():
        assert torch.equal(tensor, clip.model.state_dict()[name]), f"the same recipe gives the same {name}"


def test_an_interrupted_pretraining_goes_on_where_it_was_saved(tmp_path: Path, steps_taken: list[int], monkeypatch: pytest.MonkeyPatch):
    with interruption(Losses, "__call__", step=3):
        pretrain(LONG, tmp_path / "resumed")
    assert steps_taken == [0, 1, 2] and not (tmp_path / "resumed" / "open_clip_model.safetensors").exists()
    pretrain(LONG, tmp_path / "resumed")
    assert steps_taken == [0, 1, 2, 2, 3]
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "other cache"))
    pretrain(LONG, tmp_path / "whole")
    assert steps_taken == [0, 1, 2, 2, 3, 0, 1, 2, 3], "nothing was saved there"
    resumed, whole = weights(tmp_path / "resumed"), weights(tmp_path / "whole")
    for name, tensor in whole.items():
        assert torch.equal(resumed[name], tensor), name


def test_the_scale_of_the_logits_stays_within_its_bounds(tmp_path: Path, steps_taken: list[int], monkeypatch: pytest.MonkeyPatch):
    sizes = []
    real = Student.limit_scale

    def limit(student: Student) -> None:
        with torch.no_grad():
            student.clip.logit_scale.add_(9.0)
        real(student)
        sizes.append(student.clip.logit_scale.exp().item())

    monkeypatch.setattr(Student, "limit_scale", limit)
    pretrain(SHORT, tmp_path / "clip")
    assert sizes == pytest.approx([100.0, 100.0])


def test_a_state_of_another_recipe_is_left_alone(tmp_path: Path, steps_taken: list[int]):
    state = tmp_path / "cache" / "pretraining" / "clip.pt"
    state.parent.mkdir(parents=True)
    torch.save({"recipe": {"steps": 7}, "step": 1}, state)
    pretrain(SHORT, tmp_path / "clip")
    assert steps_taken == [0, 1]
