"""What the trainings of all mappers have in common: keys of the states, choice on val, and the outcome."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import nn

from cirlib.methods.pseudo_words.mappers import Mapper, build_mapper
from cirlib.methods.pseudo_words.method import PseudoWordMethod
from cirlib.methods.training import Schedule, Trained, Watch, adamw_groups, train
from cirlib.types import Benchmark, ImageSet, InputError, Method

Score = Callable[[Method, Benchmark], float]


class Steps(Protocol):
    """What every recipe of a mapper says; the recipes are frozen dataclasses."""

    steps: int
    batch: int
    rate: float
    weight_decay: float
    warmup: int
    constant: bool
    look_every: int
    save_every: int
    seed: int


@dataclass(frozen=True)
class TrainedMapper:
    """Outcome of a training.

    Attributes:
        method: Retrieval with the mapper.
        outcome: Losses per step, looks ("val" per number of steps done), chosen step, memory.
        recipe: The recipe as a dictionary.
    """

    method: PseudoWordMethod
    outcome: Trained
    recipe: dict[str, Any]

    @property
    def mapper(self) -> Mapper:
        """The mapper with the kept weights, in eval mode."""
        return self.method.mapper


@dataclass(frozen=True)
class Choice:
    """What weights are chosen on.

    Attributes:
        val: A benchmark's val split.
        score: The higher the better, such as `lambda method, val: evaluate(method, val).mean("recall@10")`. States are told apart by the
            recipe and val and not by this function, so it must be the same wherever the same recipe is trained.
    """

    val: Benchmark
    score: Score

    def __post_init__(self) -> None:
        if self.val.split != "val":
            raise InputError(f"weights would be chosen on {self.val.name} {self.val.split}; give its val split")


def new_mapper(kind: str, seed: int, device: torch.device, **settings: float) -> Mapper:
    """A mapper with random weights that depend on the seed alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_mapper(kind, **settings).to(device)


def fit_mapper(
    name: str,
    recipe: Steps,
    objective: nn.Module,
    batches: Callable[[int], Any],
    method: PseudoWordMethod,
    key: Mapping[str, Any],
    choice: Choice | None = None,
    *,
    stop_after: int | None = None,
    progress: bool = True,
) -> TrainedMapper:
    """Train the mapper of `objective`, and keep the weights with which `method` scores best on val, the earliest of equals.

    Args:
        name: Of the folder of states, and of the bar.
        recipe: A frozen dataclass; see `Steps`.
        objective: `objective(batch)` returns its losses by name; its parameters that require gradients are trained.
        batches: From the step's number to a batch.
        method: Uses the mapper.
        key: What decides the outcome besides recipe, encoder and val: pictures, captions.
        choice: What weights are chosen on; None keeps the last ones.
        stop_after: Stop early, as an interruption would.
        progress: Show a bar.
    """
    watch = None
    if choice is not None:
        watch = Watch(recipe.look_every, lambda step: {"val": float(choice.score(method, choice.val))}, choose="val")
    val = {} if choice is None else {"val": benchmark_key(choice.val), "template": method.template}
    outcome = train(
        name,
        {**key, **val, "recipe": asdict(recipe), "clip": method.encoder.fingerprint},
        objective,
        batches,
        adamw_groups(objective, recipe.rate, recipe.weight_decay),
        Schedule(recipe.steps, min(recipe.warmup, recipe.steps), floor=1.0 if recipe.constant else 0.0),
        seed=recipe.seed,
        watch=watch,
        save_every=recipe.save_every,
        stop_after=stop_after,
        progress=progress,
    )
    return TrainedMapper(method, outcome, asdict(recipe))


def check_recipe(recipe: Any) -> None:
    """Raise InputError where a recipe's numbers cannot be used: counts below 1, a dropout outside [0, 1), anything below 0."""
    for name, value in asdict(recipe).items():
        least = 1 if name in ("steps", "batch", "hidden", "factor", "look_every", "save_every", "concepts") else 0
        if isinstance(value, int | float) and value < least:
            raise InputError(f"{name} = {value} in {type(recipe).__name__}; use {least} or more")
        if name in ("dropout", "ema") and value >= 1:
            raise InputError(f"{name} = {value} in {type(recipe).__name__}; use a share in [0, 1)")


def benchmark_key(benchmark: Benchmark) -> str:
    """Hash of what a benchmark asks and shows."""
    queries = [(query.id, query.reference, query.text, query.positives) for query in benchmark.queries]
    return hashed([benchmark.name, benchmark.version, benchmark.split, queries, benchmark.gallery.ids])


def pictures_key(images: ImageSet) -> str:
    """Hash of the content of all pictures, in order."""
    return hashed([images.content_hash(image_id) for image_id in images.ids])


def hashed(value: Any) -> str:
    """SHA-256 of something that JSON can write."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
