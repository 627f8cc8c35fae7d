"""Stage 1, mapping: mapper and injection learn to make "a photo of $" mean the picture.

    t = text embedding of "a photo of $" with the picture's pseudo-word and injected detail
    loss = contrast(target view, t) + soft_weight * soft_alignment(caption, target view, t) + ref_weight * contrast(mapper's view, t)

Source: the released code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from cirlib.backbones.clip import Clip
from cirlib.methods.batches import batch_rows
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.map_to_compose.composer import Composer, new_composer
from cirlib.methods.map_to_compose.fitting import fit
from cirlib.methods.map_to_compose.losses import soft_alignment
from cirlib.methods.map_to_compose.method import MapToCompose
from cirlib.methods.map_to_compose.pictures import Pictures
from cirlib.methods.map_to_compose.recipe import Stage1Recipe
from cirlib.methods.map_to_compose.views import random_views
from cirlib.methods.pseudo_words.fitting import Choice, hashed, pictures_key
from cirlib.methods.pseudo_words.losses import contrast
from cirlib.methods.pseudo_words.prompts import TRAINING
from cirlib.methods.pseudo_words.sentence import sentence_tokens
from cirlib.methods.training import Trained
from cirlib.types import ImageSet, InputError


@dataclass(frozen=True)
class TrainedMapToCompose:
    """A trained stage.

    Attributes:
        method: With the weights that did best on val; `method.composer` is what the next stage or `storage` takes.
        outcome: Weighted losses by name, scores on val under the key "val", time and memory.
    """

    method: MapToCompose
    outcome: Trained


@dataclass(frozen=True)
class MappingBatch:
    """One step's frozen features.

    Attributes:
        features: (b, d) image embeddings of the mapper's views, not normalised.
        tokens: (b, n, d) every projected token of the same views; None without injection.
        targets: (b, d) image embeddings of the target views.
        captions: (b, d) text embeddings of the captions; None without L_soft.
    """

    features: Float[Tensor, "b d"]
    tokens: Float[Tensor, "b n d"] | None
    targets: Float[Tensor, "b d"]
    captions: Float[Tensor, "b d"] | None


class MappingLosses(nn.Module):
    """Losses of stage 1: "align", "soft" and "ref", weighted; those with weight 0 are left out.

    Args:
        composer: What learns.
        clip: Frozen CLIP.
        recipe: Weights and temperature.
    """

    def __init__(self, composer: Composer, clip: Clip, recipe: Stage1Recipe) -> None:
        super().__init__()
        self.composer, self.clip, self.recipe = composer, clip, recipe
        self.prompt = sentence_tokens(clip, [TRAINING])

    def forward(self, batch: MappingBatch) -> dict[str, Float[Tensor, ""]]:
        """Losses of one batch by name."""
        composer, recipe = self.composer, self.recipe
        keys = None if batch.tokens is None else composer.keys(batch.tokens)
        sentences = composer(self.clip, self.prompt.repeat(len(batch.features)), composer.mapper(batch.features), keys)
        with torch.autocast(sentences.device.type, enabled=False):
            losses = {"align": contrast(batch.targets, sentences, 1 / recipe.temperature)}
            if batch.captions is not None:
                losses["soft"] = recipe.soft_weight * soft_alignment(batch.captions, batch.targets, sentences, recipe.temperature)
            if recipe.ref_weight:
                losses["ref"] = recipe.ref_weight * contrast(batch.features, sentences, 1 / recipe.temperature)
        return losses


class MappingBatches:
    """Batches by the step's number. CLIP runs when the first one is asked for: a training that is read back needs none.

    Args:
        recipe: Batch, seed and views.
        encoder: CLIP with its cache.
        images: Pictures to learn from.
        captions: What each shows, by image id.
    """

    def __init__(self, recipe: Stage1Recipe, encoder: ClipEncoder, images: ImageSet, captions: Mapping[str, str]) -> None:
        self.recipe, self.encoder, self.images, self.texts = recipe, encoder, images, captions
        batch_rows(len(images), recipe.batch, 0, recipe.seed)  # too few pictures are refused before anything is encoded

    def __call__(self, step: int) -> MappingBatch:
        """Features of one step; a function of (seed, step) alone."""
        recipe, count = self.recipe, len(self.images)
        rows = batch_rows(count, recipe.batch, step, recipe.seed)
        own = target = rows
        if recipe.augment != "none":
            drawn = np.random.default_rng([recipe.seed, 1, step]).integers(recipe.views, size=(2, recipe.batch))
            own, target = (rows + count * torch.from_numpy(views) for views in drawn)
        tokens = self.own.tokens(own) if recipe.injection else None
        captions = self.captions[rows] if recipe.soft_weight else None
        return MappingBatch(self.own.features[own], tokens, self.target.features[target], captions)

    @cached_property
    def own(self) -> Pictures:
        """Features of the views that the mapper reads."""
        return Pictures(self.encoder, self._views(self.recipe.augment), tokens=self.recipe.injection)

    @cached_property
    def target(self) -> Pictures:
        """Features of the views that sentences are aligned with."""
        return self.own if self.recipe.augment == "none" else Pictures(self.encoder, self._views("train"), tokens=False)

    @cached_property
    def captions(self) -> Float[Tensor, "n d"]:
        """Unit rows of the captions; long ones are cut."""
        return self.encoder.texts([self.texts[image_id] for image_id in self.images.ids]).to(self.encoder.clip.device)

    def _views(self, kind: str) -> ImageSet:
        if kind == "none":
            return self.images
        return random_views(self.images, kind, self.recipe.views, self.encoder.clip.image_size, self.recipe.view_seed)


def train_stage1(
    recipe: Stage1Recipe,
    encoder: ClipEncoder,
    images: ImageSet,
    captions: Mapping[str, str],
    choice: Choice | None = None,
    *,
    name: str = "stage 1",
    stop_after: int | None = None,
    progress: bool = True,
) -> TrainedMapToCompose:
    """Train stage 1 from scratch or from its last state; a finished training is read back.

    Args:
        recipe: All settings.
        encoder: Frozen CLIP with its cache.
        images: Unlabelled pictures.
        captions: What each picture shows, by image id; not read where `soft_weight` is 0.
        choice: What weights are chosen on; None keeps the last ones.
        name: Name of the method in reports.
        stop_after: Stop early, as an interruption would.
        progress: Show a bar.

    Raises:
        InputError: If a caption is missing, or there are fewer pictures than a batch needs.
    """
    wanted = images.ids if recipe.soft_weight else ()
    if missing := [image_id for image_id in wanted if not captions.get(image_id)]:
        raise InputError(
            f"{len(missing)} of {len(images)} pictures have no caption ({missing[0]!r}); L_soft needs one, or set soft_weight to 0"
        )
    composer = new_composer(encoder.clip, recipe)
    method = MapToCompose(encoder, composer, name)
    key = {"pictures": pictures_key(images), "captions": hashed([captions[image_id] for image_id in wanted])}
    outcome = fit(
        "map_to_compose_stage1",
        recipe,
        MappingLosses(composer, encoder.clip, recipe),
        MappingBatches(recipe, encoder, images, captions),
        method,
        key,
        choice,
        stop_after=stop_after,
        progress=progress,
    )
    composer.requires_grad_(False)
    return TrainedMapToCompose(method, outcome)
