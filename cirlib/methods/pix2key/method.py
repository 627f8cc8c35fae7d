"""Pix2Key: pictures as dictionaries, queries as signed dictionaries, and one search between their text embeddings.

    gallery    e = f_text(ser(dictionary of the picture))                                      Pix2Key, Eq. 2-3, 5
    query      merge(dictionary of the reference, edit) -> wants, anchors, avoids              Eq. 4, 6-7
    search     R = alpha cos(wants, e) + beta cos(anchors, e) - (1 - alpha) cos(avoids, e)     Eq. 8-9, one inner product (`scoring`)
    rerank     MMR over the best of the pool                                                   Eq. 10-11 (`cirlib.kernels.mmr`)

Beyond the paper, each behind an option: matching constraint by constraint (`slots`), implicit negatives (`signed.merge`), and a share of
CLIP's image similarity (`scoring.join_image`). The paper states no value of alpha, beta, lambda or the pool: defaults are our choice.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from cirlib.kernels.exact import fixed_point, pair_scores
from cirlib.kernels.mmr import mmr_order
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.pix2key.dictionary import Dictionary, serialise
from cirlib.methods.pix2key.scoring import SignedRows, check_weights, fuse, join_image
from cirlib.methods.pix2key.signed import EditParser, SignedDictionary, Updates, merge
from cirlib.methods.pix2key.slots import slot_scores, slot_weights
from cirlib.types import Embeddings, ImageSet, InputError, Query


@dataclass(frozen=True)
class Pix2KeyOptions:
    """Numbers and switches of the method; all of them our choice, to be tuned on val.

    Attributes:
        alpha: Weight of wants against avoids, in [0, 1].
        beta: Weight of anchors, 0 or more.
        diversity: Lambda of MMR in [0, 1]; 0 reranks nothing.
        pool: Candidates that are reranked, by MMR or by slots.
        select: How many of them MMR picks; the rest follow in order of relevance.
        use_wants: Switch of the ablation; a part that is off contributes 0.
        use_anchors: As above.
        use_avoids: As above.
        matching: "pooled" (the paper: one embedding per dictionary) or "slots" (constraint by constraint, as a rerank of the pool).
        implicit_negatives: Values of the reference that the edit replaces become avoids.
        image_weight: Share of CLIP's image similarity in the score, in [0, 1].
        separator: Between the pairs of a serialised dictionary. The paper writes "; ".
    """

    alpha: float = 0.8
    beta: float = 0.4
    diversity: float = 0.0
    pool: int = 200
    select: int = 50
    use_wants: bool = True
    use_anchors: bool = True
    use_avoids: bool = True
    matching: Literal["pooled", "slots"] = "pooled"
    implicit_negatives: bool = False
    image_weight: float = 0.0
    separator: str = "; "

    def __post_init__(self) -> None:
        check_weights(self.alpha, self.beta)
        for name in ("diversity", "image_weight"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} {getattr(self, name)} given; it lies between 0 and 1")
        if self.pool < 1 or self.select < 1:
            raise InputError(f"pool {self.pool} and select {self.select} given; both are at least 1")
        if self.matching not in ("pooled", "slots"):
            raise InputError(f"matching {self.matching!r} is not known; choose pooled or slots")


class Pix2Key:
    """Training-free composed retrieval through dictionaries; a `cirlib.types.Method`.

    Dictionaries are asked for once per picture content and edits once per reference and text; `variant` shares both with other options.

    Args:
        encoder: CLIP; its text tower embeds dictionaries, its image tower only where `image_weight` asks for it.
        dictionaries: Writes one dictionary per picture, in order.
        parser: Reads an edit into updates.
        options: See `Pix2KeyOptions`.
        name: Name in reports.

    Attributes:
        outcomes: What went wrong without stopping anything: pictures without a dictionary, dictionaries cut to the context and the pairs
            that they lost (each counted once), queries without any constraint (each time one is composed). Shared by variants.
    """

    def __init__(
        self,
        encoder: ClipEncoder,
        dictionaries: Callable[[ImageSet], Sequence[Dictionary]],
        parser: EditParser,
        options: Pix2KeyOptions = Pix2KeyOptions(),
        name: str = "pix2key",
    ) -> None:
        self.encoder, self.dictionaries, self.parser, self.options, self.name = encoder, dictionaries, parser, options, name
        self.outcomes: Counter[str] = Counter()
        self._written: dict[str, Dictionary] = {}  # content hash -> dictionary
        self._parsed: dict[tuple[Dictionary, str], Updates] = {}
        self._merged: dict[tuple[Dictionary, str, bool], SignedDictionary] = {}
        self._serialised: dict[tuple[Dictionary, str], str] = {}
        self._gallery: tuple[tuple[str, ...], list[Dictionary]] = ((), [])  # the last gallery: its ids and dictionaries
        self._composed: dict[tuple[str, str], tuple[SignedDictionary, Tensor]] = {}  # (reference, text) -> constraints, image row

    def variant(self, name: str | None = None, **changes: object) -> "Pix2Key":
        """The same method with other options, on the same dictionaries and parsed edits: for ablations and tuning.

        Example: `method.variant("no avoids", use_avoids=False)`.
        """
        other = Pix2Key(self.encoder, self.dictionaries, self.parser, replace(self.options, **changes), name or self.name)
        for shared in ("outcomes", "_written", "_parsed", "_merged", "_serialised"):
            setattr(other, shared, getattr(self, shared))
        return other

    @property
    def pool_size(self) -> int:
        """Candidates that `rerank` wants: the pool, or a single one where nothing is reranked."""
        return self.options.pool if self.options.diversity or self.options.matching == "slots" else 1

    def read(self, images: ImageSet) -> list[Dictionary]:
        """One dictionary per picture, each content written once in the life of this method."""
        hashes = [images.content_hash(image_id) for image_id in images.ids]
        first = {content: image_id for image_id, content in reversed(list(zip(images.ids, hashes, strict=True)))}
        new = [image_id for content, image_id in reversed(first.items()) if content not in self._written]
        if new:
            written = self.dictionaries(images.select(new))
            self._written |= zip((images.content_hash(image_id) for image_id in new), map(tuple, written), strict=True)
            self.outcomes["pictures without a dictionary"] += sum(not entries for entries in written)
        return [self._written[content] for content in hashes]

    def texts(self, images: ImageSet) -> list[str]:
        """The serialised dictionary of every picture: what the gallery is embedded from."""
        return [self._text(entries) for entries in self.read(images)]

    def encode_gallery(self, images: ImageSet) -> Embeddings:
        """Unit rows (g, d) of serialised dictionaries; with an image share (g, 2 d). An empty dictionary is the embedding of no words."""
        self._gallery = (images.ids, self.read(images))
        rows = self.encoder.texts(self.texts(images))
        if self.options.image_weight:
            rows = join_image(rows, self.encoder.images(images).rows, self.options.image_weight)
        return Embeddings(images.ids, rows)

    def signed(self, queries: Sequence[Query], images: ImageSet) -> list[SignedDictionary]:
        """Wants, anchors and avoids of every query (Pix2Key, Eq. 4), with the merge rules of `signed.merge`."""
        place = {image_id: row for row, image_id in enumerate(dict.fromkeys(query.reference for query in queries))}
        read = self.read(images.select(place))
        references = [read[place[query.reference]] for query in queries]
        asked = [(reference, query.text) for reference, query in zip(references, queries, strict=True)]
        new = list(dict.fromkeys(pair for pair in asked if pair not in self._parsed))
        if new:
            updates = self.parser.parse([text for _, text in new], [reference for reference, _ in new])
            self._parsed |= zip(new, updates, strict=True)
        how = self.options.implicit_negatives
        self._merged |= {(*pair, how): merge(pair[0], self._parsed[pair], how) for pair in asked if (*pair, how) not in self._merged}
        return [self._merged[*pair, how] for pair in asked]

    def embed_signed(self, signed: Sequence[SignedDictionary]) -> SignedRows:
        """Embed each part of each query on its own (Pix2Key, Eq. 6-7); zeros where a part is empty or switched off."""
        return SignedRows(*(self._embed_part(part) for part in zip(*map(self.parts, signed), strict=True)))

    def compose(self, queries: Sequence[Query], images: ImageSet) -> Embeddings:
        """Unit rows of the fused queries q*. A query without any constraint is the embedding of its text (our choice), and is counted."""
        signed = self.signed(queries, images)
        fused = fuse(self.embed_signed(signed), self.options.alpha, self.options.beta)
        aimless = [number for number, row in enumerate(fused) if not row.any()]
        if aimless:
            fused[aimless] = self.encoder.texts([queries[number].text for number in aimless])
            self.outcomes["queries without a constraint"] += len(aimless)
        reference = self.encoder.references(queries, images) if self.options.image_weight else torch.zeros(len(queries), 0)
        for query, constraints, row in zip(queries, signed, reference, strict=True):
            self._composed[query.reference, query.text] = (constraints, row)
        rows = join_image(normalize(fused, dim=-1), reference, self.options.image_weight)
        return Embeddings(tuple(query.id for query in queries), rows)

    def rerank(
        self, queries: Sequence[Query], pool: Int[Tensor, "q p"], scores: Float[Tensor, "q p"], gallery: Embeddings
    ) -> Int[Tensor, "q p"]:
        """Order of each pool: by slots where `matching` says so (ties by the pooled score), then MMR where `diversity` is above 0.

        Distances between candidates are those of the gallery rows. The best candidate stays first whatever the diversity.

        Raises:
            InputError: If matching is by slots and queries or gallery are not those that were composed and encoded last.
        """
        if self.options.matching == "slots":
            scores = self._slot_scores(queries, pool, gallery)
        return mmr_order(scores, pool, gallery.rows, self.options.diversity, self.options.select)

    def slot_constraints(self, signed: SignedDictionary) -> list[tuple[str, float]]:
        """Texts and signed weights of one query's constraints, for matching by slots."""
        wants, anchors, avoids = ([entry.text for entry in entries] for entries in self.parts(signed))
        return slot_weights(wants, anchors, avoids, self.options.alpha, self.options.beta)

    def parts(self, signed: SignedDictionary) -> tuple[Dictionary, Dictionary, Dictionary]:
        """Wants, anchors and avoids of one query as the score sees them: empty where switched off."""
        use = self.options
        return signed.wants if use.use_wants else (), signed.anchors if use.use_anchors else (), signed.avoids if use.use_avoids else ()

    def _slot_scores(self, queries: Sequence[Query], pool: Int[Tensor, "q p"], gallery: Embeddings) -> Float[Tensor, "q p"]:
        unknown = [query.id for query in queries if (query.reference, query.text) not in self._composed]
        if unknown or self._gallery[0] != gallery.ids:
            what = f"query {unknown[0]!r}" if unknown else "this gallery"
            raise InputError(f"{what} was not embedded by this method; call encode_gallery and compose before rerank")
        composed = [self._composed[query.reference, query.text] for query in queries]
        constraints = [self.slot_constraints(signed) for signed, _ in composed]
        scores = slot_scores(constraints, [[entry.text for entry in entries] for entries in self._gallery[1]], pool, self.encoder.texts)
        weight = self.options.image_weight
        if not weight:
            return scores
        pictures = gallery.rows[:, -composed[0][1].shape[0] :]  # sqrt(weight) * image rows; see `join_image`
        left, right = (
            fixed_point(torch.stack([row for _, row in composed]), "query", pool.device),
            fixed_point(pictures, "gallery", pool.device),
        )
        lines = torch.arange(len(pool), device=pool.device).repeat_interleave(pool.shape[1])
        image = pair_scores(left, right, lines, pool.flatten()).view(pool.shape) / (left.scale * right.scale)
        return (1 - weight) * scores + weight**0.5 * image

    def _embed_part(self, dictionaries: Sequence[Dictionary]) -> Float[Tensor, "q d"]:
        """Unit rows of one part of every query, zeros where it is empty."""
        filled = [number for number, entries in enumerate(dictionaries) if entries]
        rows = torch.zeros(len(dictionaries), self.encoder.clip.embedding_dim)
        if filled:
            rows[filled] = self.embed([dictionaries[number] for number in filled])
        return rows

    def embed(self, dictionaries: Sequence[Dictionary]) -> Float[Tensor, "n d"]:
        """Unit rows of serialised dictionaries: f_text(ser(D))."""
        return self.encoder.texts([self._text(entries) for entries in dictionaries])

    def _text(self, entries: Dictionary) -> str:
        """ser(D). Pairs that the context has no room for are dropped and counted."""
        known = entries, self.options.separator
        if known not in self._serialised:
            written = serialise(entries, lambda text: not self.encoder.clip.too_long(text), self.options.separator)
            self._serialised[known] = written.text
            self.outcomes["dictionaries cut to the context"] += bool(written.dropped)
            self.outcomes["pairs dropped"] += len(written.dropped)
        return self._serialised[known]
