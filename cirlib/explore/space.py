"""A gallery as one method sees it: rows to rank, and their places on a flat map by principal components."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from cirlib._atomic import atomic_path
from cirlib._cache import cache_dir
from cirlib.explore.collection import Collection
from cirlib.methods.baselines import CaptionRewrite, ImageOnly
from cirlib.methods.baselines.combiner import CombinerMethod
from cirlib.methods.pix2key.method import Pix2Key
from cirlib.methods.pseudo_words.method import PseudoWordMethod
from cirlib.types import Embeddings, ImageSet, Method

PART = 256  # pictures between two steps of a bar


@dataclass(frozen=True)
class Plane:
    """The two directions in which a gallery varies most (PCA).

    Attributes:
        centre: (d,) mean of the rows.
        axes: (d, 2) unit columns; the sign makes the largest entry of a column positive (our choice).
        shares: Part of the variance that each axis shows, fractions.
    """

    centre: Tensor
    axes: Tensor
    shares: tuple[float, float]

    def place(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "n 2"]:
        """Where rows lie on the map; a query need not lie near the gallery."""
        return (rows.float() - self.centre) @ self.axes


@dataclass(frozen=True)
class Space:
    """A gallery in the space of one method.

    Attributes:
        gallery: Rows (g, d), or (g, m, d) with m vectors a picture.
        flat: (g, d) one unit vector a picture, for distances and the map: the mean of its m vectors (our choice).
        plane: The map.
        places: (g, 2) of every picture.
    """

    gallery: Embeddings
    flat: Tensor
    plane: Plane
    places: Tensor


def fit_plane(rows: Float[Tensor, "n d"]) -> Plane:
    """PCA to two axes, exact and the same at every run; rows that do not vary have shares 0.

    Example:
        >>> plane = fit_plane(torch.tensor([[-3.0, 0.0, 1.0], [3.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, -1.0, 1.0]]))
        >>> plane.axes.abs().tolist(), [round(share, 2) for share in plane.shares]
        ([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [0.9, 0.1])
    """
    wide = rows.double()
    centre = wide.mean(dim=0)
    moved = wide - centre
    values, vectors = torch.linalg.eigh(moved.T @ moved)
    axes = vectors[:, -2:].flip(1)
    axes = axes * torch.where(axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)) < 0, -1.0, 1.0)
    total = float(values.clamp_min(0).sum())
    first, second = (float(values[place].clamp_min(0)) / total if total > 0 else 0.0 for place in (-1, -2))
    return Plane(centre.float(), axes.float(), (first, second))


def prepare_space(method: Method, collection: Collection, progress: bool = False) -> Space:
    """Embed the gallery for a method and fit its map. What takes long is kept on disk: the second time takes a second or two.

    Raises:
        InputError: If a picture cannot be read.
    """
    gallery = _gallery(method, collection, progress)
    rows = gallery.rows.float().cpu()
    flat = rows if rows.ndim == 2 else normalize(rows.mean(dim=1), dim=-1)
    plane = fit_plane(flat)
    return Space(Embeddings(gallery.ids, rows), flat, plane, plane.place(flat))


def has_plain_gallery(method: Method) -> bool:
    """Whether a method searches plain CLIP image embeddings."""
    if isinstance(method, CaptionRewrite):
        return method.gallery == "images"
    return isinstance(method, ImageOnly | PseudoWordMethod | CombinerMethod)


def _gallery(method: Method, collection: Collection, progress: bool) -> Embeddings:
    images = collection.images
    if has_plain_gallery(method) and collection.plain is not None:
        return collection.plain
    key: dict[str, Any] = {}
    if isinstance(method, Pix2Key) and not method.options.image_weight:
        texts = [text for part in _parts(images, f"{method.name}, dictionaries", progress) for text in method.texts(part)]
        key = {"encoder": method.encoder.fingerprint, "rows": texts}
    elif not has_plain_gallery(method) and (fingerprint := getattr(method, "fingerprint", None)):
        key = {"method": dict(fingerprint), "rows": [images.content_hash(image_id) for image_id in images.ids]}
    path = cache_dir("explore") / f"{hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]}.safetensors"
    if key and (rows := _read(path)) is not None and len(rows) == len(images):
        return Embeddings(images.ids, rows)
    made = torch.cat([method.encode_gallery(part).rows.detach().cpu() for part in _parts(images, method.name, progress)])
    if key:  # plain galleries are kept by their encoder
        with atomic_path(path) as draft:
            save_file({"rows": made.contiguous()}, draft)
    return Embeddings(images.ids, made)


def _parts(images: ImageSet, label: str, progress: bool) -> Iterator[ImageSet]:
    """A set in parts, with a bar: methods themselves stay quiet, because later they serve single queries."""
    with tqdm(total=len(images), desc=label, unit="picture", disable=not progress, leave=False) as bar:
        for start in range(0, len(images), PART):
            part = images.select(images.ids[start : start + PART])
            yield part
            bar.update(len(part))


def _read(path: Path) -> Tensor | None:
    try:
        return load_file(path)["rows"]
    except (OSError, SafetensorError, KeyError):
        return None  # not there, or damaged: made again
