"""Exact ranks of positives: one function, and a backend for each kind of machine. All of them give the same ranks, bit for bit."""

import torch
from jaxtyping import Float, Int

from cirlib.kernels.reference import target_ranks
from cirlib.types import InputError

BACKENDS = ("auto", "reference", "triton")


def ranks(
    query: Float[torch.Tensor, "q d"],
    gallery: Float[torch.Tensor, "g *m d"],
    target: Int[torch.Tensor, "q *p"],
    exclude: Int[torch.Tensor, "q *e"] | None = None,
    *,
    backend: str = "auto",
    chunk_size: int = 2048,
) -> Int[torch.Tensor, "q *p"]:
    """Rank each query's positives within the gallery (1 = best), as `reference.target_ranks` defines it.

    Args:
        query: Composed query embeddings; unit rows if cosine similarity is meant.
        gallery: (g, d), or (g, m, d) with m vectors a picture, the best of which counts.
        target: Gallery rows of the positives, (q,) or (q, p); -1 pads.
        exclude: Gallery rows taken out of a query's ranking, (q,) or (q, e); -1 pads, repeated rows count once.
        backend: "reference" (chunked torch, any device), "triton" (a GPU), or "auto": see `choose`.
        chunk_size: Gallery rows that the reference scores at once. Changes time and memory, never the result.

    Returns:
        int64 ranks in [1, g], shaped like `target`; 0 where `target` is -1. Equal scores are ordered by gallery row.

    Raises:
        InputError: If a backend is not known or cannot run here, or as in `reference.target_ranks`.

    Example:
        >>> gallery = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> ranks(gallery[:1], gallery, torch.tensor([[2, 0]]))
        tensor([[2, 1]])
    """
    if backend not in BACKENDS:
        raise InputError(f"backend {backend!r} is not known; use one of {', '.join(BACKENDS)}")
    chosen = choose(query, gallery) if backend == "auto" else backend
    if chosen == "triton":
        from cirlib.kernels import triton_ranks

        return triton_ranks.ranks(query, gallery, target, exclude)
    return target_ranks(query, gallery, target, exclude, chunk_size=chunk_size)


def choose(query: torch.Tensor, gallery: torch.Tensor) -> str:
    """The backend that "auto" takes: "triton" if queries and gallery lie on a GPU that Triton can use, "reference" otherwise."""
    if query.device.type != "cuda" or gallery.device != query.device:
        return "reference"
    from importlib.util import find_spec

    return "triton" if find_spec("triton") is not None else "reference"
