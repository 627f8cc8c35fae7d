"""DQE-CIR as a method: what the evaluation sees, and checkpoints that come back."""

import dataclasses
import json

import pytest
import torch

from cirlib.evaluation.evaluate import evaluate, evaluate_embeddings
from cirlib.methods.dqe_cir.attributes import AttributeWeights
from cirlib.methods.dqe_cir.method import CARD, WEIGHTS, DqeCir, load_dqe_cir, save_dqe_cir
from cirlib.methods.dqe_cir.query import ComposedQuery
from cirlib.methods.qformer_encoder import QFormerEncoder
from cirlib.types import Embeddings, InputError, Method


def test_the_evaluation_scores_it(method, benchmark):
    assert isinstance(method, Method)
    report = evaluate(method, benchmark)
    gallery, queries = method.encode_gallery(benchmark.gallery).rows, method.compose(benchmark.queries, benchmark.references).rows
    assert gallery.shape == (12, 3, 12) and queries.shape == (12, 12)
    for number, query in enumerate(benchmark.queries):
        scores = {image: max((queries[number] @ token).item() for token in gallery[row]) for row, image in enumerate(benchmark.gallery.ids)}
        ahead = sum(score > scores[query.target] for image, score in scores.items() if image != query.reference)
        assert report.ranks[number] == 1 + ahead


def test_subset_recall_ignores_the_reference(benchmark):
    """The reference looks like the query itself, and still the target is first of its subset."""
    rows = torch.eye(12).unsqueeze(1)
    near = 0.9 * torch.eye(12) + 0.4 * torch.eye(12).roll(1, dims=1)  # nearest to its reference, then to its target
    queries = Embeddings(tuple(query.id for query in benchmark.queries), torch.nn.functional.normalize(near, dim=1))
    kept = dataclasses.replace(benchmark.protocol, exclude_reference=False)
    for protocol in (benchmark.protocol, kept):
        changed = dataclasses.replace(benchmark, protocol=protocol)
        report = evaluate_embeddings("near", queries, Embeddings(benchmark.gallery.ids, rows), changed)
        assert report.mean("recall_subset@1") == 1.0
        assert report.mean("recall@1") == (1.0 if protocol.exclude_reference else 0.0)


def test_weights_of_queries(method, benchmark):
    present, weights = method.attribute_weights(benchmark.queries, benchmark.references)
    assert present.tolist() == [[number % 2 == 1] * 2 for number in range(12)]
    assert weights.shape == (12, 2) and ((weights > 0) & (weights < 1)).all()
    assert [part.shape for part in method.attribute_weights((), benchmark.references)] == [(0, 2), (0, 2)]


def _outputs(method, benchmark):
    return method.compose(benchmark.queries, benchmark.references).rows, method.encode_gallery(benchmark.gallery).rows


def test_log_of_attributes(method, benchmark):
    log = method.attribute_log(benchmark.queries, benchmark.references)
    assert log["present"] == {"color": 0.5, "shape": 0.5}
    _, weights = method.attribute_weights(benchmark.queries, benchmark.references)
    assert log["weight"]["shape"] == pytest.approx(weights[1::2, 1].mean().item())
    plain = DqeCir(method.encoder, ComposedQuery(method.encoder.qformer, AttributeWeights(method.encoder.qformer, "none")))
    rows = [one.compose(benchmark.queries, benchmark.references).rows for one in (method, plain)]
    assert log["cosine"] == pytest.approx((rows[0] * rows[1]).sum(1).mean().item(), abs=1e-6) and log["cosine"] < 0.999
    unnamed = benchmark.queries[::2]
    assert method.attribute_log(unnamed, benchmark.references)["weight"] == {"color": 0.0, "shape": 0.0}
    assert method.attribute_log(unnamed, benchmark.references)["cosine"] == pytest.approx(1.0)


@pytest.mark.parametrize("mode", ["none", "gated"])
def test_checkpoints_come_back(encoder, make_composer, benchmark, tmp_path, mode):
    trained = encoder.fresh()
    method = DqeCir(trained, make_composer(mode, ("color", "texture"), on=trained.qformer), name="Ours")
    with torch.no_grad():
        trained.qformer.model.query_tokens.mul_(-2)
    folder = save_dqe_cir(method, tmp_path / "a" / "b", {"epochs": 2})
    again = load_dqe_cir(folder, encoder)
    assert again.name == "Ours" and again.fingerprint == method.fingerprint != DqeCir(encoder, make_composer(mode)).fingerprint
    for one, two in zip(_outputs(again, benchmark), _outputs(method, benchmark), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)  # equal weights elsewhere in memory may sum in another order
    assert json.loads((folder / CARD).read_text())["recipe"] == {"epochs": 2}
    assert (folder / WEIGHTS).stat().st_size < sum(p.numel() * 4 for p in method.composer.parameters()), "the tower is left out"


def test_checkpoints_that_do_not_fit_are_refused(method, encoder, tmp_path, qformer):
    folder = save_dqe_cir(method, tmp_path / "one", {})
    with pytest.raises(InputError, match="holds no trained DQE-CIR"):
        load_dqe_cir(tmp_path, encoder)
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | {"attributes": card["attributes"] | {"groups": ["color"]}}))
    with pytest.raises(InputError, match="weights differ, the first is attributes.parts.shape.bias"):
        load_dqe_cir(folder, encoder)
    (folder / CARD).write_text(json.dumps(card | {"vision": {"vision": "another"}}))
    with pytest.raises(InputError, match="another vision tower"):
        load_dqe_cir(folder, encoder)


def test_two_qformers_are_refused(encoder, make_composer):
    with pytest.raises(InputError, match="two Q-Formers"):
        DqeCir(QFormerEncoder(encoder.fresh().qformer), make_composer())
