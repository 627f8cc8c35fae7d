"""Losses of the mappers. Rows are compared by cosine over one batch.

contrast(x, y, scale)              symmetric InfoNCE                                          Pic2Word
distillation(x, y, temperature)    each row finds its partner among the rows of both sets     SEARLE
turn(x, y)                         mean of 1 - cosine of rows with the same number            SEARLE
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy, normalize


def contrast(x: Float[Tensor, "b d"], y: Float[Tensor, "b d"], scale: float) -> Float[Tensor, ""]:
    """Mean of two cross-entropies: of finding row i of y from row i of x by `scale` times the cosine, and the other way round.

    log(b) where nothing is told apart.
    """
    scores = scale * normalize(x.float(), dim=-1) @ normalize(y.float(), dim=-1).T  # (b, b)
    wanted = torch.arange(len(scores), device=scores.device)
    return (cross_entropy(scores, wanted) + cross_entropy(scores.T, wanted)) / 2


def distillation(x: Float[Tensor, "b d"], y: Float[Tensor, "b d"], temperature: float) -> Float[Tensor, ""]:
    """Mean over all 2b rows of the cross-entropy of finding a row's partner among the other 2b - 1 rows of both sets (paper).

    That the mean and not the sum over both directions is taken is inferred.
    """
    rows = normalize(torch.cat([x, y]).float(), dim=-1)  # (2b, d)
    scores = (rows @ rows.T / temperature).fill_diagonal_(float("-inf"))
    wanted = torch.arange(len(rows), device=rows.device).roll(len(x))
    return cross_entropy(scores, wanted)


def turn(x: Float[Tensor, "b d"], y: Float[Tensor, "b d"]) -> Float[Tensor, ""]:
    """Mean of 1 - cosine of the rows with the same number; in [0, 2].

    Example:
        >>> turn(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])).item()
        0.5
    """
    return (1 - cosine_similarity(x.float(), y.float(), dim=-1)).mean()
