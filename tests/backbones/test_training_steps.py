"""The loop of a pretraining: an interrupted run goes on as if nothing had happened."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from cirlib.backbones import training_steps
from cirlib.backbones.training_steps import learning_rate, run_steps

RECIPE = {"steps": 8, "peak_rate": 0.1}


class Interrupted(Exception):
    pass


def train(recipe: dict, stop: int | None = None) -> tuple[torch.Tensor, list[int]]:
    """A line fitted to points drawn by the step's number."""
    torch.manual_seed(0)
    model, seen = torch.nn.Linear(2, 1), []
    optimizer = torch.optim.AdamW(model.parameters())

    def losses(step: int) -> dict[str, torch.Tensor]:
        if step == stop:
            raise Interrupted
        seen.append(step)
        points = torch.randn(5, 2, generator=torch.Generator().manual_seed(step))
        return {"square": (model(points) - points.sum(1, keepdim=True)).square().mean(), "size": 0.1 * model.weight.abs().sum()}

    def rate(step: int) -> float:
        return learning_rate(step, recipe["steps"], recipe["peak_rate"], warmup=2)

    run_steps("line", recipe, model, [optimizer], Accelerator(cpu=True), losses, steps=recipe["steps"], rate=rate, progress=False)
    return model.weight.detach().clone(), seen


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIRLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(training_steps, "SAVE_EVERY", 3)


def test_an_interrupted_run_ends_where_a_whole_one_does(tmp_path: Path):
    with pytest.raises(Interrupted):
        train(RECIPE, stop=5)
    resumed, seen = train(RECIPE)
    assert seen == [3, 4, 5, 6, 7]
    (tmp_path / "pretraining" / "line.pt").unlink()
    whole, seen = train(RECIPE)
    assert seen == list(range(8)) and torch.equal(whole, resumed)


def test_a_finished_run_is_not_repeated_and_another_recipe_starts_anew():
    weight, _ = train(RECIPE)
    again, seen = train(RECIPE)
    assert seen == [] and torch.equal(again, weight)
    assert train(RECIPE | {"peak_rate": 0.2})[1] == list(range(8))


def test_rates_are_set_before_a_step_and_what_comes_after_it_is_saved(tmp_path: Path):
    model = torch.nn.Linear(1, 1, bias=False)
    optimizer, seen = torch.optim.SGD(model.parameters()), []

    def limit() -> None:
        seen.append((optimizer.param_groups[0]["lr"], model.weight.item()))
        with torch.no_grad():
            model.weight.fill_(2.0)

    def losses(step: int) -> dict[str, torch.Tensor]:
        return {"weight": model.weight.sum()}  # its gradient is 1

    rates, machine = [0.1, 0.2, 0.4], Accelerator(cpu=True)
    run_steps("weight", {}, model, [optimizer], machine, losses, steps=3, rate=rates.__getitem__, after_step=limit, progress=False)
    assert [rate for rate, _ in seen] == rates
    assert [weight for _, weight in seen][1:] == pytest.approx([2 - 0.2, 2 - 0.4])
    assert torch.load(tmp_path / "pretraining" / "weight.pt", weights_only=True)["model"]["weight"].item() == 2.0
