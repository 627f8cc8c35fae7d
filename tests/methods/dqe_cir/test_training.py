"""Trainings: they learn, a resumed one equals an uninterrupted one, and what a recipe switches off is not there."""

import dataclasses
import itertools

import pytest
import torch
from PIL import Image

from cirlib.evaluation.evaluate import evaluate
from cirlib.methods.dqe_cir.lesson import Lesson
from cirlib.methods.dqe_cir.negative_memory import NegativeMemory
from cirlib.methods.dqe_cir.query import cross_relevance
from cirlib.methods.dqe_cir.recipe import Recipe
from cirlib.methods.dqe_cir.training import epoch_rows, make_batch, thin, train_dqe_cir
from cirlib.methods.dqe_cir.training_set import TrainingSet
from cirlib.types import ImageSet, InputError

SHORT = {"epochs": 4, "definitions": 2, "batch": 5, "rate": 3e-3, "rule": {"low": 0.0, "high": 0.3, "least": 3}, "margin": 0.3}


def score(method, val):
    return {"recall@10": evaluate(method, val).mean("recall@10"), "recall@1": evaluate(method, val).mean("recall@1")}


@pytest.fixture
def run(encoder, benchmark):
    def go(more=(), by=score, **changes):
        recipe = Recipe.read({**SHORT, **changes})
        return train_dqe_cir(recipe, encoder, benchmark, dataclasses.replace(benchmark, split="val"), by, progress=False, **dict(more))

    return go


def weights(trained):
    return {name: tensor.clone() for name, tensor in trained.method.composer.state_dict().items()}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(run, encoder, monkeypatch, tmp_path):
    """Interrupted within an interval and on its border, where sets are mined anew."""
    before = encoder.fingerprint
    whole = run()
    for stops in ((4, 6), (5, 9)):
        monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path / str(stops)))
        for stop in stops:
            run({"stop_after": stop}, save_every=1)
        again = run(save_every=1)
        assert_equal(weights(whole), weights(again))
        assert [row["total"] for row in again.outcome.history] == [row["total"] for row in whole.outcome.history]
        assert again.minings == whole.minings
    assert encoder.fingerprint == before, "trained on a copy"
    assert not any(parameter.requires_grad for parameter in whole.method.composer.parameters())


def test_a_finished_run_is_read_back(run):
    first, second = run(), run()
    assert_equal(weights(first), weights(second))
    assert first.minings == second.minings and len(first.minings) == 2
    assert first.outcome.looks.keys() == second.outcome.looks.keys() == {0, 3, 6, 9, 12}


def test_it_learns(run):
    trained = run(epochs=30, definitions=3, look_epochs=10, mode="gated", rate=3e-3, seed=1)
    losses = [row["preference"] for row in trained.outcome.history]
    assert sum(losses[-9:]) < 0.7 * sum(losses[:9])
    looks = trained.outcome.looks
    assert looks[trained.outcome.chosen]["recall@10"] == max(look["recall@10"] for look in looks.values())
    assert 0.01 <= looks[max(looks)]["tau"] <= 0.5
    assert looks[0]["attributes"]["weight"] == pytest.approx({"color": 0.1192, "shape": 0.1192}, abs=1e-4)
    assert looks[30]["attributes"]["weight"] != looks[0]["attributes"]["weight"]


def test_intervals_and_the_margin(run):
    trained = run(epochs=5, definitions=2)  # rebuilt at epochs 2 and 4
    assert [log["rule"] for log in trained.minings] == ["random", "midzone", "midzone"]
    assert [log["epoch"] for log in trained.minings] == [0, 2, 4]
    assert [log["drawn"] for log in trained.minings] == [24, 24, 12]
    assert ["margin" in row for row in trained.outcome.history] == [False] * 6 + [True] * 9
    assert all("attribute" in row for row in trained.outcome.history)


