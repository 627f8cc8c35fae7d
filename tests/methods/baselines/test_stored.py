"""Trained baselines come back from disk as they were, and are refused where they do not fit."""

import json

import pytest
import torch
from color_world import IMAGES, benchmark
from tiny_clip import write_tiny_clip
from tiny_qformer import write_tiny_qformer

from cirlib.backbones.clip import load_clip
from cirlib.backbones.qformer import load_qformer
from cirlib.methods.baselines.combiner import Combiner, CombinerMethod, CombinerRecipe
from cirlib.methods.baselines.qformer_contrast import QFormerBaseline
from cirlib.methods.baselines.sprc import Sprc, SprcRecipe
from cirlib.methods.baselines.stored import CARD, WEIGHTS, load_baseline, save_baseline
from cirlib.methods.baselines.tuned_sum import TunedSum, TunedSumRecipe
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.qformer_encoder import QFormerEncoder
from cirlib.types import InputError

ON_QFORMER = {"SPRC": (Sprc, SprcRecipe(relative_weight=0.7, seed=3)), "tuned sum": (TunedSum, TunedSumRecipe(temperature=0.1))}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    return write_tiny_qformer(root / "qformer"), write_tiny_qformer(root / "other", seed=1), write_tiny_clip(root / "clip")


@pytest.fixture
def encoder(folders):
    return QFormerEncoder(load_qformer(folders[0], "cpu", torch.float32), progress=False)


@pytest.fixture
def clip_encoder(folders):
    return ClipEncoder(load_clip(folders[2], device="cpu"), progress=False)


def on_qformer(name, encoder):
    kind, recipe = ON_QFORMER[name]
    own = encoder.fresh()
    module = kind(own.qformer, recipe)
    with torch.no_grad():  # as if it had been trained
        own.qformer.model.query_tokens.mul_(-2)
        own.qformer.model.text_projection.weight.mul_(0.5)
        module.temperature.value.fill_(0.2)
    return QFormerBaseline(own, module, name), recipe


@pytest.mark.parametrize("name", ON_QFORMER)
def test_a_baseline_on_a_qformer_comes_back(name, encoder, tmp_path):
    before = encoder.fingerprint
    made, recipe = on_qformer(name, encoder)
    again = load_baseline(save_baseline(made, recipe, tmp_path / "a" / "b"), encoder)
    assert again.name == name and again.fingerprint == made.fingerprint != {**before, "module": made.fingerprint["module"]}
    assert encoder.fingerprint == before, "the pretrained one stays as it is"
    queries = benchmark("val").queries
    pairs = [(one.compose(queries, IMAGES).rows, one.encode_gallery(IMAGES).rows) for one in (again, made)]
    for one, two in zip(*pairs, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-5)  # equal weights elsewhere in memory may sum in another order
    weights = sum(p.numel() * 4 for p in made.module.parameters())
    assert (tmp_path / "a" / "b" / WEIGHTS).stat().st_size < weights, "the tower is left out"


def test_a_combiner_comes_back_without_dropout(clip_encoder, tmp_path):
    recipe = CombinerRecipe(projection=2, hidden=3, scale=20.0)
    made = CombinerMethod(clip_encoder, Combiner(clip_encoder.clip.embedding_dim, recipe))
    again = load_baseline(save_baseline(made, recipe, tmp_path), clip_encoder)
    assert again.fingerprint == made.fingerprint and not any(p.requires_grad for p in again.combiner.parameters())
    queries = benchmark("val").queries
    assert torch.equal(again.compose(queries, IMAGES).rows, made.compose(queries, IMAGES).rows)


def test_what_does_not_fit_is_refused(folders, encoder, clip_encoder, tmp_path):
    folder = save_baseline(*on_qformer("tuned sum", encoder), tmp_path / "sum")
    with pytest.raises(InputError, match="holds no trained baseline"):
        load_baseline(tmp_path, encoder)
    with pytest.raises(InputError, match="holds a TunedSum, which needs a QFormerEncoder; a ClipEncoder is given"):
        load_baseline(folder, clip_encoder)
    with pytest.raises(InputError, match=r"another checkpoint than this one \(differs in vision\)"):
        load_baseline(folder, QFormerEncoder(load_qformer(folders[1], "cpu", torch.float32), progress=False))
    sprc = save_baseline(*on_qformer("SPRC", encoder), tmp_path / "sprc")
    (folder / WEIGHTS).write_bytes((sprc / WEIGHTS).read_bytes())
    with pytest.raises(InputError, match="1 weights differ, the first is prompts"):
        load_baseline(folder, encoder)
    (folder / WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(InputError, match="holds no weights"):
        load_baseline(folder, encoder)


def test_a_combiner_of_another_size_is_refused(clip_encoder, tmp_path):
    recipe = CombinerRecipe(projection=1, hidden=2)
    folder = save_baseline(CombinerMethod(clip_encoder, Combiner(clip_encoder.clip.embedding_dim, recipe)), recipe, tmp_path)
    card = json.loads((folder / CARD).read_text())
    card["recipe"]["hidden"] = 3
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(InputError, match="does not fit the recipe beside it"):
        load_baseline(folder, clip_encoder)
