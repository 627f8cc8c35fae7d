"""What a method costs: time of a query, bytes of a gallery picture, weights that were trained, and what they learned from.

Time is of one query at a time on a reference picture that nobody has seen: read the picture and the text, compose, and search the gallery,
whose rows lie ready. Checkpoints that a method only reads (CLIP, the vision-language model) count as read, not as trained.
"""

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pandas as pd
import torch
from safetensors import safe_open

from cirlib._cache import scratch_cache
from cirlib.kernels.reference import top_k
from cirlib.types import Benchmark, Embeddings, ImageSet, InputError, Method, Query

SUPERVISION: Mapping[str, str] = {
    "chance": "none",
    "image only": "none",
    "text only": "none",
    "sum": "none",
    "slerp": "none",
    "caption rewrite": "none",
    "Pix2Key": "none",
    "Pix2Key, no MMR": "none",
    "Pix2Key + V-Dict-AE": "unlabelled pictures",
    "Pic2Word": "unlabelled pictures",
    "SEARLE": "unlabelled pictures",
    "LinCIR": "captions",
    "Map-to-Compose stage 1": "captions",
    "Map-to-Compose": "captions, triplets",
    "QuRe": "triplets",
    "DQE-CIR": "triplets",
    "SPRC": "triplets",
    "Combiner": "triplets",
    "tuned sum": "triplets",
}
"""What each method's own training looks at, beside the pretraining of the checkpoints that all of them share."""

VARIANTS: Mapping[str, str] = {
    "caption rewrite + MMR": "caption rewrite",
    "caption rewrite, text gallery": "caption rewrite",
    "DQE-CIR, adaptive": "DQE-CIR",
    "Map-to-Compose, no injection": "Map-to-Compose",
    "Map-to-Compose, template triplets": "Map-to-Compose",
    "LinCIR + stage 2": "Map-to-Compose",
    "Pic2Word + stage 2": "Map-to-Compose",
    "SEARLE + stage 2": "Map-to-Compose",
}
"""Rows of the main table that are a method with another setting, and the method whose supervision they share."""


@dataclass(frozen=True)
class Cost:
    """Costs of one method.

    Attributes:
        compose_ms: Median time to read picture and text and to compose, one query at a time, in ms.
        search_ms: Median time to rank the gallery, rerank included, one query at a time, in ms.
        gallery_bytes: Of one gallery picture's rows as they are kept, in bytes.
        trained: Numbers that its training set.
        queries: How many were timed.
        gallery: Pictures that were searched.
    """

    compose_ms: float
    search_ms: float
    gallery_bytes: int
    trained: int
    queries: int
    gallery: int

    @property
    def query_ms(self) -> float:
        """Time of a query from its picture and text to its results, in ms."""
        return self.compose_ms + self.search_ms


def measure_cost(method: Method, asked: Benchmark, gallery: Embeddings, weights: Path | None = None, *, top: int = 50) -> Cost:
    """Time a method query by query, on pictures that no cache knows; nothing is kept. The first query warms up and is not counted.

    Args:
        method: As the evaluation asks it.
        asked: Its queries are asked one by one, 2 or more; give texts that the method has not read yet, as encoders remember texts.
        gallery: That is searched, of the same method.
        weights: Folder with the method's saved weights; None where nothing is trained.
        top: Results wanted.

    Raises:
        InputError: If there are fewer than 2 queries, or the gallery is smaller than `top`.
    """
    if len(asked.queries) < 2 or len(gallery) < top:
        raise InputError(f"{len(asked.queries)} queries on {len(gallery)} pictures to time; give 2 queries and {top} pictures or more")
    composing, searching = [], []
    references = _unseen(asked.references.select(dict.fromkeys(query.reference for query in asked.queries)))
    with scratch_cache():
        for query in asked.queries:
            start = time.perf_counter()
            rows = method.compose([query], references).rows
            _wait(rows)
            composed = time.perf_counter()
            _search(method, query, rows, gallery, top)
            composing.append(composed - start)
            searching.append(time.perf_counter() - composed)
    picture = gallery.rows[0]
    return Cost(
        1e3 * median(composing[1:]),
        1e3 * median(searching[1:]),
        picture.numel() * picture.element_size(),
        0 if weights is None else stored_weights(weights),
        len(asked.queries) - 1,
        len(gallery),
    )


def _unseen(images: ImageSet) -> ImageSet:
    """The same pictures, read from their source now, under content hashes that nobody has met."""
    pixels, salt = {image_id: images.open(image_id) for image_id in images.ids}, secrets.token_hex(8)

    def content(image_id: str) -> str:
        return hashlib.sha256(f"{salt} {image_id}".encode()).hexdigest()

    return ImageSet(images.ids, lambda image_id: pixels[image_id], content)


def _search(method: Method, query: Query, rows: torch.Tensor, gallery: Embeddings, top: int) -> None:
    """The best pictures of one query, reranked where the method does."""
    reranks = hasattr(method, "rerank")
    size = min(max(top, int(getattr(method, "pool_size", top))), len(gallery)) if reranks else top
    pool, scores = top_k(rows, gallery.rows, size)
    if reranks:
        pool = pool.gather(1, torch.as_tensor(method.rerank([query], pool, scores, gallery)).to(pool.device))
    _wait(pool)


def _wait(tensor: torch.Tensor) -> None:
    """A GPU is done when its clock is read."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)


def stored_weights(folder: Path) -> int:
    """How many floating-point numbers the safetensors files of a folder hold; 0 where there are none."""
    total = 0
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 - the file's handle is no mapping
                part = weights.get_slice(name)
                if part.get_dtype().startswith(("F", "BF")):
                    total += int(torch.tensor(part.get_shape()).prod())
    return total


def supervision(name: str) -> str:
    """What a row of the main table was trained with, in words; "?" for a method that nobody told."""
    return SUPERVISION.get(VARIANTS.get(name, name), "?")


def cost_cells(name: str, costs: Mapping[str, Cost]) -> dict[str, str]:
    """Costs of a row of the main table for reading. What is taken over from the method that it is a variant of stands behind a "~".

    Args:
        name: Of the row.
        costs: Of the methods that were measured; a row without costs gets dashes.
    """
    like = name if name in costs else VARIANTS.get(name, "")
    mark = "" if name in costs else "~"
    told = {"ms/query": "-", "bytes/picture": "-", "trained numbers": "-", "learned from": supervision(name)}
    if like in costs:
        cost = costs[like]
        told |= {"ms/query": f"{mark}{cost.query_ms:.3g}", "bytes/picture": f"{mark}{cost.gallery_bytes:,}"}
        told["trained numbers"] = f"{mark}{cost.trained / 1e6:.2f} M" if cost.trained else "0"
    return told


def cost_frame(costs: Mapping[str, Cost]) -> pd.DataFrame:
    """A row per method: compose_ms, search_ms, gallery_bytes, trained, queries, gallery, supervision."""
    return pd.DataFrame([{"method": name, **vars(cost), "supervision": supervision(name)} for name, cost in costs.items()])
