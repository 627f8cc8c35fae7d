"""CIReVL: caption the reference image, let a language model rewrite the caption, and search with the new caption's text embedding.

    query      f_text(rewrite(caption of the reference, modification text))        Karthik et al. 2024
    gallery    f_image(picture), as published; or texts, the fair comparison for a method that searches texts

Captions and rewriting come from the same vision-language model here, as Pix2Key's comparison says; prompts are our own
(`cirlib.backbones.vlm_prompts`). Diversity by MMR is Pix2Key's "CIReVL+MMR" row: the same greedy rerank, over the rows that are searched.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jaxtyping import Float, Int
from torch import Tensor

from cirlib._cache import cache_dir
from cirlib.kernels.mmr import mmr_order
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.types import Embeddings, ImageSet, InputError, Query

if TYPE_CHECKING:
    from cirlib.backbones.vlm import VisionLanguageModel

WriteTexts = Callable[[ImageSet], Sequence[str]]
Rewrite = Callable[[Sequence[str], Sequence[str]], Sequence[str]]


class CaptionRewrite:
    """Retrieval by a rewritten caption; a `cirlib.types.Method`.

    Args:
        encoder: CLIP.
        captions: Writes one caption per picture; see `caption_with`.
        rewrite: Captions and modification texts to captions of the targets; see `rewrite_with`.
        gallery: "images" (published), "captions" (those of `captions`), or what writes other texts, such as Pix2Key's dictionaries.
        diversity: Lambda of MMR in [0, 1]; 0 reranks nothing.
        pool: Candidates that MMR sees.
        select: How many of them it picks.
        name: Name in reports.
    """

    def __init__(
        self,
        encoder: ClipEncoder,
        captions: WriteTexts,
        rewrite: Rewrite,
        gallery: Literal["images", "captions"] | WriteTexts = "images",
        *,
        diversity: float = 0.0,
        pool: int = 200,
        select: int = 50,
        name: str = "caption rewrite",
    ) -> None:
        if isinstance(gallery, str) and gallery not in ("images", "captions"):
            raise InputError(f"gallery {gallery!r} is not known; choose images or captions, or give what writes a text per picture")
        if not 0 <= diversity <= 1 or pool < 1 or select < 1:
            raise InputError(f"diversity {diversity}, pool {pool}, select {select} given; diversity lies in [0, 1], the others from 1")
        self.encoder, self.captions, self.rewrite, self.gallery = encoder, captions, rewrite, gallery
        self.diversity, self.pool, self.select, self.name = diversity, pool, select, name

    @property
    def pool_size(self) -> int:
        """Candidates that `rerank` wants; a single one where nothing is reranked."""
        return self.pool if self.diversity else 1

    def encode_gallery(self, images: ImageSet) -> Embeddings:
        """Unit rows (g, d) of pictures or of their texts. A text beyond the context is cut, with one warning."""
        if self.gallery == "images":
            return self.encoder.images(images)
        write = self.captions if self.gallery == "captions" else self.gallery
        return Embeddings(images.ids, self.encoder.texts(list(write(images))))

    def target_captions(self, queries: Sequence[Query], images: ImageSet) -> list[str]:
        """The rewritten caption of every query."""
        ids = list(dict.fromkeys(query.reference for query in queries))
        captions = dict(zip(ids, self.captions(images.select(ids)), strict=True))
        return list(self.rewrite([captions[query.reference] for query in queries], [query.text for query in queries]))

    def compose(self, queries: Sequence[Query], images: ImageSet) -> Embeddings:
        """Unit rows (q, d) of the rewritten captions."""
        return Embeddings(tuple(query.id for query in queries), self.encoder.texts(self.target_captions(queries, images)))

    def rerank(
        self, queries: Sequence[Query], pool: Int[Tensor, "q p"], scores: Float[Tensor, "q p"], gallery: Embeddings
    ) -> Int[Tensor, "q p"]:
        """MMR over each pool; the order of relevance where `diversity` is 0."""
        return mmr_order(scores, pool, gallery.rows, self.diversity, self.select)


def caption_with(vlm: "VisionLanguageModel", cache: Path | None = None, progress: bool = True) -> WriteTexts:
    """Captions by a vision-language model, kept by picture, model and prompt version in `cache` (default: the user's cache folder)."""
    from cirlib.backbones.vlm_cache import write_image_set
    from cirlib.backbones.vlm_prompts import CAPTION_PROMPT

    return lambda images: write_image_set(vlm, images, CAPTION_PROMPT, cache or cache_dir("vlm"), progress=progress)


def rewrite_with(vlm: "VisionLanguageModel", cache: Path | None = None, progress: bool = True) -> Rewrite:
    """Rewriting by the language half of the same model, kept by prompt and model in `cache` (default: the user's cache folder).

    An empty answer leaves caption and modification text side by side (our choice): a query is never without words.
    """
    from cirlib.backbones.vlm_cache import write_texts
    from cirlib.backbones.vlm_prompts import REWRITE_VERSION, rewrite_prompt

    def rewrite(captions: Sequence[str], texts: Sequence[str]) -> list[str]:
        prompts = [rewrite_prompt(caption, text) for caption, text in zip(captions, texts, strict=True)]
        answers = write_texts(vlm, prompts, REWRITE_VERSION, cache=cache or cache_dir("vlm"), progress=progress)
        return [answer.strip() or f"{caption}, {text}" for answer, caption, text in zip(answers, captions, texts, strict=True)]

    return rewrite