def test_the_adaptive_rule_sets_the_margin(encoder, benchmark):
    recipe = Recipe.read({**SHORT, "negatives": "adaptive", "rule": {"least": 3}, "margin": None})
    data = TrainingSet([benchmark], encoder)
    lesson = Lesson(_composer(encoder), recipe)
    memory = NegativeMemory(recipe, data, lesson.composer)
    first, later = (make_batch(recipe, data, memory, step) for step in (0, 6))  # 3 steps an epoch, rebuilt at epoch 2
    bounds = memory.logs[1]["bounds"][0]
    assert first.warm and first.margin == 0 and not later.warm and later.margin == bounds["high"] > 0
    found, wider = lesson(later), lesson(dataclasses.replace(later, margin=later.margin + 1))
    assert wider["margin"].item() > found["margin"].item() + 0.5


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"mode": "none", "margin_weight": 0.0}, {"preference"}),
        ({"attribute_weight": 0.0, "definitions": 4}, {"preference", "margin"}),
        ({"preference_weight": 0.0, "negatives": "hardest", "rule": {"count": 3}}, {"margin", "attribute"}),
        ({"preference_weight": 0.0, "negatives": "random", "rule": {}, "mode": "none", "definitions": 1}, {"margin"}),
        ({"negatives": "in_batch", "rule": {}, "margin_weight": 0.0, "attribute_weight": 0.0, "mode": "token"}, {"in_batch"}),
        (
            {"negatives": "steepest_drops", "rule": {}, "mode": "scalar", "absent": "prototype", "margin_weight": 0.0},
            {"preference", "attribute"},
        ),
    ],
)
def test_what_is_switched_off_is_not_there(run, changes, names):
    trained = run(**{"epochs": 2, **changes})
    assert set(trained.outcome.history[-1]) - {"step", "total", "norm", "rate", "seconds"} == names


def test_new_parts_learn_faster(run):
    def moved(factor):
        looks = itertools.count()
        trained = run(by=lambda method, val: {"recall@10": next(looks)}, epochs=1, attribute_factor=factor)  # keeps the last weights
        return abs(trained.method.composer.attributes.parts["color"].bias.item() + 2)

    assert moved(10.0) > 5 * moved(1.0) > 0


def test_batches(encoder, benchmark):
    recipe = Recipe.read({**SHORT, "pool": "gallery"})
    data = TrainingSet([benchmark], encoder)
    assert sorted(torch.cat([epoch_rows(12, 5, step, 0) for step in (3, 4, 5)]).tolist()) == list(range(12))
    assert epoch_rows(12, 5, 3, 0).tolist() != epoch_rows(12, 5, 0, 0).tolist()
    lesson = Lesson(_composer(encoder), recipe)
    memory = NegativeMemory(recipe, data, lesson.composer)
    batch = make_batch(recipe, data, memory, 0)
    rows = epoch_rows(12, 5, 0, 0)
    assert batch.warm and batch.reference.shape == (5, 10, 24) and batch.pictures.shape == (10, 10, 24)
    assert batch.texts.texts == tuple(benchmark.queries[row].text for row in rows)
    assert batch.texts.ids.shape[1] == int(batch.texts.mask.sum(1).max())
    vision = encoder.vision(benchmark.gallery)
    assert torch.equal(batch.reference, vision.rows([benchmark.queries[row].reference for row in rows]))
    assert torch.equal(batch.pictures[:5], vision.rows([benchmark.queries[row].target for row in rows]))


def _composer(encoder):
    from cirlib.methods.dqe_cir.attributes import AttributeWeights
    from cirlib.methods.dqe_cir.query import ComposedQuery

    return ComposedQuery(encoder.qformer, AttributeWeights(encoder.qformer))


def test_several_benchmarks_keep_their_pools(encoder, benchmark):
    other = dataclasses.replace(benchmark, queries=benchmark.queries[:3], part="second")
    data = TrainingSet([benchmark, other], encoder, pool="targets", most_mib=0)
    assert len(data) == 15 and data.count == 12 + 4  # three targets and one more reference
    assert [sorted(pool.queries.tolist()) for pool in data.pools] == [list(range(12)), [12, 13, 14]]
    assert sorted(data.pools[1].candidates.tolist()) == [12, 13, 14]
    recipe = Recipe.read({**SHORT, "pool": "targets", "negatives": "random", "rule": {}})
    composer = _composer(encoder)
    memory = NegativeMemory(recipe, data, composer)
    memory.prepare(0)
    assert set(memory.draw(torch.tensor([12, 13, 14] * 2)).tolist()) <= {12, 13, 14}
    vision = encoder.vision(benchmark.gallery)
    mixed = torch.tensor([13, 0, 15, 4])
    names = [query.target for query in benchmark.queries]  # the second part's pictures: its targets, then references that are none
    second = list(dict.fromkeys([*names[:3], benchmark.queries[0].reference]))
    assert torch.equal(data.vision(mixed), vision.rows([second[1], names[0], second[3], names[4]]))
    query, gallery = data.embed(composer)
    assert query.shape == (15, 12) and gallery.shape == (16, 3, 12)
    torch.testing.assert_close(query[12:], query[:3])
    assert cross_relevance(query, gallery).shape == (15, 16)


