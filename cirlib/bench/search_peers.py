"""Who searches in `cirlib bench search`: each prepares a gallery once and hands back a function from queries to rows and details.

certified     8-bit scan with proof (`cirlib.kernels.search`). statistical: the same with eight typical errors as bound.
reference     Plain torch in chunks with exact order (`cirlib.kernels.reference.top_k`).
faiss         `IndexFlatIP` as it comes. faiss-tuned: BLAS from 20 queries on, which FAISS 1.15 uses from 250 on at 512 dimensions.
torch         fp32 product and `topk` over chunks of 65,536 rows, then `topk` of the chunks' best.
usearch       Exact search, where usearch is installed; one thread a query and no matrix product, so small galleries only.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

Search = Callable[[Float[Tensor, "q d"], int], tuple[Int[Tensor, "q k"], dict[str, Any]]]

_CHUNK = 1 << 16
_BLAS_FROM = 20  # queries from which tuned FAISS multiplies matrices
USEARCH_ROWS = 200_000


def prepare(provider: str, gallery: Float[Tensor, "g d"]) -> Search:
    """Whatever a provider makes of the gallery before it searches."""
    return {
        "certified": _eight_bit,
        "statistical": _eight_bit,
        "reference": _reference,
        "faiss": _faiss,
        "faiss-tuned": _faiss,
        "torch": _torch,
        "usearch": _usearch,
    }[provider](provider, gallery)


def skip_reason(provider: str, rows: int) -> str | None:
    """Why a provider does not run here, or None."""
    if provider != "usearch":
        return None
    if importlib.util.find_spec("usearch") is None:
        return "usearch is not installed"
    return f"usearch is only run up to {USEARCH_ROWS:,} rows" if rows > USEARCH_ROWS else None


def _eight_bit(provider: str, gallery: Float[Tensor, "g d"]) -> Search:
    from cirlib.kernels.eight_bit import quantise_gallery
    from cirlib.kernels.search import search

    index = quantise_gallery(gallery)

    def go(query: Tensor, k: int) -> tuple[Tensor, dict[str, Any]]:
        found = search(query, gallery, k, backend=provider, index=index)
        told = {name: round(found.details[name], 4) for name in ("candidates", "escalated", "mib")}
        return found.rows, {"certified": round(float(found.certified.float().mean()), 4), **told}

    return go


def _reference(provider: str, gallery: Float[Tensor, "g d"]) -> Search:
    from cirlib.kernels.reference import top_k

    return lambda query, k: (top_k(query, gallery, k)[0], {})


def _faiss(provider: str, gallery: Float[Tensor, "g d"]) -> Search:
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatIP(gallery.shape[1])
    index.add(gallery.numpy())
    if provider == "faiss-tuned":
        faiss.cvar.distance_compute_blas_threshold = _BLAS_FROM
    return lambda query, k: (torch.from_numpy(index.search(query.numpy(), k)[1]), {"faiss": faiss.__version__})


def _torch(provider: str, gallery: Float[Tensor, "g d"]) -> Search:
    def go(query: Tensor, k: int) -> tuple[Tensor, dict[str, Any]]:
        best, rows = [], []
        for number, chunk in enumerate(gallery.split(_CHUNK)):
            scores, places = (query @ chunk.T).topk(min(k, len(chunk)), dim=1)
            best.append(scores)
            rows.append(places + number * _CHUNK)
        places = torch.cat(best, dim=1).topk(k, dim=1).indices
        return torch.cat(rows, dim=1).gather(1, places), {}

    return go


def _usearch(provider: str, gallery: Float[Tensor, "g d"]) -> Search:
    from usearch.index import MetricKind, search

    vectors, threads = gallery.numpy(), torch.get_num_threads()

    def go(query: Tensor, k: int) -> tuple[Tensor, dict[str, Any]]:
        found = search(vectors, query.numpy(), k, MetricKind.IP, exact=True, threads=threads)
        return torch.from_numpy(found.keys.astype("int64")).view(len(query), k), {}

    return go
