"""Training DQE-CIR: queries against their targets and one mined negative each, weights chosen on val.

QuRe's training (released code), but for vision tokens that are computed once: Q-Former, query tokens, vision norm, projections and
temperature learn, the vision tower does not. Epochs are shuffles of all queries; the last batch of an epoch may be smaller. The rate
follows a cosine over steps, QuRe's over epochs.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from cirlib.data.attribute_words import VERSION
from cirlib.methods.dqe_cir.attributes import AttributeWeights
from cirlib.methods.dqe_cir.lesson import Batch, Lesson
from cirlib.methods.dqe_cir.method import DqeCir
from cirlib.methods.dqe_cir.negative_memory import NegativeMemory
from cirlib.methods.dqe_cir.query import ComposedQuery
from cirlib.methods.dqe_cir.recipe import IN_BATCH, Recipe
from cirlib.methods.dqe_cir.training_set import TrainingSet
from cirlib.methods.qformer_encoder import QFormerEncoder
from cirlib.methods.training import Schedule, Trained, Watch, adamw_groups, train
from cirlib.types import Benchmark, InputError, Method

Score = Callable[[Method, Benchmark], Mapping[str, float]]


@dataclass(frozen=True)
class TrainedDqeCir:
    """A trained method and how it came about.

    Attributes:
        method: With the weights of the best look.
        outcome: Losses, looks, time and memory. A look holds what `score` gave, "tau", "minings" so far, "attributes" (see
            `DqeCir.attribute_log`; not for mode "none"), and under "measured" what `measure` gave.
        minings: One log per definition of negative sets, see `NegativeMemory`; empty for "in_batch".
        recipe: What it was trained by.
    """

    method: DqeCir
    outcome: Trained
    minings: list[dict[str, Any]]
    recipe: Recipe


def train_dqe_cir(
    recipe: Recipe,
    encoder: QFormerEncoder,
    benchmarks: Benchmark | Sequence[Benchmark],
    val: Benchmark,
    score: Score,
    *,
    measure: Callable[[DqeCir], Mapping[str, Any]] | None = None,
    name: str = "DQE-CIR",
    most_mib: float = 4096,
    stop_after: int | None = None,
    progress: bool = True,
) -> TrainedDqeCir:
    """Train on a copy of the encoder's Q-Former; a training that was interrupted goes on, one that is finished is read back.

    Args:
        recipe: All settings.
        encoder: Over the pretrained checkpoint; it stays as it is.
        benchmarks: Queries with targets. Several are trained on together, each with its own pool of negatives.
        val: What weights are chosen on; `recipe.val_queries` of its queries are looked at.
        score: From method and val to metrics with `recipe.choose` among them, such as
            `lambda method, val: {"recall@10": evaluate(method, val).mean("recall@10")}`. It must be the same function wherever the same
            recipe is trained, and so must `measure`: states are told apart by what is given here and not by code.
        measure: What else to look at on the way, for example mechanisms; numbers, tensors, lists and dicts of them.
        name: Of the method.
        most_mib: Vision tokens are held in memory up to this size a benchmark, in MiB.
        stop_after: Save and return once this many steps are done, as an interruption would.
        progress: Show bars.

    Raises:
        InputError: If there is nothing to train on, `val` has fewer queries than are to be looked at, or `score` lacks what is chosen by.
    """
    benchmarks = [benchmarks] if isinstance(benchmarks, Benchmark) else list(benchmarks)
    val = thin(val, recipe.val_queries)
    base, own = encoder.fingerprint, encoder.fresh()
    data = TrainingSet(benchmarks, own, recipe.pool, most_mib)
    composer = ComposedQuery(own.qformer.unfreeze(), AttributeWeights(own.qformer, recipe.mode, recipe.groups, recipe.absent, recipe.seed))
    lesson, method = Lesson(composer, recipe), DqeCir(own, composer, name)
    own.progress = False  # one bar is enough while training
    memory = None if recipe.negatives == IN_BATCH else NegativeMemory(recipe, data, composer)
    per_epoch = -(-len(data) // recipe.batch)

    def look(step: int) -> dict[str, Any]:
        scores = {metric: float(value) for metric, value in score(method, val).items()}
        if recipe.choose not in scores:
            raise InputError(f"score gave {', '.join(scores) or 'nothing'}; weights are chosen by {recipe.choose!r}")
        seen: dict[str, Any] = {**scores, "tau": lesson.temperature().item(), "minings": memory.report() if memory else []}
        if composer.attributes.groups:
            seen["attributes"] = method.attribute_log(val.queries, val.references)
        return {**seen, "measured": dict(measure(method))} if measure else seen

    outcome = train(
        "dqe_cir",
        {
            "recipe": asdict(recipe),
            "start": base,
            "train": data.key,
            "val": _val_key(val),
            "words": VERSION,
            "measured": measure is not None,
        },
        lesson,
        lambda step: make_batch(recipe, data, memory, step),
        adamw_groups(lesson, recipe.rate, recipe.weight_decay, ("composer.attributes.",), recipe.attribute_factor),
        Schedule(recipe.epochs * per_epoch, floor=recipe.floor),
        seed=recipe.seed,
        watch=Watch(recipe.look_epochs * per_epoch, look, recipe.choose),
        memory=memory,
        precision=recipe.precision,
        save_every=recipe.save_every,
        stop_after=stop_after,
        progress=progress,
    )
    lesson.requires_grad_(False)
    own.progress = encoder.progress
    return TrainedDqeCir(method, outcome, outcome.looks[max(outcome.looks)]["minings"], recipe)


def make_batch(recipe: Recipe, data: TrainingSet, memory: NegativeMemory | None, step: int) -> Batch:
    """The batch of a step, after new negative sets where the step begins an interval.

    Args:
        recipe: Batch size, interval and seed.
        data: Queries and pictures.
        memory: Negatives; None for "in_batch".
        step: From 0.
    """
    queries = epoch_rows(len(data), recipe.batch, step, recipe.seed)
    target = data.target[queries]
    pictures, warm, margin = target, True, 0.0
    if memory is not None:
        memory.prepare(step // -(-len(data) // recipe.batch))
        pictures, warm = torch.cat([target, memory.draw(queries)]), memory.warm
        margin = memory.margin
    device = data.encoder.qformer.device
    same = (target.unsqueeze(0) == target.unsqueeze(1)).to(device)
    reference, shown = (data.vision(rows).to(device) for rows in (data.reference[queries], pictures))
    return Batch(reference, data.texts(queries), shown, same, warm, margin)


def epoch_rows(count: int, batch: int, step: int, seed: int) -> Int[Tensor, " b"]:
    """Queries of a step: a new shuffle each epoch, the last batch of an epoch smaller where it must be; a function of (seed, step) alone.

    Example:
        >>> [len(epoch_rows(5, 2, step, seed=0)) for step in range(4)]
        [2, 2, 1, 2]
    """
    epoch, place = divmod(step, -(-count // batch))
    order = torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(count))
    return order[place * batch : (place + 1) * batch]


def thin(benchmark: Benchmark, count: int) -> Benchmark:
    """The benchmark with `count` of its queries, evenly spaced, over its whole gallery; 0 keeps all.

    Raises:
        InputError: If there are fewer.
    """
    total = len(benchmark.queries)
    if count > total:
        raise InputError(f"{count} val queries asked for and {benchmark.name} {benchmark.split} has {total}; ask for fewer, or 0 for all")
    if not count:
        return benchmark
    return replace(benchmark, queries=tuple(benchmark.queries[place * total // count] for place in range(count)))


def _val_key(val: Benchmark) -> dict[str, str]:
    told = [[query.id, query.reference, query.text, list(query.positives)] for query in val.queries], val.gallery.ids, val.version
    return {"name": val.name, "split": val.split, "part": val.part, "content": hashlib.sha256(json.dumps(told).encode()).hexdigest()}
