"""What others do on a GPU, in our words or through their packages: the peers of `cirlib bench gpu`.

torch       Matrix products of chunks with fp32 scores, top-k of each and a merge, as brute-force libraries work. 16-bit scores would be
            faster and lose answers.
compile     The same step through torch.compile.
einsum      All products of a chunk in 16 bits, then the maximum over slots and the signed sum.
counting    Compare and count in chunks, on 16-bit products: ranks that are nearly right.
Packages    FlashLib's `flash_knn` and late-interaction-kernels' `maxsim`, where they are installed.
"""

import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

_SCORES = 1 << 28  # fp32 scores of a chunk: 1 GiB


def search_peers(device: str, size: tuple[int, int, int, int]) -> Iterator[tuple[str, Callable[..., torch.Tensor]]]:
    """Peers that search (query, gallery, k) -> rows."""
    yield "torch", _search_by_chunks
    if size[0] == 1024 and size[2] == 512 and device == "cuda":
        yield "compile", functools.partial(_search_by_chunks, step=_compiled_step())
    flash_knn = installed("flashlib", "flash_knn")
    if flash_knn is not None and device == "cuda":
        yield "flashlib", lambda query, gallery, k: flash_knn(query, gallery, k, return_distances=False).long()


@functools.cache
def _compiled_step() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    return torch.compile(_chunk_top_k)


def _chunk_top_k(query: torch.Tensor, chunk: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """fp32 scores of a chunk and their k best; 16-bit scores would lose answers."""
    scores = torch.mm(query, chunk.T, out_dtype=torch.float32) if query.is_cuda else query.float() @ chunk.float().T
    return scores.topk(min(k, len(chunk)), dim=1)


def _search_by_chunks(query: torch.Tensor, gallery: torch.Tensor, k: int, step: Callable[..., Any] = _chunk_top_k) -> torch.Tensor:
    """Chunks of equal size, so that a compiled step is compiled once or twice, and one merge at the end."""
    size = max(k, _SCORES // len(query))
    scores, rows = [], []
    for start in range(0, len(gallery), size):
        best, place = step(query, gallery[start : start + size], k)
        scores.append(best)
        rows.append(place + start)
    place = torch.cat(scores, dim=1).topk(k, dim=1).indices
    return torch.cat(rows, dim=1).gather(1, place)


def slots_by_einsum(query: torch.Tensor, gallery: torch.Tensor, sign: torch.Tensor) -> torch.Tensor:
    """All products of a chunk in 16 bits, then the maximum and the signed sum."""
    lines, (pictures, slots) = query.flatten(0, 1), gallery.shape[:2]
    step = max(1, 2 * _SCORES // (len(lines) * slots))
    parts = []
    for start in range(0, pictures, step):
        products = lines @ gallery[start : start + step].flatten(0, 1).T
        best = products.view(*query.shape[:2], -1, slots).amax(dim=-1)
        parts.append((best * sign[..., None]).sum(dim=1))
    return torch.cat(parts, dim=1)


def ranks_by_counting(query: torch.Tensor, gallery: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Compare and count in chunks, on 16-bit products."""
    own = (query @ gallery[target].T).diagonal()  # rounded as the others are
    ranks = torch.ones(len(query), dtype=torch.int64, device=query.device)
    step = max(1, 2 * _SCORES // len(query))
    for start in range(0, len(gallery), step):
        ranks += ((query @ gallery[start : start + step].T) > own[:, None]).sum(dim=1)
    return ranks


def recall(rows: torch.Tensor, exact: torch.Tensor) -> float:
    """Share of the exact rows that were found, of the first 1,024 queries."""
    return round(float((rows[:1024, :, None] == exact[:1024, None, :]).any(dim=1).float().mean()), 5)


def installed(package: str, name: str) -> Callable[..., Any] | None:
    """A peer's function, or None where it cannot be imported."""
    try:
        return getattr(importlib.import_module(package), name)
    except (ImportError, RuntimeError, OSError):
        return None
