"""Matching constraint by constraint, beyond the paper: each one looks for the entry of a candidate that comes nearest to it.

Pix2Key embeds a dictionary as one string, and a text encoder blurs which value belongs to which key. Here every "key: value" has its own
embedding, and with m(c, i) = max over the entries of candidate i of cos(constraint c, entry)

    R(i) = alpha mean over wants of m + beta mean over anchors of m - (1 - alpha) mean over avoids of m                      (our choice)

A candidate without entries has m = 0: it states nothing. There are few distinct "key: value" strings, so m is a lookup in a table of
constraints against strings, and candidates with equal entries tie exactly.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cirlib.kernels.slots import lookup_maxima

Embed = Callable[[Sequence[str]], Tensor]  # texts to unit rows


def slot_weights(wants: Sequence[str], anchors: Sequence[str], avoids: Sequence[str], alpha: float, beta: float) -> list[tuple[str, float]]:
    """Every constraint of a query with its signed weight: alpha, beta and -(1 - alpha), each shared evenly within its part.

    Example:
        >>> slot_weights(["color: red"], ["length: long", "fit: loose"], [], 0.75, 0.5)
        [('color: red', 0.75), ('length: long', 0.25), ('fit: loose', 0.25)]
    """
    parts = ((wants, alpha), (anchors, beta), (avoids, alpha - 1))
    return [(text, weight / len(texts)) for texts, weight in parts for text in texts]


def slot_scores(
    constraints: Sequence[Sequence[tuple[str, float]]], candidates: Sequence[Sequence[str]], pool: Int[Tensor, "q p"], embed: Embed
) -> Float[Tensor, "q p"]:
    """Score of each query's pool, float64.

    Args:
        constraints: Per query, texts with signed weights; see `slot_weights`.
        candidates: Per gallery row, the texts of its entries.
        pool: Gallery rows that are scored.
        embed: Texts to unit rows.
    """
    scores = torch.zeros(pool.shape, dtype=torch.float64, device=pool.device)
    texts = list(dict.fromkeys(text for query in constraints for text, _ in query))
    if not texts:
        return scores
    table = best_matches(texts, candidates, embed).to(pool.device)
    place = {text: row for row, text in enumerate(texts)}
    for position in range(max(len(query) for query in constraints)):  # one after the other: a sum in one order, so that equals stay equal
        has = [position < len(query) for query in constraints]
        rows = torch.tensor([place[query[position][0]] if there else 0 for query, there in zip(constraints, has, strict=True)])
        weights = torch.tensor([query[position][1] if there else 0.0 for query, there in zip(constraints, has, strict=True)]).double()
        scores += weights.to(pool.device)[:, None] * table[rows.to(pool.device)[:, None], pool]
    return scores


def best_matches(constraints: Sequence[str], candidates: Sequence[Sequence[str]], embed: Embed) -> Float[Tensor, "c g"]:
    """m: the cosine of each constraint with the nearest entry of each candidate; 0 for a candidate without entries. Memory O(c g)."""
    vocabulary = {text: column for column, text in enumerate(dict.fromkeys(text for entries in candidates for text in entries))}
    if not vocabulary:
        return torch.zeros(len(constraints), len(candidates))
    cosines = embed(constraints) @ embed(list(vocabulary)).T  # (c, v)
    longest = max(len(entries) for entries in candidates)
    columns = torch.tensor([[vocabulary[text] for text in entries] + [-1] * (longest - len(entries)) for entries in candidates])  # (g, m)
    return lookup_maxima(cosines, columns.to(cosines.device))
