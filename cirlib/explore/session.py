"""A search of the page, without the page: a request goes in, results with their explanation and their places on the map come out."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from cirlib._cache import scratch_cache
from cirlib.explore.asking import Asked, Fact, Why, Wish, ask
from cirlib.explore.collection import Collection
from cirlib.explore.reference import Reference
from cirlib.explore.space import Plane, Space, has_plain_gallery, prepare_space
from cirlib.kernels.mmr import mmr_order
from cirlib.kernels.reference import top_k
from cirlib.methods.qformer_encoder import QFormerEncoder
from cirlib.types import ImageSet, InputError, Method

POOL = 200  # candidates that diversity chooses among
MOST_RESULTS, MOST_LETTERS, MOST_WEIGHT, MOST_METHODS = 50, 300, 3.0, 2


@dataclass(frozen=True)
class Request:
    """What a visitor asks.

    Attributes:
        methods: One, or two side by side.
        reference: Picture to start from; None for words alone.
        wish: Texts and weights.
        diversity: Lambda of MMR in [0, 1]; 0 is relevance alone. It reranks the `POOL` best of any method.
        k: How many results.

    Raises:
        InputError: If a number or a text is out of range.
    """

    methods: tuple[str, ...]
    reference: Reference | None = None
    wish: Wish = Wish()
    diversity: float = 0.0
    k: int = 12

    def __post_init__(self) -> None:
        for name in ("text", "without"):
            if len(words := getattr(self.wish, name)) > MOST_LETTERS:
                raise InputError(f"the {name} has {len(words)} letters; at most {MOST_LETTERS} are read, say it shorter")
        for name in ("want", "anchor", "avoid"):
            if not 0 <= getattr(self.wish, name) <= MOST_WEIGHT:
                raise InputError(f"the weight {name} is {getattr(self.wish, name):g}; it lies between 0 and {MOST_WEIGHT:g}")
        if not 0 <= self.diversity <= 1:
            raise InputError(f"diversity is {self.diversity:g}; it lies between 0 (relevance alone) and 1")
        if not 1 <= self.k <= MOST_RESULTS:
            raise InputError(f"{self.k} results asked for; 1 to {MOST_RESULTS} are shown")
        if not 1 <= len(self.methods) <= MOST_METHODS:
            raise InputError(f"{len(self.methods)} methods chosen; choose one, or two side by side")


@dataclass(frozen=True)
class Hit:
    """One result: gallery row, inner product with the query, and why it is there."""

    row: int
    cosine: float
    why: Why


@dataclass(frozen=True)
class Map:
    """Places (x, y) in the plane of the method's space.

    Attributes:
        plane: The plane.
        gallery: (g, 2) of every picture.
        query: Of the composed query.
        reference: Of the reference picture; None without one, and for an upload in a space that only the method's gallery side can reach.
        hits: (k, 2) of the results, best first.
    """

    plane: Plane
    gallery: Tensor
    query: Tensor
    reference: Tensor | None
    hits: Tensor


@dataclass(frozen=True)
class Answer:
    """What one method answers.

    Attributes:
        method: Its name.
        number: Its place among the methods of the page, from 0.
        hits: Best first.
        facts: What it made of the query.
        map: Where everything lies.
        notes: What the visitor should know.
        left_out: Gallery rows of the reference picture, which no result repeats.
        milliseconds: Of this method's search, explanation included.
    """

    method: str
    number: int
    hits: tuple[Hit, ...]
    facts: tuple[Fact, ...]
    map: Map
    notes: tuple[str, ...]
    left_out: tuple[int, ...]
    milliseconds: float


class Explorer:
    """A collection and the methods that search it. Visitors may come at the same time; searches are done one after another.

    Args:
        collection: What is searched.
        methods: By name, in the order of the page.
        unavailable: Methods that cannot be asked, with the line that says why and what to run.

    Raises:
        InputError: If there is no method.
    """

    def __init__(self, collection: Collection, methods: Mapping[str, Method], unavailable: Mapping[str, str] | None = None) -> None:
        if not methods:
            raise InputError("no method to explore with; " + next(iter((unavailable or {"": "give at least one"}).values())))
        self.collection, self.methods, self.unavailable = collection, dict(methods), dict(unavailable or {})
        self._spaces: dict[str, Space] = {}
        self._lock = threading.Lock()  # methods remember what they read and are not made for threads

    def prepare(self, tell: Callable[[str], None] | None = None) -> None:
        """Embed the gallery for every method, so that no search has to; `tell` gets one line per method, and bars are shown."""
        for number, name in enumerate(self.methods, start=1):
            start = time.perf_counter()
            self.space(name, progress=tell is not None)
            if tell is not None:
                tell(f"[{number}/{len(self.methods)}] {name}: {time.perf_counter() - start:.1f} s")
        _ = self.collection.rows_by_content

    def space(self, name: str, progress: bool = False) -> Space:
        """The gallery as a method sees it; made at the first call."""
        if name not in self._spaces:
            self._spaces[name] = self._plain(name) or prepare_space(self.methods[name], self.collection, progress)
        return self._spaces[name]

    def _plain(self, name: str) -> Space | None:
        """The space of another method that searches the same plain CLIP embeddings, if one is there."""
        method = self.methods[name]
        for other, space in self._spaces.items():
            known = self.methods[other]
            if has_plain_gallery(method) and has_plain_gallery(known) and method.encoder is known.encoder:
                return space
        return None

    def search(self, request: Request) -> list[Answer]:
        """One answer per method of the request.

        Raises:
            InputError: If a method is not there, or cannot use what was asked.
        """
        for name in request.methods:
            if name not in self.methods:
                raise InputError(self.unavailable.get(name) or f"method {name!r} is not here; choose among {', '.join(self.methods)}")
        with self._lock, torch.no_grad():
            return [self._answer(name, request) for name in request.methods]

    def _answer(self, name: str, request: Request) -> Answer:
        start = time.perf_counter()
        space, collection = self.space(name), self.collection
        asked = self._ask(name, request)
        left_out = [] if request.reference is None else request.reference.copies(collection)
        rows, cosines = _rank(asked.row, space, request, left_out)
        why = asked.why([collection.images.ids[row] for row in rows], space.flat[rows])
        places = Map(space.plane, space.places, space.plane.place(asked.row[None])[0], _place(space, left_out), space.places[rows])
        hits = tuple(map(Hit, rows, cosines, why))
        number, spent = list(self.methods).index(name), 1000 * (time.perf_counter() - start)
        return Answer(name, number, hits, asked.facts, places, asked.notes, tuple(left_out), spent)

    def _ask(self, name: str, request: Request) -> Asked:
        """Compose; nothing that is computed from an upload reaches a cache."""
        method, gallery, reference = self.methods[name], self.collection.images, request.reference
        within = None if reference is None else reference.within(self.collection)
        uploaded = reference is not None and reference.upload is not None
        with scratch_cache() if uploaded else nullcontext():
            try:
                return ask(method, request.wish, within, gallery)
            finally:
                if uploaded:
                    _forget(method, within[1])


def _rank(query: Tensor, space: Space, request: Request, left_out: Sequence[int]) -> tuple[list[int], list[float]]:
    """Gallery rows and inner products, best first; MMR over the pool where diversity is asked for."""
    available = len(space.gallery) - len(left_out)
    if available < 1:
        raise InputError("every picture of the gallery is the reference itself; pick another one")
    k = min(request.k, available)
    pool, scores = top_k(
        query[None], space.gallery.rows, min(max(POOL, k), available) if request.diversity else k, torch.tensor([[*left_out] or [-1]])
    )
    order = mmr_order(scores, pool, space.flat, request.diversity, k)[0, :k]
    return pool[0, order].tolist(), scores[0, order].tolist()


def _place(space: Space, left_out: Sequence[int]) -> Tensor | None:
    return space.places[left_out[0]] if left_out else None


def _forget(method: Method, images: ImageSet) -> None:
    encoder = getattr(method, "encoder", None)
    if isinstance(encoder, QFormerEncoder):
        encoder.forget(images)
