import copy

import pytest
import torch
from torch import nn

from cirlib.methods.training import Schedule, Watch, adamw_groups, train
from cirlib.types import InputError


class Line(nn.Module):
    """Fits y = 2 x; with dropout, so that the random state matters."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.norm = nn.BatchNorm1d(4)
        self.drop = nn.Dropout(0.1)
        with torch.no_grad():
            self.layer.weight.fill_(0.1)
            self.layer.bias.fill_(0.0)

    def forward(self, x):
        error = self.layer(self.drop(self.norm(x))).squeeze(1) - 2 * x[:, 0]
        return {"fit": error.square().mean(), "size": 0.01 * self.layer.weight.square().sum()}


def batch(step):
    return torch.randn(16, 4, generator=torch.Generator().manual_seed(step))


class Counter:
    """A memory that counts batches."""

    def __init__(self):
        self.seen = []

    def __call__(self, step):
        self.seen.append(step)
        return batch(step)

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = list(state["seen"])


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def run(module, steps=8, key=None, **more):
    groups = adamw_groups(module, 0.05, 0.1)
    return train("line", key or {"seed": 0}, module, batch, groups, Schedule(steps, 2), progress=False, **more)


def weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def test_it_learns_and_leaves_frozen_weights_alone():
    module = Line()
    before = copy.deepcopy(module.frozen.state_dict())
    trained = run(module, steps=200, save_every=1000)
    fits = [row["fit"] for row in trained.history]
    assert sum(fits[-20:]) < 0.6 * sum(fits[:20])
    assert_equal(before, module.frozen.state_dict())
    assert not module.training
    assert [row["step"] for row in trained.history] == list(range(200))
    assert trained.seconds > 0 and trained.peak_mib > 0


def test_an_interrupted_run_ends_where_an_uninterrupted_one_does():
    whole, parts = Line(), Line()
    parts.load_state_dict(whole.state_dict())
    run(whole, key={"which": "whole"})
    run(parts, key={"which": "parts"}, stop_after=3)
    again = Line()
    again.load_state_dict(parts.state_dict())
    outcome = run(again, key={"which": "parts"})
    assert_equal(weights(whole), weights(again))
    assert len(outcome.history) == 8


def test_a_finished_training_is_read_back():
    first, second = Line(), Line()
    second.frozen.load_state_dict(first.frozen.state_dict())
    looks = []

    def look(done):
        looks.append(done)
        return {"done": float(done), "tensor": torch.full((2,), float(done))}

    one = run(first, watch=Watch(3, look))
    two = run(second, watch=Watch(3, look))
    assert looks == [0, 3, 6, 8]  # the second run looked at nothing
    assert_equal(weights(first), weights(second))
    assert one.looks.keys() == two.looks.keys() and torch.equal(two.looks[6]["tensor"], torch.full((2,), 6.0))


def test_the_weights_of_the_best_look_are_kept():
    module, seen = Line(), {}

    def look(done):
        seen[done] = weights(module)
        return {"score": {0: 0.1, 4: 0.9, 8: 0.9}[done]}

    trained = run(module, watch=Watch(4, look, choose="score"))
    assert trained.chosen == 4  # the earliest of equals
    assert_equal(seen[4], weights(module))
    assert not torch.equal(seen[8]["layer.weight"], seen[4]["layer.weight"])


def test_what_a_training_remembers_is_resumed():
    module, first = Line(), Counter()
    groups = adamw_groups(module, 0.05, 0.0)
    train("line", {}, module, first, groups, Schedule(6), memory=first, stop_after=4, progress=False)
    second = Counter()
    train("line", {}, module, second, adamw_groups(module, 0.05, 0.0), Schedule(6), memory=second, progress=False)
    assert second.seen == [0, 1, 2, 3, 4, 5]


def test_another_key_is_another_training():
    first, second = Line(), Line()
    run(first, key={"seed": 0}, seed=0)
    run(second, key={"seed": 1}, seed=1)
    assert not torch.equal(first.layer.weight, second.layer.weight)


def test_groups_decay_matrices_only_and_new_parts_learn_faster():
    groups = adamw_groups(Line(), 0.1, 0.5, new=("norm.",), factor=10.0)
    found = {(group["lr"], group["weight_decay"]): sum(p.numel() for p in group["params"]) for group in groups}
    assert found == {(0.1, 0.5): 4, (0.1, 0.0): 1, (1.0, 0.0): 8}


def test_the_rate_warms_up_and_ends_at_the_floor():
    schedule = Schedule(100, 10, floor=0.01)
    shares = [schedule.share(step) for step in range(101)]
    assert shares[9] == 1.0 == max(shares) and shares[100] == pytest.approx(0.01)
    assert shares[10:] == sorted(shares[10:], reverse=True)


def test_a_loss_that_is_not_finite_stops_it():
    module = Line()
    with torch.no_grad():
        module.layer.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="step 0"):
        run(module)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"steps": 5, "warmup": 6}, {"steps": 5, "floor": 2.0}])
def test_schedules_that_cannot_run_are_refused(wrong):
    with pytest.raises(InputError, match="cannot run"):
        Schedule(**wrong)
