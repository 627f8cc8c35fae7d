"""Galleries and queries for `cirlib bench search`: random ones with and without structure, and embeddings of real pictures."""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from cirlib._input_error import InputError
from cirlib.bench.search_cases import Data
from cirlib.methods.clip_encoder import ClipEncoder

Rows = tuple[Float[Tensor, "q d"], Float[Tensor, "g d"]]  # of queries and of the gallery

_CHUNK = 1 << 16
_NOISE = 0.01  # length of what is added to a unit row to make a near-duplicate: cosine 0.99995
_ATELIER = {"train": 3840, "val": 1920, "test": 2560, "test-compositional": 1920}  # the pictures of profile mini


def real_rows(kind: str, photos: Path | None = None) -> Rows | None:
    """Embeddings of real pictures, for `load`; None for the kinds that are made at random.

    Raises:
        InputError: If photographs are wanted and no folder is given, or it holds too few.
    """
    if kind == "photos":
        return _photos(photos)
    return _atelier() if kind == "atelier" else None


def load(data: Data, real: Rows | None = None) -> Rows:
    """Unit rows of the largest number of queries and of the gallery, the same in every process; `real` is what `real_rows` gives."""
    generator = torch.Generator().manual_seed(0)
    most = max(data.queries)
    if data.kind in ("even", "clip-like"):
        spread = torch.arange(1, data.dim + 1).pow(-0.5) if data.kind == "clip-like" else torch.ones(data.dim)
        mean = 0.9 * spread.norm() * data.dim**-0.5 * torch.randn(data.dim, generator=generator) * (data.kind == "clip-like")
        return _random(most, spread, mean, generator), _random(data.rows, spread, mean, generator)
    query, gallery = real
    query = query[torch.arange(most) % len(query)]
    if data.rows <= len(gallery):
        return query, gallery
    copies = gallery[torch.arange(data.rows) % len(gallery)]
    noise = torch.randn(copies.shape, generator=generator).mul_(_NOISE * copies.shape[1] ** -0.5)
    return query, normalize(copies.add_(noise), dim=1)


def _random(count: int, spread: Tensor, mean: Tensor, generator: torch.Generator) -> Float[Tensor, "n d"]:
    rows = torch.empty(count, len(spread))
    for chunk in rows.split(_CHUNK):
        chunk.copy_(normalize(torch.randn(chunk.shape, generator=generator) * spread + mean, dim=1))
    return rows


def _atelier() -> Rows:
    """1,000 composed queries of test, image plus text, and the pictures of all splits."""
    from cirlib.data.atelier.benchmark import load_atelier, load_pictures

    encoder = _encoder()
    gallery = torch.cat([encoder.images(load_pictures(split, count)).rows for split, count in _ATELIER.items()])
    benchmark = load_atelier("test", _ATELIER["test"], 1000)
    images = encoder.references(benchmark.queries, benchmark.gallery)
    return normalize(images + encoder.texts([query.text for query in benchmark.queries]), dim=1), gallery


def _photos(folder: Path | None) -> Rows:
    """Photographs of a folder that search the others: every sixth is a query."""
    from cirlib.data.files import list_pictures, picture_set

    if folder is None:
        raise InputError("no photographs given; --photos FOLDER names some")
    paths = {path.relative_to(folder).as_posix(): path for path in list_pictures(folder)}
    if len(paths) < 100:
        raise InputError(f"{folder} holds {len(paths)} pictures; at least 100 are needed")
    rows = _encoder().images(picture_set(list(paths), lambda image_id: paths[image_id])).rows
    asking = torch.arange(len(rows)) % 6 == 0
    return rows[asking], rows[~asking]


def _encoder() -> ClipEncoder:
    from cirlib.backbones.clip import load_clip
    from cirlib.backbones.miniature import miniature_path

    return ClipEncoder(load_clip(miniature_path("clip"), device="cpu"), progress=False)
