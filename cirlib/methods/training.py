"""Training a method: Accelerate and AdamW, a state on disk that an interrupted run goes on from, weights chosen on val only.

A step depends on the recipe, the seed and the step's number alone, so a run that was interrupted ends at the same weights as one that was
not, and a finished training is read back instead of being repeated.
"""

import hashlib
import json
import math
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from cirlib._atomic import atomic_path
from cirlib._cache import cache_dir
from cirlib.types import InputError


@dataclass(frozen=True)
class Schedule:
    """How the learning rate runs: a linear warm-up, then half a cosine from the peak down to `floor` times the peak.

    Attributes:
        steps: Optimiser steps.
        warmup: Of them, those of the warm-up.
        floor: Share of the peak that is left at the last step.
    """

    steps: int
    warmup: int = 0
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 <= self.warmup <= self.steps or not 0 <= self.floor <= 1:
            raise InputError(f"{self} cannot run: give 1 step or more, a warm-up within them and a floor in [0, 1]")

    def share(self, step: int) -> float:
        """Share of the peak rate at a step, counted from 0.

        Example:
            >>> [round(Schedule(steps=10, warmup=2).share(step), 3) for step in (0, 1, 2, 6, 10)]
            [0.5, 1.0, 1.0, 0.5, 0.0]
        """
        if step < self.warmup:
            return (step + 1) / self.warmup
        half = 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))
        return self.floor + (1 - self.floor) * half