def test_wrong_negatives_are_counted(encoder, benchmark):
    """A random set holds 10 of 12 pictures; one of them is a second positive of the first query."""
    first = dataclasses.replace(benchmark.queries[0], positives=(*benchmark.queries[0].positives, "white"))
    data = TrainingSet([dataclasses.replace(benchmark, queries=(first, *benchmark.queries[1:]))], encoder)
    recipe = Recipe.read({**SHORT, "negatives": "random", "rule": {}})
    memory = NegativeMemory(recipe, data, _composer(encoder))
    memory.prepare(0)
    assert memory.logs[0]["wrong_members"] == pytest.approx(0.1 / 12)
    drawn = memory.draw(torch.tensor([0] * 10))
    assert len(set(drawn.tolist())) == 10 and memory.logs[0]["wrong_drawn"] == 1 and memory.logs[0]["drawn"] == 10
    assert data.target[0] not in drawn and data.reference[0] not in drawn


def test_missing_pictures(encoder, benchmark):
    lost = dataclasses.replace(
        benchmark, missing=("lime",), gallery=benchmark.gallery.select([i for i in benchmark.gallery.ids if i != "lime"])
    )
    lost = dataclasses.replace(lost, references=lost.gallery)
    with pytest.warns(UserWarning, match="2 of 12 training queries have a missing picture"):
        data = TrainingSet([lost], encoder)
    assert len(data) == 10
    with pytest.raises(InputError, match="lime"):
        TrainingSet([dataclasses.replace(lost, missing=())], encoder)
    with pytest.raises(InputError, match="no query to train on"), pytest.warns(UserWarning):
        TrainingSet([dataclasses.replace(benchmark, missing=tuple(benchmark.gallery.ids))], encoder)
    with pytest.raises(InputError, match="no benchmark"):
        TrainingSet([], encoder)


def test_other_pictures_are_another_training(encoder, benchmark):
    inverted = ImageSet(
        benchmark.gallery.ids, lambda name: Image.new("RGB", (24, 24), "teal"), lambda name: name.encode().hex().rjust(64, "f")
    )
    keys = [
        TrainingSet([dataclasses.replace(benchmark, gallery=images, references=images)], encoder).key
        for images in (benchmark.gallery, inverted)
    ]
    assert keys[0] != keys[1]


def test_measures_are_kept(run):
    trained = run({"measure": lambda method: {"name": method.name}}, epochs=1)
    assert [look["measured"] for look in trained.outcome.looks.values()] == [{"name": "DQE-CIR"}] * 2


def test_thinning(benchmark):
    assert [query.id for query in thin(benchmark, 3).queries] == ["q0", "q4", "q8"]
    assert thin(benchmark, 0) is benchmark
    with pytest.raises(InputError, match="13 val queries"):
        thin(benchmark, 13)


def test_a_score_without_the_chosen_metric_is_refused(encoder, benchmark):
    with pytest.raises(InputError, match="chosen by 'recall@10'"):
        train_dqe_cir(Recipe.read(SHORT), encoder, benchmark, benchmark, lambda method, val: {"recall@1": 0.0}, progress=False)


def test_cirr_and_fashioniq_intervals():
    assert [epoch for epoch in range(1, 50) if epoch % Recipe(epochs=50).interval == 0] == [8, 16, 24, 32, 40, 48]
    assert [epoch for epoch in range(1, 30) if epoch % Recipe(epochs=30).interval == 0] == [5, 10, 15, 20, 25]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epoch": 3}, "no epoch"),
        ({"epochs": 0}, "epochs = 0"),
        ({"rate": 0.0}, "rate = 0.0"),
        ({"margin": -1.0}, "margin = -1.0"),
        ({"margin": None}, "margin = None"),
        ({"pool": "all"}, "pool 'all'"),
        ({"negatives": "hard"}, "'hard' asked for; there are random"),
        ({"rule": {"lower": 0.1}}, "has no lower; it has"),
        ({"negatives": "in_batch"}, "no single negative"),
        ({"preference_weight": 0.0, "margin_weight": 0.0}, "nothing that ranks"),
    ],
)
def test_recipes_that_cannot_be(wrong, said):
    with pytest.raises(InputError, match=said):
        Recipe.read(wrong)
