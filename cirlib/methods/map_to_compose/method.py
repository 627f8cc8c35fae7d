"""Retrieval with Map-to-Compose: pseudo-word, injected detail and composing adapters around the modification text; plain CLIP gallery."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor

from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.map_to_compose.composer import Composer
from cirlib.methods.map_to_compose.pictures import Pictures
from cirlib.methods.pseudo_words.method import BATCH, PseudoWordMethod
from cirlib.methods.pseudo_words.prompts import compose_prompt
from cirlib.methods.pseudo_words.sentence import sentence_tokens
from cirlib.types import ImageSet


class MapToCompose(PseudoWordMethod):
    """A pseudo-word method whose text tower is changed on the way; a `cirlib.types.Method`.

    `encode_gallery`, `compose`, `words` and `neighbours` are those of every pseudo-word method: the gallery is plain CLIP, so an index that
    `cirlib index` built is searched as it is. With a mapper alone, it is that method exactly.

    Args:
        encoder: CLIP with its cache.
        composer: The weights; used as they are at the moment of each call. Without composing adapters it is stage 1.
        name: Name in reports.
        template: Sentence with "$" and "{modification_text}"; the form of training by default.
    """

    def __init__(
        self,
        encoder: ClipEncoder,
        composer: Composer,
        name: str = "Map-to-Compose",
        template: str = compose_prompt("atelier", "map-to-compose"),
    ) -> None:
        super().__init__(encoder, composer.mapper, name, template)
        self.composer = composer

    @torch.no_grad()
    def sentences(self, texts: Sequence[str], references: Sequence[str], images: ImageSet) -> Float[Tensor, "n d"]:
        """Text embeddings, not normalised, of sentences with a placeholder, each about one picture.

        Args:
            texts: Filled templates.
            references: Image id per text; a picture that comes again is mapped, and its keys are computed, once.
            images: Holds them.
        """
        if not texts:
            return torch.empty(0, self.encoder.clip.embedding_dim)
        clip, ids = self.encoder.clip, list(dict.fromkeys(references))
        place = {image_id: row for row, image_id in enumerate(ids)}
        rows = torch.tensor([place[image_id] for image_id in references])
        order = rows.argsort(stable=True)  # texts about one picture follow each other, so that a batch needs few pictures
        with _resting(self.composer):
            pictures = Pictures(self.encoder, images.select(ids), tokens=self.composer.injection is not None)
            found = torch.empty(len(texts), clip.embedding_dim)
            for batch in order.split(BATCH):
                needed, where = rows[batch].unique(return_inverse=True)
                words = self.composer.mapper(pictures.features[needed])[where]
                keys = None if self.composer.injection is None else self.composer.keys(pictures.tokens(needed))[where]
                tokens = sentence_tokens(clip, [texts[number] for number in batch.tolist()])
                found[batch] = self.composer(clip, tokens, words, keys).cpu()
        return found


@contextmanager
def _resting(composer: Composer) -> Iterator[None]:
    """In eval mode, and back as it was, part by part."""
    before = [(module, module.training) for module in composer.modules()]
    composer.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
