"""The Combiner against plain matrices; it learns; its gallery is plain CLIP."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from color_world import COLORS, IMAGES, benchmark, recall
from torch.nn.functional import normalize

from cirlib.methods.baselines.combiner import Combiner, CombinerMethod, CombinerRecipe, train_combiner
from cirlib.types import Embeddings, InputError, Method

DIM = 8
RECIPE = CombinerRecipe(steps=60, batch=12, rate=1e-2, warmup=5, look_every=20, choose="recall@1", dropout=0.0, scale=20.0)


def vector(text):
    seed = sum(ord(letter) * 31**place for place, letter in enumerate(text))
    return normalize(torch.randn(DIM, generator=torch.Generator().manual_seed(seed % 2**31)), dim=0)


class ColorClip:
    """Stands in for `ClipEncoder`; pictures and texts of one colour have nothing in common, so that there is something to learn."""

    clip = SimpleNamespace(embedding_dim=DIM)
    fingerprint = {"checkpoint": "colors"}
    seen = 0

    def images(self, images):
        self.seen += 1
        return Embeddings(images.ids, torch.stack([vector(f"picture {image_id}") for image_id in images.ids]))

    def references(self, queries, images):
        return torch.stack([vector(f"picture {query.reference}") for query in queries])

    def texts(self, texts):
        return torch.stack([vector(text) for text in texts])


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path))


def trained(**more):
    return train_combiner(
        replace(RECIPE, **more.pop("recipe", {})), ColorClip(), benchmark("train"), benchmark("val"), recall, progress=False, **more
    )


def test_query_is_that_of_plain_matrices():
    combiner = Combiner(DIM, CombinerRecipe()).eval()
    image, text = (torch.stack([vector(f"{kind} {n}") for n in range(3)]) for kind in "ab")
    weights = {name: tensor.double().numpy() for name, tensor in combiner.state_dict().items()}

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    x, t = image.double().numpy(), text.double().numpy()
    both = np.concatenate([np.maximum(linear(t, "project_text"), 0), np.maximum(linear(x, "project_image"), 0)], 1)
    share = 1 / (1 + np.exp(-linear(np.maximum(linear(both, "share.0"), 0), "share.3")))
    rows = linear(np.maximum(linear(both, "combine"), 0), "output") + share * t + (1 - share) * x
    found, shares = combiner.fuse(image, text)
    np.testing.assert_allclose(found.detach(), rows / np.linalg.norm(rows, axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(shares.detach(), share, atol=1e-6)
    assert both.shape[1] == 2 * 4 * DIM and weights["combine.weight"].shape == (8 * DIM, 8 * DIM)


def test_it_learns_and_keeps_the_best_weights_on_val():
    result = trained()
    looks = {step: seen["recall@1"] for step, seen in result.outcome.looks.items()}
    assert looks[0] < 0.6 and max(looks.values()) == 1 == recall(result.method, benchmark("val"))["recall@1"]
    assert looks[result.outcome.chosen] == 1
    assert isinstance(result.method, Method) and not any(p.requires_grad for p in result.method.combiner.parameters())
    losses = [row["contrast"] for row in result.outcome.history]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 2


def test_interruption_changes_nothing_and_a_finished_training_is_read_back(tmp_path, monkeypatch):
    whole = trained(recipe={"steps": 6})
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / "other"))
    trained(recipe={"steps": 6}, stop_after=3)
    halves, again = trained(recipe={"steps": 6}), trained(recipe={"steps": 6})
    assert whole.method.fingerprint == halves.method.fingerprint == again.method.fingerprint
    assert whole.outcome.looks == again.outcome.looks and len(again.outcome.history) == 6
    assert whole.method.encoder.seen > 0 == again.method.encoder.seen, "a training that is read back encodes nothing"
    assert trained(recipe={"steps": 6, "seed": 1}).method.fingerprint != whole.method.fingerprint


def test_gallery_is_plain_clip_and_shares_lie_between_0_and_1():
    encoder, queries = ColorClip(), benchmark("val").queries
    method = CombinerMethod(encoder, Combiner(DIM, CombinerRecipe()))
    assert torch.equal(method.encode_gallery(IMAGES).rows, encoder.images(IMAGES).rows)
    composed, shares = method.compose(queries, IMAGES), method.text_shares(queries, IMAGES)
    assert composed.ids == tuple(query.id for query in queries)
    torch.testing.assert_close(composed.rows.norm(dim=1), torch.ones(12))
    assert shares.shape == (12,) and shares.min() > 0 and shares.max() < 1
    assert method.fingerprint["checkpoint"] == "colors" and len(COLORS) == len(IMAGES)


@pytest.mark.parametrize("wrong", [{"projection": 0}, {"hidden": 0}, {"dropout": 1.0}, {"scale": 0.0}])
def test_recipes_out_of_range_are_named(wrong):
    with pytest.raises(InputError, match="Combiner's recipe"):
        CombinerRecipe(**wrong)


def test_a_batch_larger_than_the_queries_is_refused():
    with pytest.raises(InputError, match="batch of 64"):
        trained(recipe={"batch": 64})
