"""The mappers side by side: shared schedule, trainings that are read back, and the word's state before and after injection."""

import pytest
import torch

from cirlib.data.atelier.schema import COLORS
from cirlib.data.atelier.splits import picture
from cirlib.methods.map_to_compose.mapping_study import SEEN, MappingSettings, MappingStudy, unseen_captions, unseen_pictures, word_states
from cirlib.types import InputError

SETTINGS = {
    "steps": 2, "lincir_steps": 4, "batch": 4, "rate": 1e-3, "look_every": 2, "mapper_width": 8,
    "mapper_factor": 1, "mapper_dropout": 0.1, "noise": 0.1,
    "inverted": 4, "inversion_steps": 2, "inversion_batch": 2, "ema": 0.5, "concepts": 2, "phrases": 1, "hidden": 8, "grid": 0, "views": 1,
}  # fmt: skip


@pytest.fixture
def study(encoder, pictures, captions, choice):
    made = MappingStudy(encoder, pictures, captions, list(captions.values()), choice, MappingSettings.read({**SETTINGS, "seeds": [0]}))
    made.phrases = {"dress": ("a photo of $ with a belt",), "coat": ("a photo of $ with a hem",)}  # the tiny context is short
    return made


def test_settings_are_taken_from_a_notebooks_section_and_a_missing_one_is_named():
    assert MappingSettings.read({**SETTINGS, "other": 1}).steps == 2
    with pytest.raises(InputError, match="noise"):
        MappingSettings.read({name: value for name, value in SETTINGS.items() if name != "noise"})


def test_unseen_pictures_come_after_those_the_checkpoints_know():
    images = unseen_pictures(3, start=2)
    assert images.ids == tuple(f"pretrain-{SEEN + index:06d}" for index in (2, 3, 4))


def test_captions_are_true_sentences_and_more_of_them_begin_with_the_same():
    few, more = unseen_captions(5), unseen_captions(40)
    assert list(more.items())[:5] == list(few.items())
    assert tuple(few) == unseen_pictures(5).ids
    for index, sentence in enumerate(more.values()):
        design = picture("pretrain", SEEN + index).design
        named = {color for color in COLORS if color in sentence.replace(",", "").split()}
        assert named <= {design["color"], design.get("second_color")}, sentence


def test_every_mapper_trains_and_is_read_back(study):
    first = [study.pic2word(0), study.lincir(0), study.searle(0), study.stage1(0)]
    again = [study.pic2word(0), study.lincir(0), study.searle(0), study.stage1(0)]
    assert [one.method.name for one in first] == ["Pic2Word", "LinCIR", "SEARLE", "Map-to-Compose stage 1"]
    for one, other in zip(first, again, strict=True):
        assert one.outcome.history == other.outcome.history  # times included: nothing ran twice
        assert len(one.outcome.history) == SETTINGS["lincir_steps" if one.method.name == "LinCIR" else "steps"]


def test_seeds_share_schedule_and_inverted_words_but_not_weights(study):
    assert study.stage1_recipe(1, injection=False).injection is False
    assert study.stage1_recipe(1).steps == study.settings.steps
    weights = [study.pic2word(seed).mapper.state_dict()["layers.0.weight"] for seed in (0, 1)]
    assert not torch.equal(*weights)
    assert study.inverted is study.inverted and len(study.inverted) == SETTINGS["inverted"]


def test_states_of_the_word_are_equal_until_something_is_injected(study, pictures):
    silent = study.stage1(0, steps=1, rate=1e-9).method  # an answer that starts at zero, hardly moved
    loud = study.stage1(0, steps=1, rate=1e-9, answer="released").method
    for adapter in loud.composer.injection.adapters:
        adapter.to_answer[3].bias.data.fill_(0.5)  # otherwise the last ReLU of a random start may be silent everywhere
    before, after = word_states(silent, pictures)
    torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-5)
    before, after = word_states(loud, pictures)
    assert before.shape == after.shape == (len(pictures), before.shape[1])
    assert (after - before).abs().max() > 1e-3
    with pytest.raises(InputError, match="no injection"):
        word_states(study.stage1(0, injection=False).method, pictures)
