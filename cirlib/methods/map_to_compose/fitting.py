"""What the trainings of both stages have in common: groups of weights, and the call of the loop."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from cirlib.methods.map_to_compose.method import MapToCompose
from cirlib.methods.map_to_compose.recipe import Decay, Optimisation
from cirlib.methods.pseudo_words.fitting import Choice, benchmark_key
from cirlib.methods.training import Trained, Watch, adamw_groups, train

BETAS, EPS = (0.9, 0.98), 1e-6  # released code
NOT_DECAYED = ("bn", "ln", "bias", "logit_scale")  # released code, by name: norms that are called otherwise do decay


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
    choice: Choice | None = None,
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
        key: What decides the outcome besides recipe, encoder and val.
        choice: What weights are chosen on; None keeps the last ones.
        stop_after: Stop early, as an interruption would.
        progress: Show a bar.
    """
    watch, looked = None, {}
    if choice is not None:
        watch = Watch(recipe.look_every, lambda step: {"val": float(choice.score(method, choice.val))}, choose="val")
        looked = {"val": benchmark_key(choice.val), "template": method.template}
    return train(
        name,
        {**key, **looked, "recipe": recipe.as_dict(), "clip": method.encoder.fingerprint},
        module,
        batches,
        parameter_groups(module, recipe.peak, recipe.weight_decay, recipe.decay),
        recipe.schedule,
        seed=recipe.seed,
        watch=watch,
        betas=BETAS,
        eps=EPS,
        precision=recipe.precision,
        save_every=recipe.save_every,
        stop_after=stop_after,
        progress=progress,
    )
