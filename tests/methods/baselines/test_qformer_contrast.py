"""SPRC and the tuned sum against passes written by hand; both learn; the encoder they start from stays as it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from color_world import IMAGES, benchmark, recall
from tiny_qformer import ByHand, write_tiny_qformer

from cirlib.backbones.qformer import load_qformer
from cirlib.methods.baselines.contrast import Triplets
from cirlib.methods.baselines.qformer_contrast import _Reader
from cirlib.methods.baselines.sprc import Sprc, SprcRecipe, train_sprc
from cirlib.methods.baselines.tuned_sum import TunedSum, TunedSumRecipe, train_tuned_sum
from cirlib.methods.qformer_encoder import QFormerEncoder
from cirlib.types import InputError, Method

TEXTS = ["is red and v-neck with shorter sleeves", "is blue", "darker, no belt"]
SMALL = {"steps": 4, "batch": 6, "rate": 1e-3, "warmup": 1, "look_every": 4, "choose": "recall@1"}
KINDS = {"sprc": (train_sprc, SprcRecipe(**SMALL)), "sum": (train_tuned_sum, TunedSumRecipe(**SMALL))}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_qformer(tmp_path_factory.mktemp("qformer"))


@pytest.fixture
def qformer(folder):
    return load_qformer(folder, "cpu", torch.float32)


@pytest.fixture
def vision(qformer):
    pixels = torch.randn(2, 3, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    return [qformer.vision_tokens(part) for part in pixels]  # references, targets


def pieces(qformer):
    tokens = qformer.tokenize(TEXTS)
    return [ids[mask == 1].tolist() for ids, mask in zip(tokens.ids, tokens.mask, strict=True)]


def unit(row):
    return row / row.norm()


def infonce(queries, targets, temperature):
    scores = torch.stack([torch.stack([(target @ query).max() for target in targets]) for query in queries]) / temperature
    return -sum(scores[i, i] - scores[i].exp().sum().log() for i in range(len(queries))) / len(queries)


def test_sprc_is_two_passes_and_three_losses(qformer, vision):
    module = Sprc(qformer, SprcRecipe(relative_weight=0.5, align_weight=0.25)).eval()
    hand, prompts = ByHand(qformer.model), module.prompts.detach().double()[0]
    fused, queries, told = [], [], []
    for tokens, ids in zip(vision[0], pieces(qformer), strict=True):
        fused.append(hand.qformer(hand.weights["query_tokens"][0], ids, tokens)[0])
        _, words = hand.qformer(fused[-1], ids, None)
        queries.append(unit(hand.linear(words[0], "text_projection")))
        told.append(unit(hand.linear(hand.qformer(prompts, ids, None)[0][0], "text_projection")))
    targets = [hand.image_tokens(tokens) for tokens in vision[1]]
    wanted = {
        "contrast": infonce(queries, targets, 0.07),
        "relative": 0.5 * infonce(told, targets, 0.07),
        "align": 0.25 * sum((f.mean(0) - prompts.mean(0)).square().mean() for f in fused) / 3,
    }
    torch.testing.assert_close(module.query(vision[0], TEXTS).double(), torch.stack(queries), rtol=1e-4, atol=2e-5)
    losses = module((vision[0], TEXTS, vision[1]))
    assert list(losses) == list(wanted)
    for name, loss in losses.items():
        torch.testing.assert_close(loss.double(), wanted[name], rtol=1e-3, atol=1e-4, msg=name)


def test_the_learned_prompt_is_an_aim_and_not_moved_by_the_third_loss(qformer, vision):
    module = Sprc(qformer, SprcRecipe()).eval()
    losses = module((vision[0], TEXTS, vision[1]))
    assert torch.autograd.grad(losses["align"], module.prompts, allow_unused=True, retain_graph=True) == (None,)
    assert torch.autograd.grad(losses["relative"], module.prompts)[0].abs().sum() > 0
    plain = Sprc(qformer, SprcRecipe(relative_weight=0.0, align_weight=0.0))
    assert list(plain((vision[0], TEXTS, vision[1]))) == ["contrast"]


def test_the_sum_is_image_and_text_and_nothing_else(qformer, vision):
    module, hand = TunedSum(qformer, TunedSumRecipe()).eval(), ByHand(qformer.model)
    wanted = [
        unit(unit(hand.image_tokens(tokens).mean(0)) + hand.text_embedding(ids))
        for tokens, ids in zip(vision[0], pieces(qformer), strict=True)
    ]
    torch.testing.assert_close(module.query(vision[0], TEXTS).double(), torch.stack(wanted), rtol=1e-4, atol=2e-5)
    loss = module((vision[0], TEXTS, vision[1]))["contrast"]
    torch.testing.assert_close(
        loss.double(), infonce(wanted, [hand.image_tokens(tokens) for tokens in vision[1]], 0.07), rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("kind", KINDS)
def test_training_leaves_the_start_alone_and_can_be_interrupted(kind, qformer, tmp_path, monkeypatch):
    train, recipe = KINDS[kind]
    encoder = QFormerEncoder(qformer, progress=False)
    before = encoder.fingerprint

    def run(**more):
        return train(recipe, encoder, benchmark("train"), benchmark("val"), recall, progress=False, **more)

    whole = run()
    assert encoder.fingerprint == before and not any(p.requires_grad for p in qformer.parameters())
    assert isinstance(whole.method, Method) and whole.method.fingerprint != before and len(whole.outcome.history) == 4
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "other"))
    run(stop_after=2)
    halves = run()
    assert halves.method.fingerprint == whole.method.fingerprint and halves.outcome.looks == whole.outcome.looks
    rows = [result.method.compose(benchmark("val").queries, IMAGES).rows for result in (whole, halves)]
    assert torch.equal(*rows) and not rows[0].requires_grad
    assert whole.method.encode_gallery(IMAGES).rows.shape == (6, 3, 12)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns(kind, qformer):
    train, recipe = KINDS[kind]
    recipe = replace(recipe, steps=16, batch=12, rate=3e-3, look_every=8)
    result = train(recipe, QFormerEncoder(qformer, progress=False), benchmark("train"), benchmark("val"), recall, progress=False)
    losses = [row["contrast"] for row in result.outcome.history]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])
    assert max(seen["recall@1"] for seen in result.outcome.looks.values()) > result.outcome.looks[0]["recall@1"]


def test_batches_of_several_benchmarks_hold_their_own_pictures(qformer):
    encoder = QFormerEncoder(qformer, progress=False)
    triplets = Triplets([benchmark("train", count=4), benchmark("train", shift=3, count=5)])
    rows = np.array([7, 1, 4, 3])
    queries = [query for _, part in triplets.split(rows) for query in part]
    references, texts, targets = _Reader(encoder, triplets)(rows)
    tokens = encoder.vision(IMAGES)
    assert texts == [query.text for query in queries] and len(texts) == 4
    assert torch.equal(references, tokens.rows([query.reference for query in queries]))
    assert torch.equal(targets, tokens.rows([query.target for query in queries]))


def test_negative_weights_are_refused():
    with pytest.raises(InputError, match="align_weight -1"):
        SprcRecipe(align_weight=-1)
