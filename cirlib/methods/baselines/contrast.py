"""Training a baseline with labelled triplets: each query against every target of its batch (InfoNCE), weights chosen on val.

    loss = -log( exp(s_ii) / sum_j exp(s_ij) ),   s_ij = <query_i, target_j> / temperature, the best of target j's vectors

Every other query's target counts as wrong, also where it is a second positive: that is what relevance suppression means.
"""

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cirlib.methods.batches import batch_rows
from cirlib.methods.training import Schedule, Trained, Watch, adamw_groups, train
from cirlib.types import Benchmark, InputError, Method, Query

COLDEST, HOTTEST = 0.01, 0.5  # what a learned temperature is held between (our choice)
Score = Callable[[Method, Benchmark], Mapping[str, float]]


@dataclass(frozen=True)
class ContrastRecipe:
    """What the trainings of all baselines have in common. Schedule, clipping and the seeds are our choice."""

    steps: int = 10_000
    batch: int = 128  # queries a step, each of them with the targets of all others as negatives
    rate: float = 2e-5  # peak learning rate
    warmup: int = 500  # steps
    weight_decay: float = 0.05  # not on norms, biases and single vectors
    clip: float = 0.0  # largest norm of the gradient; 0 does not clip
    look_every: int = 500  # steps between two looks at val
    choose: str = "recall@10"  # on val; the weights of its best look are kept
    save_every: int = 100  # steps between two states on disk
    precision: Literal["fp32", "bf16"] = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "look_every", "save_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)} in a baseline's recipe; use 1 or more")
        if self.batch < 2:
            raise InputError(f"batch = {self.batch} in a baseline's recipe; a query needs another one's target to be told apart from")
        if self.rate <= 0 or self.weight_decay < 0 or self.clip < 0:
            raise InputError(f"rate {self.rate}, weight_decay {self.weight_decay}, clip {self.clip}; a rate above 0, the others 0 or more")
        if self.precision not in ("fp32", "bf16"):
            raise InputError(f"precision {self.precision!r} in a baseline's recipe; it is fp32 or bf16")


@dataclass(frozen=True)
class TrainedBaseline:
    """A trained baseline.

    Attributes:
        method: With the weights that did best on val.
        outcome: Losses, scores on val at each look, time and memory.
    """

    method: Method
    outcome: Trained


def in_batch_scores(query: Float[Tensor, "b d"], target: Float[Tensor, "b *m d"]) -> Float[Tensor, "b b"]:
    """Inner product of every query with every target; of a target's m vectors the best one counts, as in BLIP-2.

    Example:
        >>> in_batch_scores(torch.eye(2), torch.tensor([[[1.0, 0.0], [0.0, 0.5]], [[0.0, 1.0], [-1.0, 0.0]]]))
        tensor([[1.0000, 0.0000],
                [0.5000, 1.0000]])
    """
    if target.ndim == 2:
        return query @ target.T
    return torch.einsum("qd,tmd->qtm", query, target).amax(-1)  # (b, b)


def contrast_loss(scores: Float[Tensor, "b b"], temperature: float | Float[Tensor, ""]) -> Float[Tensor, ""]:
    """InfoNCE from query to target, the mean over the batch; the correct pairs are the diagonal.

    Example:
        >>> contrast_loss(torch.eye(2), 1.0)  # log(1 + exp(-1))
        tensor(0.3133)
    """
    return cross_entropy(scores / temperature, torch.arange(len(scores), device=scores.device))


class Temperature(nn.Module):
    """A learned temperature, held in [0.01, 0.5]. Gradients pass the bounds, so that it can come back."""

    def __init__(self, start: float = 0.07) -> None:
        super().__init__()
        if not COLDEST <= start <= HOTTEST:
            raise InputError(f"temperature {start} given; it starts between {COLDEST} and {HOTTEST}")
        self.value = nn.Parameter(torch.tensor(start))

    def forward(self) -> Float[Tensor, ""]:
        """The temperature."""
        return self.value + (self.value.clamp(COLDEST, HOTTEST) - self.value).detach()


