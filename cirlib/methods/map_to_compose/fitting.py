"""What the trainings of both stages have in common: order of the rows, groups of weights, keys of the states, and the call of the loop."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from cirlib.methods.map_to_compose.method import MapToCompose
from cirlib.methods.map_to_compose.recipe import Decay, Optimisation
from cirlib.methods.training import Trained, Watch, adamw_groups, train
from cirlib.types import Benchmark, ImageSet, InputError, Method

BETAS, EPS = (0.9, 0.98), 1e-6  # released code
NOT_DECAYED = ("bn", "ln", "bias", "logit_scale")  # released code, by name: norms that are called otherwise do decay
Score = Callable[[Method, Benchmark], float]


def batch_rows(count: int, batch: int, step: int, seed: int) -> Int[Tensor, " b"]:
    """Rows of one step: a new shuffle each epoch, an incomplete last batch left out; a function of (seed, step) alone.

    Raises:
        InputError: If there are fewer rows than a batch needs.

    Example:
        >>> sorted(torch.cat([batch_rows(6, 3, step, 0) for step in (0, 1)]).tolist())
        [0, 1, 2, 3, 4, 5]
    """
    if batch > count:
        raise InputError(f"a batch of {batch} asked for and {count} examples given; ask for a smaller batch")
    epoch, place = divmod(step, count // batch)
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return torch.from_numpy(order[place * batch : (place + 1) * batch])


def parameter_groups(module: nn.Module, rate: float, weight_decay: float, rule: Decay) -> list[dict]:
    """AdamW's groups of everything that requires gradients.

    Args:
        module: Its parameters are taken.
        rate: Peak learning rate.
        weight_decay: Of those that decay.
        rule: "matrices": norms and biases do not decay. "released": what has one of `NOT_DECAYED` in its name does not, and norms do.
    """
    if rule == "matrices":
        return adamw_groups(module, rate, weight_decay)
    groups: dict[bool, list[Tensor]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(any(part in name for part in NOT_DECAYED), []).append(parameter)
    return [{"params": found, "lr": rate, "weight_decay": 0.0 if plain else weight_decay} for plain, found in groups.items()]


def fit(
    name: str,
    recipe: Optimisation,
    module: nn.Module,
    batches: Callable[[int], Any],
    method: MapToCompose,
    key: Mapping[str, Any],
    val: Benchmark,
    score: Score,
    *,
    stop_after: int | None = None,
    progress: bool = True,
) -> Trained:
    """Train `module` and keep the weights with which `method` scores best on val, the earliest of equals.

    Args:
        name: Of the folder of states, and of the bar.
        recipe: Steps, rates, seed.
        module: `module(batch)` returns its losses, weighted, by name.
        batches: From the step's number to a batch.
        method: Uses the module's weights; is scored.
        key: What decides the outcome besides the recipe and val.
        val: What weights are chosen on.
        score: The higher the better, such as `lambda method, val: evaluate(method, val).mean("recall@10")`. States are told apart by what
            is given here and not by this function, so it must be the same wherever the same recipe is trained.
        stop_after: Stop early, as an interruption would.
        progress: Show a bar.

    Raises:
        InputError: If `val` is not a val split.
    """
    if val.split != "val":
        raise InputError(f"weights would be chosen on {val.name} {val.split}; give its val split")
    return train(
        name,
        {**key, "recipe": recipe.as_dict(), "val": benchmark_key(val)},
        module,
        batches,
        parameter_groups(module, recipe.peak, recipe.weight_decay, recipe.decay),
        recipe.schedule,
        seed=recipe.seed,
        watch=Watch(recipe.look_every, lambda step: {"val": float(score(method, val))}, choose="val"),
        betas=BETAS,
        eps=EPS,
        precision=recipe.precision,
        save_every=recipe.save_every,
        stop_after=stop_after,
        progress=progress,
    )


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
