"""SEARLE (Baldrati et al., ICCV 2023): pseudo-words are first optimised picture by picture, then a mapper learns to give them at once.

    W_i = textual inversion of picture i                       (`textual_inversion.invert`)
    loss = a * distillation(W, phi(f)) + b * (1 - cos(text(phrase of phi(f)), text(phrase of the concept)))

Read in the released code and its README, which disagree on b and on the number of concepts: the code's 0.25 and 15 are the defaults here,
the README's are 0.75 and 150.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from cirlib.backbones.clip import Clip
from cirlib.backbones.clip_text import text_tower
from cirlib.methods.batches import batch_rows
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.pseudo_words.features import image_features
from cirlib.methods.pseudo_words.fitting import (
    Choice,
    TrainedMapper,
    check_recipe,
    fit_mapper,
    hashed,
    new_mapper,
    pictures_key,
)
from cirlib.methods.pseudo_words.losses import distillation, turn
from cirlib.methods.pseudo_words.method import PseudoWordMethod
from cirlib.methods.pseudo_words.phrases import TEMPLATES, Phrases, phrases_key
from cirlib.methods.pseudo_words.prompts import COMMON
from cirlib.methods.pseudo_words.sentence import plain_sentences, pseudo_sentences
from cirlib.methods.pseudo_words.textual_inversion import PhraseDrawer
from cirlib.types import ImageSet, InputError


@dataclass(frozen=True)
class SearleRecipe:
    """Settings of the distillation. Released code: 100 epochs of 100,000 pictures at a batch of 256 are about 39,000 steps."""

    factor: int = 4  # width of the mapper over d
    dropout: float = 0.5
    temperature: float = 0.25
    distil_weight: float = 1.0  # a
    phrase_weight: float = 0.25  # b (code); README: 0.75
    concepts: int = 15  # nearest ones that phrases are drawn from (code); README: 150
    steps: int = 39_000
    batch: int = 256  # pictures; each is told apart from 2 * 256 - 1 pseudo-words
    rate: float = 1e-4  # peak learning rate
    weight_decay: float = 0.01
    warmup: int = 0  # steps
    constant: bool = True  # the rate stays at its peak
    look_every: int = 1_000  # steps between two looks at val
    save_every: int = 500  # steps between two states on disk
    seed: int = 0

    def __post_init__(self) -> None:
        check_recipe(self)
        if self.temperature <= 0:
            raise InputError(f"temperature = {self.temperature} in a SearleRecipe; use more than 0")
        if self.distil_weight + self.phrase_weight <= 0:
            raise InputError("distil_weight and phrase_weight are both 0 in a SearleRecipe; give one of them a weight")


@dataclass(frozen=True)
class DistilBatch:
    """Pictures of one step.

    Attributes:
        features: (b, d) image embeddings.
        words: (b, t) their inverted pseudo-words.
        holed: A phrase per picture, with the placeholder.
        spoken: The same with the concept's words.
    """

    features: Float[Tensor, "b d"]
    words: Float[Tensor, "b t"]
    holed: list[str]
    spoken: list[str]


class SearleObjective(nn.Module):
    """The two losses over a batch; CLIP is no part of the module.

    Args:
        clip: Frozen.
        mapper: What is trained.
        recipe: Weights and temperature.
    """

    def __init__(self, clip: Clip, mapper: nn.Module, recipe: SearleRecipe) -> None:
        super().__init__()
        self.mapper, self.recipe = mapper, recipe
        self._clip = clip

    def forward(self, batch: DistilBatch) -> dict[str, Tensor]:
        """{"distil", "phrase"}: the two weighted terms; one with weight 0 is left out."""
        words, recipe, found = self.mapper(batch.features), self.recipe, {}
        if recipe.distil_weight:
            found["distil"] = recipe.distil_weight * distillation(batch.words, words, recipe.temperature)
        if recipe.phrase_weight:
            spoken = plain_sentences(self._clip, batch.spoken)
            found["phrase"] = recipe.phrase_weight * turn(pseudo_sentences(self._clip, batch.holed, words), spoken)
        return found


def train_searle(
    recipe: SearleRecipe,
    encoder: ClipEncoder,
    images: ImageSet,
    words: Float[Tensor, "n t"],
    phrases: Phrases,
    choice: Choice | None = None,
    *,
    templates: Sequence[str] = TEMPLATES,
    template: str = COMMON,
    stop_after: int | None = None,
    progress: bool = True,
) -> TrainedMapper:
    """Distil inverted pseudo-words into a mapper, from scratch or from the last saved state; a finished training is read back.

    Args:
        recipe: All settings.
        encoder: Frozen CLIP with its cache.
        images: Pictures without labels.
        words: Their pseudo-words, as `invert` gives them.
        phrases: Concept to phrases with "$".
        choice: What weights are chosen on; None keeps the last ones.
        templates: Frames by which CLIP reads the concepts' names.
        template: Sentence of the resulting method.
        stop_after: Stop early, as an interruption would.
        progress: Show bars.

    Raises:
        InputError: If there are fewer pictures than a batch needs, or not as many pseudo-words as pictures.
    """
    clip = encoder.clip
    width = text_tower(clip).token_embedding.weight.shape[1]
    if words.shape != (len(images), width):
        raise InputError(f"pseudo-words of shape {tuple(words.shape)} for {len(images)} pictures given; give one of {width} numbers each")
    features = image_features(encoder, images)
    draw = PhraseDrawer(encoder, features, phrases, recipe.concepts, templates)

    def batch(step: int) -> Any:
        rows = batch_rows(len(images), recipe.batch, step, recipe.seed)
        holed, spoken = draw(np.random.default_rng([recipe.seed, step, 1]), rows.tolist())
        return DistilBatch(features[rows].to(clip.device), words[rows].to(clip.device), holed, spoken)

    mapper = new_mapper("searle", recipe.seed, clip.device, d=clip.embedding_dim, t=width, factor=recipe.factor, dropout=recipe.dropout)
    return fit_mapper(
        "searle",
        recipe,
        SearleObjective(clip, mapper, recipe),
        batch,
        PseudoWordMethod(encoder, mapper, "SEARLE", template),
        {"images": pictures_key(images), "words": hashed(words.double().sum(1).tolist()), "phrases": phrases_key(phrases, templates)},
        choice,
        stop_after=stop_after,
        progress=progress,
    )
