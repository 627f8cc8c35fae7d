"""The nouns that every part of cirlib shares. Floor 0: of ours this file imports its error alone.

A `Query` asks, an `ImageSet` holds pictures, a `Benchmark` joins queries, gallery and protocol,
`Embeddings` are what a method produces, and a `Report` is what the evaluation hands back.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image

from cirlib._input_error import InputError

ChangeKind = Literal["set", "add", "remove", "relative", "open"]


@dataclass(frozen=True)
class Change:
    """One attribute that an edit changes, as a set of allowed values: whatever the wording, truth is `label in allowed`.

    Attributes:
        attribute: Name of the attribute. A set-valued detail is one yes/no attribute per detail.
        kind: How the text asks: "set" (in red), "add", "remove" (without the belt), "relative" (longer), "open" (any other colour).
        before: Value on the reference image.
        after: Value on the designated target.
        allowed: Every value that satisfies the text.
    """

    attribute: str
    kind: ChangeKind
    before: str
    after: str
    allowed: tuple[str, ...]


@dataclass(frozen=True)
class Edit:
    """The structured form of a modification text. Attributes that no change names must stay as they are on the reference."""

    changes: tuple[Change, ...]

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes that the edit may touch."""
        return tuple(change.attribute for change in self.changes)


@dataclass(frozen=True)
class Query:
    """A reference image plus a modification text.

    Attributes:
        id: Unique within its benchmark.
        reference: Image id of the reference image.
        text: Modification text, captions already joined as the protocol says.
        positives: Every correct image, the designated target first. Empty where the benchmark hides it.
        subset: CIRR's group of look-alikes or GeneCIS's own gallery, the target included and the reference not; empty where there is none.
        edit: Structured edit where the benchmark knows it (atelier and dfmm do).
        group: Category or task within the benchmark ("dress", "focus_object"); empty where there is none.
        aspects: Semantic aspects that CIRCO annotates.
    """

    id: str
    reference: str
    text: str
    positives: tuple[str, ...] = ()
    subset: tuple[str, ...] = ()
    edit: Edit | None = None
    group: str = ""
    aspects: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """Designated target; raises InputError where the benchmark hides it."""
        if not self.positives:
            raise InputError(f"query {self.id!r} has no public target; only a submission file can score it")
        return self.positives[0]


@dataclass(frozen=True)
class ImageSet:
    """Pictures by id, in a fixed order. Nothing is read until `open` is called.

    Attributes:
        ids: Image ids; the position of an id is its gallery row.
        opener: Reads one picture as RGB. Raises InputError naming the id when it cannot.
        hasher: Content hash of one picture (hex), the key of every cache.
    """

    ids: tuple[str, ...]
    opener: Callable[[str], Image.Image]
    hasher: Callable[[str], str]
    rows: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rows = {image_id: row for row, image_id in enumerate(self.ids)}
        if len(rows) != len(self.ids):
            twice = next(i for row, i in enumerate(self.ids) if rows[i] != row)
            raise InputError(f"image id {twice!r} occurs more than once; ids must be unique within a set")
        object.__setattr__(self, "rows", rows)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self.rows

    def open(self, image_id: str) -> Image.Image:
        """Read one picture as RGB."""
        if image_id not in self.rows:
            raise InputError(f"image {image_id!r} is not in this set of {len(self)} pictures")
        return self.opener(image_id)

    def content_hash(self, image_id: str) -> str:
        """Hash of the picture's content, in hex; equal pictures share it, whatever their ids."""
        return self.hasher(image_id)

    def select(self, ids: Iterable[str]) -> "ImageSet":
        """The same pictures, restricted to `ids` in the order given."""
        ids = tuple(ids)
        for image_id in ids:
            if image_id not in self.rows:
                raise InputError(f"image {image_id!r} is not in this set of {len(self)} pictures")
        return ImageSet(ids, self.opener, self.hasher)


