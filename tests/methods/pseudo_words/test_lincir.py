import pytest
import torch
from tiny_mappers import run

from cirlib.methods.pseudo_words.lincir import LincirObjective, add_noise
from cirlib.methods.pseudo_words.mappers import SearleMapper
from cirlib.methods.pseudo_words.sentence import pseudo_sentences

CAPTIONS, HOLED = ["a red dress of red", "that dress", "of"], ["$ of $", "that $", "a photo of $"]


def test_the_loss_is_the_squared_error_of_replaced_and_original_sentences(tiny):
    """One sentence at a time, through the whole context, number by number."""
    mapper = SearleMapper(20, 24, factor=1).eval()
    found = LincirObjective(tiny, mapper, noise=0.0)((CAPTIONS, HOLED))["sentence"]
    errors = []
    for caption, holed in zip(CAPTIONS, HOLED, strict=True):
        wanted = tiny.encode_texts([caption])
        with torch.no_grad():
            said = pseudo_sentences(tiny, [holed], mapper(wanted))
        errors += [(float(a) - float(b)) ** 2 for a, b in zip(wanted[0], said[0], strict=True)]
    assert found.item() == pytest.approx(sum(errors) / len(errors), rel=1e-4)


def test_noise_is_normal_with_a_uniform_size_per_row():
    torch.manual_seed(0)
    rows = add_noise(torch.zeros(4000, 64))
    sizes = rows.pow(2).mean(1).sqrt()
    assert sizes.max() < 1.3 and sizes.mean().item() == pytest.approx(0.5, abs=0.02)
    assert sizes.std().item() == pytest.approx(12**-0.5, abs=0.02)
    assert torch.equal(add_noise(torch.ones(2, 3), 0.0), torch.ones(2, 3))


def test_it_learns_from_sentences_alone(encoder, pictures):
    trained = run("lincir", encoder, None, steps=40, dropout=0.0, noise=0.1)
    history = trained.outcome.history
    assert history[-1]["sentence"] < 0.9 * history[0]["sentence"]
    assert trained.method.words(pictures).shape == (12, 24)