class Triplets:
    """Queries to learn from, of one or several benchmarks (FashionIQ's categories) that are called "train".

    Queries whose reference or target picture is said to be missing are left out, with a warning that counts them. Of the positives the
    designated target alone is used.

    Attributes:
        parts: The benchmarks with the queries that are left.
        key: Hash of what decides a training.

    Raises:
        InputError: If a split is not "train", or no query is left.
    """

    def __init__(self, benchmarks: Benchmark | Sequence[Benchmark]) -> None:
        self.parts = tuple(_usable(part) for part in ([benchmarks] if isinstance(benchmarks, Benchmark) else benchmarks))
        self._first = np.cumsum([0, *(len(part.queries) for part in self.parts)])
        if not len(self):
            raise InputError("no query to train on; give a train split with targets and pictures")
        self.key = [benchmark_key(part) for part in self.parts]

    def __len__(self) -> int:
        return int(self._first[-1])

    def split(self, rows: Int[np.ndarray, " b"]) -> list[tuple[int, list[Query]]]:
        """Number of a part and its queries among these rows, for every part that has any."""
        found = []
        for number, part in enumerate(self.parts):
            mine = rows[(rows >= self._first[number]) & (rows < self._first[number + 1])] - self._first[number]
            if len(mine):
                found.append((number, [part.queries[row] for row in mine]))
        return found


def train_baseline(
    name: str,
    recipe: ContrastRecipe,
    module: nn.Module,
    method: Method,
    fingerprint: Mapping[str, str],
    triplets: Triplets,
    val: Benchmark,
    score: Score,
    read: Callable[[Int[np.ndarray, " b"]], Any],
    *,
    stop_after: int | None = None,
    progress: bool = True,
) -> TrainedBaseline:
    """Train `module` and keep the weights that score best on val; a finished training is read back.

    Args:
        name: Of the folder of states, and of the bar.
        recipe: All settings.
        module: `module(batch)` returns its losses by name.
        method: Uses `module`; is scored.
        fingerprint: Of the frozen parts and the weights at the start.
        triplets: What to learn from.
        val: What weights are chosen on.
        score: From method and val to metrics with `recipe.choose` among them, such as
            `lambda method, val: {"recall@10": evaluate(method, val).mean("recall@10")}`. It must be the same function wherever the same
            recipe is trained, as states are told apart by what is given here and not by code.
        read: From rows of `triplets` to a batch, in any order.
        stop_after: Stop early, as an interruption would.
        progress: Show a bar.

    Raises:
        InputError: If `val` is no val split, there are fewer queries than a batch needs, or `score` lacks what is chosen by.
    """
    if val.split != "val":
        raise InputError(f"{val.name} {val.split} given to choose weights on; give a val split")
    batch_rows(len(triplets), recipe.batch, 0, recipe.seed)  # too few queries are refused before anything is encoded

    def look(step: int) -> dict[str, float]:
        seen = {metric: float(value) for metric, value in score(method, val).items()}
        if recipe.choose not in seen:
            raise InputError(f"score gave {', '.join(seen) or 'nothing'}; weights are chosen by {recipe.choose!r}")
        return seen

    outcome = train(
        name,
        {"recipe": asdict(recipe), "start": dict(fingerprint), "train": triplets.key, "val": benchmark_key(val)},
        module,
        lambda step: read(batch_rows(len(triplets), recipe.batch, step, recipe.seed).numpy()),
        adamw_groups(module, recipe.rate, recipe.weight_decay),
        Schedule(recipe.steps, min(recipe.warmup, recipe.steps)),
        seed=recipe.seed,
        watch=Watch(recipe.look_every, look, recipe.choose),
        betas=(0.9, 0.98),  # released code of SPRC
        eps=1e-7,  # released code of SPRC
        clip=recipe.clip,
        precision=recipe.precision,
        save_every=recipe.save_every,
        stop_after=stop_after,
        progress=progress,
    )
    module.requires_grad_(False)
    return TrainedBaseline(method, outcome)


def benchmark_key(benchmark: Benchmark) -> str:
    """Hash of what a benchmark asks and shows: ids, texts, targets, the gallery, and the content of the pictures that queries name."""
    queries = [(query.id, query.reference, query.text, query.target) for query in benchmark.queries]
    content = [(name, benchmark.references.content_hash(name)) for name in used_pictures(benchmark) if name in benchmark.references]
    told = json.dumps([benchmark.name, benchmark.version, queries, benchmark.gallery.ids, content])
    return hashlib.sha256(told.encode()).hexdigest()


def used_pictures(benchmark: Benchmark) -> list[str]:
    """Ids of the references and targets of a benchmark, each once, in the order of the queries."""
    return list(dict.fromkeys(name for query in benchmark.queries for name in (query.reference, query.target)))


def _usable(benchmark: Benchmark) -> Benchmark:
    if benchmark.split != "train":
        raise InputError(f"{benchmark.name} {benchmark.split} given to learn from; give a train split")
    absent = set(benchmark.missing)
    kept = tuple(query for query in benchmark.queries if not {query.reference, query.target} & absent)
    lost = len(benchmark.queries) - len(kept)
    if lost:
        warnings.warn(f"{lost} of {len(benchmark.queries)} training queries have a missing picture and are left out", stacklevel=4)
    return replace(benchmark, queries=kept)
