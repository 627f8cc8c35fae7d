"""Choosing alpha, beta, lambda and the pool on val. The paper states no values; grids, objectives and rules are our choice.

alpha, beta     the highest recall@10 of the search without diversity; of equals, the first of the grid
lambda, pool    the highest ILD@10 among the settings whose recall@10 is at most half a point below that of lambda = 0
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from jaxtyping import Int
from torch import Tensor

from cirlib.kernels.reference import target_ranks
from cirlib.kernels.search import search
from cirlib.methods.pix2key.method import Pix2Key
from cirlib.types import Benchmark, Embeddings, InputError, Query

ALPHAS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
BETAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.2, 1.6, 2.4)
DIVERSITIES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
POOLS = (100, 200, 500)
ALLOWED_LOSS = 0.005  # of recall@10, as a fraction


@dataclass(frozen=True)
class TunedWeights:
    """Outcome of a search over alpha and beta.

    Attributes:
        alpha: The best.
        beta: The best.
        recall: Recall@k on val of every pair that was tried, as a fraction.
    """

    alpha: float
    beta: float
    recall: Mapping[tuple[float, float], float]


@dataclass(frozen=True)
class TunedDiversity:
    """Outcome of a search over lambda and the pool.

    Attributes:
        diversity: The chosen lambda.
        pool: The chosen pool.
        tried: (recall@10, ILD@10) of every (lambda, pool), as fractions.
    """

    diversity: float
    pool: int
    tried: Mapping[tuple[float, int], tuple[float, float]]


def tune_weights(
    method: Pix2Key, benchmark: Benchmark, alphas: Sequence[float] = ALPHAS, betas: Sequence[float] = BETAS, k: int = 10
) -> TunedWeights:
    """Try every pair of weights on a validation benchmark, by the recall@k of the designated target.

    Dictionaries are written, edits parsed and texts embedded once, whatever the size of the grid. Diversity is off while weights are tuned.

    Args:
        method: Its other options stay as they are, matching among them.
        benchmark: Any split but a test split; it ranks the whole gallery, and all its pictures are there.
        alphas: Tried in order.
        betas: Tried in order, inside of alphas.
        k: Cut-off of the objective.

    Raises:
        InputError: If the benchmark is a test split, ranks subsets, or its queries have no public targets.
    """
    if benchmark.split.startswith("test"):
        raise InputError(f"{benchmark.name} {benchmark.split} given; numbers are tuned on val, never on a test split")
    if benchmark.protocol.candidates != "gallery" or benchmark.missing:
        raise InputError(f"{benchmark.name} ranks subsets or lacks pictures; tune on a benchmark that ranks a whole gallery")
    rows = benchmark.gallery.rows
    target = torch.tensor([rows[query.target] for query in benchmark.queries])
    exclude = torch.tensor([rows.get(q.reference, -1) if benchmark.protocol.exclude_reference else -1 for q in benchmark.queries])
    plain = method.variant(diversity=0.0)
    gallery = plain.encode_gallery(benchmark.gallery)
    recall = {}
    for alpha, beta in product(alphas, betas):
        plain.options = replace(plain.options, alpha=alpha, beta=beta)
        query = plain.compose(benchmark.queries, benchmark.references)
        recall[alpha, beta] = float((_ranks(plain, benchmark.queries, query, gallery, target, exclude) <= k).double().mean())
    best = max(recall, key=recall.__getitem__)
    return TunedWeights(*best, recall)


def tune_diversity(
    score: Callable[[float, int], tuple[float, float]],
    diversities: Sequence[float] = DIVERSITIES,
    pools: Sequence[int] = POOLS,
    allowed_loss: float = ALLOWED_LOSS,
) -> TunedDiversity:
    """Buy as much variety as a small loss of recall pays for.

    Args:
        score: (recall@10, ILD@10) on val of one (lambda, pool), as fractions; the caller ties it to the evaluation and to val.
        diversities: Lambdas; 0 is tried in any case, as the baseline.
        pools: Sizes of the pool.
        allowed_loss: How far recall may fall below that of lambda = 0, as a fraction.

    Returns:
        Of equals, the smaller lambda and then the smaller pool.

    Example:
        >>> curve = {0.0: (0.500, 0.2), 0.3: (0.497, 0.3), 0.6: (0.450, 0.5)}
        >>> tune_diversity(lambda diversity, pool: curve[diversity], (0.3, 0.6), (200,)).diversity
        0.3
    """
    pools = sorted(pools)
    base = score(0.0, pools[0])  # without diversity the pool plays no part
    tried = {(0.0, pools[0]): base}
    tried |= {(diversity, pool): score(diversity, pool) for diversity, pool in product(sorted(set(diversities) - {0.0}), pools)}
    affordable = [setting for setting, (recall, _) in tried.items() if recall >= base[0] - allowed_loss - 1e-12]
    best = max(affordable, key=lambda setting: tried[setting][1])
    return TunedDiversity(*best, tried)


def _ranks(
    method: Pix2Key, queries: Sequence[Query], query: Embeddings, gallery: Embeddings, target: Int[Tensor, " q"], exclude: Int[Tensor, " q"]
) -> Int[Tensor, " q"]:
    """Ranks of the targets: of the fused search, or after the rerank by slots."""
    ranks = target_ranks(query.rows, gallery.rows, target, exclude)
    if method.options.matching == "pooled":
        return ranks
    size = min(method.pool_size, len(gallery) - bool((exclude >= 0).any()))
    best = search(query.rows, gallery.rows, size, exclude)
    pool = best.rows.gather(1, method.rerank(queries, best.rows, best.scores, gallery))
    found = pool == target[:, None]
    return torch.where(found.any(dim=1), found.long().argmax(dim=1) + 1, ranks)