class Memory(Protocol):
    """What a training remembers besides weights, mined negatives for example."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, strings, lists and dicts of them."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        ...


@dataclass(frozen=True)
class Watch:
    """Looking at a training on the way, with the module in eval mode and without gradients.

    Attributes:
        every: Steps between two looks; there is one before the first step and one after the last.
        look: Called with the number of steps done; what it returns (numbers, strings, tensors, lists and dicts of them) is kept with the
            state, so a training that is read back has it too.
        choose: Key of `look`'s answer whose largest value decides which weights the module has at the end, the earliest of equals; without
            one they are the last. Tie it to val, never to test.
    """

    every: int
    look: Callable[[int], dict[str, Any]]
    choose: str | None = None


@dataclass(frozen=True)
class Trained:
    """Outcome of a training; the weights are in the module.

    Attributes:
        history: One row per step: "step", every loss by name, "total", "norm" (of the gradient before clipping), "rate" (share of the
            peak), "seconds".
        looks: Steps done to what the watch returned.
        chosen: Steps done at the weights that were kept.
        peak_mib: Largest memory: of the device, or of the whole process on a CPU.
    """

    history: list[dict[str, float]]
    looks: dict[int, dict[str, Any]]
    chosen: int
    peak_mib: float

    @property
    def seconds(self) -> float:
        """Time of all steps over all runs; looks are not counted."""
        return sum(row["seconds"] for row in self.history)


def adamw_groups(module: nn.Module, rate: float, weight_decay: float, new: Sequence[str] = (), factor: float = 1.0) -> list[dict]:
    """AdamW's groups of everything trainable: matrices and kernels decay; biases, norms and single vectors do not (our choice).

    Args:
        module: Its parameters that require gradients are taken.
        rate: Peak learning rate.
        weight_decay: Of the matrices.
        new: Beginnings of names that learn at `factor` times the rate.
        factor: See `new`.
    """
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((parameter.ndim < 2, name.startswith(tuple(new)) if new else False), []).append(parameter)
    return [
        {"params": parameters, "lr": rate * (factor if fresh else 1.0), "weight_decay": 0.0 if plain else weight_decay}
        for (plain, fresh), parameters in groups.items()
    ]


def train(
    name: str,
    key: Mapping[str, Any],
    module: nn.Module,
    batches: Callable[[int], Any],
    groups: Sequence[dict],
    schedule: Schedule,
    *,
    seed: int = 0,
    watch: Watch | None = None,
    memory: Memory | None = None,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    clip: float = 0.0,
    precision: Literal["fp32", "bf16"] = "fp32",
    save_every: int = 100,
    stop_after: int | None = None,
    progress: bool = True,
) -> Trained:
    """Train a module from scratch or from the last saved state; the module is left with the kept weights, in eval mode.

    Args:
        name: What is trained; names the folder of states in the user's cache, and the bar.
        key: Everything that decides the outcome, as JSON can write it: recipe, fingerprints, pictures, queries. Equal keys share a state.
        module: `module(batch)` returns its losses by name; their sum is minimised. Parameters that require gradients and all buffers are
            the state.
        batches: From the step's number to a batch.
        groups: AdamW's parameter groups with their peak rates as "lr"; see `adamw_groups`.
        schedule: Steps, and the share of the peak rate at each.
        seed: Of dropout; every step starts from (seed, step).
        watch: Looking at it on the way, and choosing.
        memory: Saved and loaded with the state.
        betas: Of AdamW.
        eps: Of AdamW.
        clip: Largest norm of the gradient; 0 does not clip.
        precision: Of the forward pass; weights stay as they are.
        save_every: Steps between two states on disk; the last one is always kept.
        stop_after: Save the state and return once this many steps are done, as an interruption would.
        progress: Show a bar.

    Raises:
        InputError: If several processes were launched: contrasts need the whole batch in one.
        FloatingPointError: If the loss is not finite.
    """
    watched = None if watch is None else [watch.every, watch.choose]
    run = _Run(name, {**key, "watched": watched}, module, groups, betas, eps, memory)
    last = min(schedule.steps, stop_after or schedule.steps)
    if run.done == 0:
        run.look(watch)
    bar = tqdm(range(run.done, last), initial=run.done, total=schedule.steps, desc=name, mininterval=5, disable=not progress)
    for step in bar:
        row = run.step(batches(step), schedule.share(step), seed, clip, precision)
        bar.set_postfix(loss=f"{row['total']:.3f}", refresh=False)
        if watch is not None and (run.done % watch.every == 0 or run.done == schedule.steps):
            run.look(watch)
        if run.done % save_every == 0 or run.done == last:
            run.save(finished=run.done == schedule.steps)
    return run.finish()


@dataclass
class _State:
    """What is on disk."""

    done: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    looks: dict[int, dict[str, Any]] = field(default_factory=dict)
    best: dict[str, Any] | None = None  # {"score", "step", "weights"} of the best look so far


class _Run:
    """One training under way."""

    def __init__(self, name: str, key: Mapping[str, Any], module: nn.Module, groups, betas, eps: float, memory: Memory | None) -> None:
        self.file = cache_dir("training", name) / f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]}.pt"
        self.module, self.memory, self.state = module, memory, _State()
        device = next(module.parameters()).device
        self.accelerator = Accelerator(cpu=device.type == "cpu")
        if self.accelerator.num_processes > 1:
            raise InputError(f"{name} was launched in {self.accelerator.num_processes} processes and trains in one; launch one")
        self.trained = [parameter for group in groups for parameter in group["params"]]
        self.optimizer = torch.optim.AdamW([{**group, "peak": group["lr"]} for group in groups], betas=betas, eps=eps)
        if self.file.exists():
            self._load(torch.load(self.file, map_location=device, weights_only=True))
        self.optimizer = self.accelerator.prepare(self.optimizer)

    @property
    def done(self) -> int:
        """Steps done."""
        return self.state.done

    def step(self, batch: Any, share: float, seed: int, clip: float, precision: str) -> dict[str, float]:
        """One optimiser step; returns its row of the history."""
        started, device = time.perf_counter(), self.trained[0].device
        self.module.train()
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed * 1_000_003 + self.done)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                losses = self.module(batch)
            total = sum(losses.values())
            if not total.isfinite():
                parts = ", ".join(f"{name} {loss.item():.3g}" for name, loss in losses.items())
                raise FloatingPointError(f"the loss is not finite at step {self.done} ({parts}); lower the learning rate")
            self.accelerator.backward(total)
        norm = torch.nn.utils.clip_grad_norm_(self.trained, clip or math.inf)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        row = {"step": self.done, **{name: loss.item() for name, loss in losses.items()}, "total": total.item(), "norm": norm.item()}
        self.state.history.append({**row, "rate": share, "seconds": time.perf_counter() - started})
        self.state.done += 1
        return self.state.history[-1]

    @torch.no_grad()
    def look(self, watch: Watch | None) -> None:
        """Look once per number of steps, and keep the weights if they are the best so far."""
        if watch is None:
            return
        self.module.eval()
        seen = self.state.looks[self.done] = watch.look(self.done)
        if watch.choose is not None and (self.state.best is None or seen[watch.choose] > self.state.best["score"]):
            weights = {name: tensor.clone() for name, tensor in self._weights().items()}
            self.state.best = {"score": seen[watch.choose], "step": self.done, "weights": weights}

    def save(self, finished: bool) -> None:
        """Write the state in one piece; what only a next step needs is left out once there is none."""
        state = {**vars(self.state), "weights": self._weights()}
        if not finished:
            state["optimizer"] = self.optimizer.state_dict()
            state["memory"] = self.memory.state_dict() if self.memory else None
        with atomic_path(self.file) as draft:
            torch.save(state, draft)

    def finish(self) -> Trained:
        """Put the kept weights into the module."""
        best, device = self.state.best, self.trained[0].device
        if best is not None:
            self._put(best["weights"])
        self.module.eval()
        on_gpu = device.type == "cuda"
        peak = torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return Trained(self.state.history, self.state.looks, best["step"] if best else self.done, peak)

    def _weights(self) -> dict[str, Tensor]:
        trained = {id(parameter) for parameter in self.trained}
        parameters = {name: tensor.detach() for name, tensor in self.module.named_parameters() if id(tensor) in trained}
        return parameters | dict(self.module.named_buffers())

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, tensor in self._weights().items():
            tensor.copy_(weights[name])

    def _load(self, state: dict[str, Any]) -> None:
        self.state = _State(state["done"], state["history"], state["looks"], state["best"])
        self._put(state["weights"])
        if "optimizer" in state:
            self.optimizer.load_state_dict(state["optimizer"])
            if self.memory is not None:
                self.memory.load_state_dict(state["memory"])
