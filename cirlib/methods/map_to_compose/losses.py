"""Losses of both stages. Rows are compared by cosine over one batch; temperatures are fixed. Source: the released code.

    soft_alignment(g, v, t)   KL of a caption's profile over sentences from its profile over pictures    L_soft, L_soft2
    one_way_contrast(t, v)    picture by sentence                                                        L_i2t
    hard_contrast(t, v)       the same, with mixed hard negatives                                        L_t2i

L_align, L_ref and L_map are `pseudo_words.losses.contrast`.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, normalize

Mixing = Literal["off", "released", "scaled"]
RANGE_FLOOR = 1e-8  # added to the range of a row of similarities (released code)


def cosines(x: Float[Tensor, "b d"], y: Float[Tensor, "c d"]) -> Float[Tensor, "b c"]:
    """Cosine of every row of x with every row of y, in fp32."""
    return normalize(x.float(), dim=-1) @ normalize(y.float(), dim=-1).T


def one_way_contrast(query: Float[Tensor, "b d"], target: Float[Tensor, "b d"], temperature: float) -> Float[Tensor, ""]:
    """Cross-entropy of finding, for each row of `query`, the row of `target` with the same number."""
    return _find_diagonal(cosines(query, target) / temperature)


def soft_alignment(
    captions: Float[Tensor, "b d"], teacher: Float[Tensor, "b d"], student: Float[Tensor, "b d"], temperature: float
) -> Float[Tensor, ""]:
    """Mean over captions of KL(Q || P): Q is a caption's softmax over the teacher's rows, P the one over the student's rows.

    Gradients flow to the student only. The released code takes the logarithm of a softmax; a log-softmax in fp32 is the same and safer.
    """
    with torch.no_grad():
        wanted = log_softmax(cosines(captions, teacher) / temperature, dim=-1)
    found = log_softmax(cosines(captions.detach(), student) / temperature, dim=-1)
    return kl_div(found, wanted, reduction="batchmean", log_target=True)


def mixing_weights(target: Float[Tensor, "b d"]) -> Float[Tensor, "b b"]:
    """Share w_ij of the own target in a mixed negative: its cosine with target j, stretched to [0, 1] along the row."""
    alike = cosines(target, target)
    low, high = alike.amin(dim=1, keepdim=True), alike.amax(dim=1, keepdim=True)
    return (alike - low) / (high - low + RANGE_FLOOR)


def mixed_scores(scores: Float[Tensor, "b b"], weights: Float[Tensor, "b b"], count: int) -> Float[Tensor, "b k"]:
    """Scores of the mixed negatives w_ij v_i + (1 - w_ij) v_j for the k other targets j that score best; k = min(count, b - 1).

    The score is linear in the target, so no target is mixed: h_ij = w_ij S_ii + (1 - w_ij) S_ij. The mixture is not brought to unit length.
    """
    own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    hardest = scores.detach().masked_fill(own, -torch.inf).topk(min(count, len(scores) - 1), dim=1).indices  # (b, k)
    share = weights.gather(1, hardest)
    return share * scores.diagonal()[:, None] + (1 - share) * scores.gather(1, hardest)


def hard_contrast(
    query: Float[Tensor, "b d"], target: Float[Tensor, "b d"], temperature: float, count: int = 10, mixing: Mixing = "scaled"
) -> Float[Tensor, ""]:
    """`one_way_contrast` with mixed negatives added to each row's candidates.

    Args:
        query: Composed sentences.
        target: Their target pictures.
        temperature: Of the softmax.
        count: Mixed negatives per query; fewer where the batch has fewer other targets.
        mixing: "scaled" divides their scores by the temperature like all others (our choice). "released" leaves them as cosines beside
            logits that a temperature of 0.01 has made a hundred times larger, where they weigh nothing. "off" adds none.
    """
    scores = cosines(query, target)
    if mixing == "off":
        return _find_diagonal(scores / temperature)
    mixed = mixed_scores(scores, mixing_weights(target), count)
    return _find_diagonal(torch.cat([scores / temperature, mixed / temperature if mixing == "scaled" else mixed], dim=1))


def _find_diagonal(logits: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
    return cross_entropy(logits, torch.arange(len(logits), device=logits.device))
