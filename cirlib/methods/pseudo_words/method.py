"""Retrieval with a pseudo-word: the reference image becomes a word, the sentence around it is the query, the gallery is plain CLIP."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from cirlib.backbones.clip_text import fill_template, text_tower
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.pseudo_words.features import image_features
from cirlib.methods.pseudo_words.prompts import COMMON
from cirlib.methods.pseudo_words.sentence import pseudo_sentences
from cirlib.types import Embeddings, ImageSet, InputError, Query

BATCH = 256  # sentences per forward pass
WORD_END = "</w>"  # CLIP's byte pairs mark the piece that ends a word


class PseudoWordMethod:
    """A mapper with a template; a `cirlib.types.Method`.

    Gallery rows are plain CLIP image embeddings, so an index that `cirlib index` built is searched as it is.

    Args:
        encoder: CLIP with its cache.
        mapper: From image embeddings that are not normalised to pseudo-words; it is used as it is at the moment of each call.
        name: Name in reports.
        template: Sentence with "$" and "{modification_text}"; see `prompts.compose_prompt`.

    Raises:
        InputError: If the template lacks one of the two.
    """

    def __init__(self, encoder: ClipEncoder, mapper: nn.Module, name: str = "pseudo-word", template: str = COMMON) -> None:
        if "$" not in template.split() or "{modification_text}" not in template:
            raise InputError(f"template {template!r} needs $ between spaces and {{modification_text}}; see compose_prompt")
        self.encoder, self.mapper, self.name, self.template = encoder, mapper, name, template

    def encode_gallery(self, images: ImageSet) -> Embeddings:
        """Unit rows (g, d) of every picture: plain CLIP image embeddings."""
        return self.encoder.images(images)

    @torch.no_grad()
    def words(self, images: ImageSet) -> Float[Tensor, "n t"]:
        """The pseudo-word of every picture, without dropout, in the order of `images.ids`."""
        training = self.mapper.training
        device = next(self.mapper.parameters()).device
        try:
            return self.mapper.eval()(image_features(self.encoder, images).to(device))
        finally:
            self.mapper.train(training)

    @torch.no_grad()
    def sentences(self, texts: Sequence[str], references: Sequence[str], images: ImageSet) -> Float[Tensor, "n d"]:
        """Text embeddings, not normalised, of sentences with a placeholder, each about one picture.

        Args:
            texts: Filled templates.
            references: Image id per text; a picture that comes again is mapped once.
            images: Holds them.
        """
        ids = list(dict.fromkeys(references))
        place = {image_id: row for row, image_id in enumerate(ids)}
        words = self.words(images.select(ids))[[place[image_id] for image_id in references]]
        rows = [
            pseudo_sentences(self.encoder.clip, texts[start : start + BATCH], words[start : start + BATCH]).cpu()
            for start in range(0, len(texts), BATCH)
        ]
        return torch.cat(rows) if rows else torch.empty(0, self.encoder.clip.embedding_dim)

    def compose(self, queries: Sequence[Query], images: ImageSet) -> Embeddings:
        """Unit rows (q, d) of the filled templates."""
        texts = [fill_template(self.template, query.text) for query in queries]
        rows = self.sentences(texts, [query.reference for query in queries], images)
        return Embeddings(tuple(query.id for query in queries), normalize(rows, dim=-1))

    def neighbours(self, words: Float[Tensor, "n t"], k: int = 5) -> list[list[tuple[str, float]]]:
        """The k whole words of CLIP's vocabulary nearest to each pseudo-word: (word, cosine of the token embeddings), nearest first.

        Only pieces of letters that may end a word count; equal cosines go by token id. In a small vocabulary some of them are endings.

        Raises:
            InputError: If k is below 1.
        """
        if k < 1:
            raise InputError(f"{k} neighbours asked for; ask for 1 or more")
        clip = self.encoder.clip
        known = [(number, piece.removesuffix(WORD_END)) for number, piece in clip.tokenizer.decoder.items() if _is_word(piece)]
        table = normalize(text_tower(clip).token_embedding.weight[[number for number, _ in known]].float(), dim=-1)
        cosines = normalize(words.to(table), dim=-1) @ table.T
        order = cosines.argsort(dim=-1, descending=True, stable=True)[:, :k]
        return [[(known[int(place)][1], float(row[place])) for place in places] for row, places in zip(cosines, order, strict=True)]


class BothOrders:
    """SEARLE's and LinCIR's habit on FashionIQ: both orders of the two captions are composed, and the unit rows averaged (released code).

    Args:
        method: Composes one order.
        other_texts: Query id to the modification text in the other order; a query without one is composed once.
    """

    def __init__(self, method: PseudoWordMethod, other_texts: Mapping[str, str]) -> None:
        self.method, self.other_texts, self.name = method, other_texts, method.name

    def encode_gallery(self, images: ImageSet) -> Embeddings:
        """The method's own gallery."""
        return self.method.encode_gallery(images)

    def compose(self, queries: Sequence[Query], images: ImageSet) -> Embeddings:
        """Unit rows (q, d) of the mean over both orders."""
        turned = [replace(query, text=self.other_texts.get(query.id, query.text)) for query in queries]
        rows = self.method.compose(queries, images).rows + self.method.compose(turned, images).rows
        return Embeddings(tuple(query.id for query in queries), normalize(rows, dim=-1))


def _is_word(piece: str) -> bool:
    word = piece.removesuffix(WORD_END)
    return piece.endswith(WORD_END) and word.isascii() and word.isalpha()