@dataclass(frozen=True)
class BenchmarkProtocol:
    """What a benchmark's number means. Every choice that papers make silently has a field, and every report carries it.

    Attributes:
        exclude_reference: Remove the reference image from the ranking (CIRR yes, FashionIQ no).
        recall_at: Cut-offs of Recall@K, on the designated target.
        map_at: Cut-offs of mAP@K over all positives; empty where there is one positive only.
        subset_at: Cut-offs of R_subset@K; empty where there are no subsets.
        gallery: Which gallery, in words ("original val split", "union of val pairs").
        caption_join: How two captions became one text, in words; empty where there is one.
        candidates: "gallery" ranks the whole gallery, "subset" ranks each query's own candidates (GeneCIS).
    """

    exclude_reference: bool
    recall_at: tuple[int, ...]
    map_at: tuple[int, ...] = ()
    subset_at: tuple[int, ...] = ()
    gallery: str = ""
    caption_join: str = ""
    candidates: Literal["gallery", "subset"] = "gallery"


@dataclass(frozen=True)
class Benchmark:
    """Queries, the gallery they search, and the protocol that scores them.

    Attributes:
        name: "atelier", "fashioniq", "cirr", "circo", "genecis", "dfmm", "folder".
        split: "val", "test", ...
        queries: In the order of the annotation file.
        gallery: Pictures that are ranked.
        references: Pictures that reference images come from; a superset of the gallery or the gallery itself.
        protocol: See `BenchmarkProtocol`.
        labels: Attribute values per gallery image where known, for AC@K and ILD@K; a missing key means not applicable.
        missing: Image ids that the annotations name and the folder lacks.
        version: Version of the data ("rc2", atelier's version, a checksum).
        part: Category or task where a benchmark is scored in parts (FashionIQ, GeneCIS); empty elsewhere.
    """

    name: str
    split: str
    queries: tuple[Query, ...]
    gallery: ImageSet
    references: ImageSet
    protocol: BenchmarkProtocol
    labels: Mapping[str, Mapping[str, str]] | None = None
    missing: tuple[str, ...] = ()
    version: str = ""
    part: str = ""


@dataclass(frozen=True)
class Embeddings:
    """Rows of embeddings with the ids that they stand for.

    Attributes:
        ids: One id per row: image ids for a gallery, query ids for composed queries.
        rows: Float tensor (n, d), or (n, m, d) for galleries with m vectors an image. Unit length along d.
    """

    ids: tuple[str, ...]
    rows: torch.Tensor

    def __post_init__(self) -> None:
        if self.rows.ndim not in (2, 3) or self.rows.shape[0] != len(self.ids):
            raise ValueError(f"expected ({len(self.ids)}, d) or ({len(self.ids)}, m, d) rows, got {tuple(self.rows.shape)}")

    def __len__(self) -> int:
        return len(self.ids)


@runtime_checkable
class Method(Protocol):
    """What the evaluation asks of a method: two encoders. It never ranks, excludes or scores.

    A method may also have `rerank(queries, pool, scores, gallery) -> order`, with `pool` (q, p) gallery rows best first, `scores` (q, p)
    and `order` (q, p) a permutation of each row's positions; `pool_size` says how many candidates it wants.
    """

    name: str

    def encode_gallery(self, images: ImageSet) -> Embeddings:
        """Embed every picture; unit rows, in the order of `images.ids`."""
        ...

    def compose(self, queries: Sequence[Query], images: ImageSet) -> Embeddings:
        """Embed every query; unit rows, ids are the query ids in order. `images` holds the reference images."""
        ...


@dataclass(frozen=True)
class Report:
    """What an evaluation hands back: per query, so that any two runs can be compared later.

    Attributes:
        method: Name of the method.
        query_ids: One per query.
        ranks: (q,) rank of the designated target, from 1; 0 where the target cannot be ranked (missing picture).
        per_query: Metric name ("recall@10", "map@10", ...) to (q,) float64 in [0, 1], NaN where a metric is undefined for a query.
        top: (q, k) gallery rows of the best candidates, best first; -1 pads.
        fingerprint: Protocol, data version, checkpoint hashes, seed, commit, versions, device.
    """

    method: str
    query_ids: tuple[str, ...]
    ranks: np.ndarray
    per_query: Mapping[str, np.ndarray]
    top: np.ndarray
    fingerprint: Mapping[str, Any] = field(default_factory=dict)

    def mean(self, metric: str) -> float:
        """Mean of one metric over the queries for which it is defined, as a fraction in [0, 1] (ranks: in ranks)."""
        if metric not in self.per_query:
            raise InputError(f"metric {metric!r} is not in this report; it holds {', '.join(sorted(self.per_query))}")
        return float(np.nanmean(self.per_query[metric]))
