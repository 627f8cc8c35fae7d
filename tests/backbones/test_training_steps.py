"""The loop of a pretraining: an interrupted run goes on as if nothing had happened."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from cirlib.backbones import training_steps
from cirlib.backbones.training_steps import run_steps

RECIPE = {"steps": 8, "peak_rate": 0.1, "warmup": 2}


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

    run_steps("line", recipe, model, [optimizer], Accelerator(cpu=True), losses, progress=False)
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
