"""The steps of a pretraining: one loop for the miniatures, resumed where an interruption left it."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from cirlib._atomic import atomic_path
from cirlib._cache import cache_dir

SAVE_EVERY = 250  # steps


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """Linear warm-up, then a line down to zero at the last step.

    Example:
        >>> [learning_rate(step, steps=10, peak=1.0, warmup=2) for step in (0, 1, 2, 6, 10)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    return peak * (step + 1) / warmup if step < warmup else peak * (steps - step) / (steps - warmup)


def run_steps(
    name: str,
    recipe: Mapping[str, Any],
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    accelerator: Any,
    losses: Callable[[int], dict[str, Tensor]],
    *,
    steps: int,
    rate: Callable[[int], float],
    after_step: Callable[[], None] | None = None,
    progress: bool = True,
) -> float:
    """Run the remaining steps of a pretraining and return the seconds spent over all its runs.

    Args:
        name: Of the state file in the cache; a state that was written under another recipe is not taken up.
        recipe: Everything that decides the outcome.
        model: Prepared by the accelerator.
        optimizers: Prepared by the accelerator. Gradients are clipped to norm 1.
        accelerator: An `accelerate.Accelerator`.
        losses: What a step minimises the sum of, by name. Must depend on the step's number alone, so that resuming repeats nothing.
        steps: Of the whole pretraining.
        rate: From the step's number to the learning rate.
        after_step: Called after each step, to keep a weight within its bounds for example.
        progress: Show a bar.
    """
    state_file = cache_dir("pretraining") / f"{name}.pt"
    bare, first, seconds = accelerator.unwrap_model(model), 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, map_location="cpu", weights_only=True)
        if state["recipe"] == dict(recipe):
            bare.load_state_dict(state["model"])
            for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            first, seconds = state["step"], state["seconds"]
    # A hundred tokens are too few for the blocked attention that torch picks on a CPU; the plain one takes half the time.
    backend = SDPBackend.MATH if accelerator.device.type == "cpu" else SDPBackend.EFFICIENT_ATTENTION
    bar = tqdm(range(first, steps), initial=first, total=steps, desc=name, mininterval=10, disable=not progress)
    started = time.monotonic()
    for step in bar:
        with sdpa_kernel(backend):
            values = _one_step(rate(step), model, optimizers, accelerator, losses(step))
        if after_step is not None:
            after_step()
        bar.set_postfix({key: f"{value:.4f}" for key, value in values.items()}, refresh=False)
        if ((step + 1) % SAVE_EVERY == 0 or step + 1 == steps) and accelerator.is_main_process:
            spent = seconds + time.monotonic() - started
            state = {"recipe": dict(recipe), "step": step + 1, "seconds": spent, "model": bare.state_dict()}
            with atomic_path(state_file) as draft:
                torch.save({**state, "optimizers": [optimizer.state_dict() for optimizer in optimizers]}, draft)
    return seconds + time.monotonic() - started


def _one_step(rate: float, model, optimizers, accelerator, losses: dict[str, Tensor]) -> dict[str, float]:
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        group["lr"] = rate
    accelerator.backward(sum(losses.values()))
    accelerator.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return {key: part.item() for key, part in losses.items()}
