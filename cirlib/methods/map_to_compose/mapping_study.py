"""The mappers side by side: one CLIP, one set of pictures, one number of steps and one choice on val for all of them.

Notebook 07 trains them, notebook 08 goes on from the same trainings: what is finished is read back from the user's cache folder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cirlib.data.atelier import load_pictures
from cirlib.data.atelier.captions import caption
from cirlib.data.atelier.splits import picture
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.map_to_compose.method import MapToCompose
from cirlib.methods.map_to_compose.pictures import Pictures
from cirlib.methods.map_to_compose.recipe import Stage1Recipe
from cirlib.methods.map_to_compose.stage1 import TrainedMapToCompose, train_stage1
from cirlib.methods.pseudo_words.fitting import Choice, TrainedMapper
from cirlib.methods.pseudo_words.lincir import LincirRecipe, train_lincir
from cirlib.methods.pseudo_words.method import BATCH
from cirlib.methods.pseudo_words.phrases import ATELIER_TEMPLATES, atelier_phrases
from cirlib.methods.pseudo_words.pic2word import Pic2WordRecipe, train_pic2word
from cirlib.methods.pseudo_words.prompts import TRAINING
from cirlib.methods.pseudo_words.searle import SearleRecipe, train_searle
from cirlib.methods.pseudo_words.sentence import encode_sentences, sentence_tokens
from cirlib.methods.pseudo_words.textual_inversion import InversionRecipe, invert
from cirlib.types import ImageSet, InputError

SEEN = 40_960  # pictures of atelier's pretrain split that the shipped checkpoints have learnt from; the ones after them are unseen
_CAPTIONS = 7  # purpose of the generator, apart from those of other captions


@dataclass(frozen=True, kw_only=True)
class MappingSettings:
    """What the trainings of all mappers share, and what each needs of its own."""

    steps: int  # of every mapper but LinCIR's
    lincir_steps: int  # LinCIR sees no picture and needs more of them
    batch: int  # pictures or captions per step, for all
    rate: float  # peak learning rate, for all
    look_every: int  # steps between two scores on val
    mapper_width: int  # of Pic2Word's mapper, which stage 1 uses too
    mapper_factor: int  # width over d of SEARLE's mapper, which LinCIR uses too
    mapper_dropout: float  # of SEARLE's mapper; theirs is 0.5
    noise: float  # LinCIR's
    inverted: int  # pictures that SEARLE inverts and learns from: the first so many
    inversion_steps: int  # per picture
    inversion_batch: int  # pictures side by side
    ema: float  # of an inverted pseudo-word
    concepts: int  # nearest ones that phrases are drawn from
    phrases: int  # per concept
    hidden: int  # width of the injection's attention
    grid: int  # side of the grid that patches are averaged to; 0: as they are
    views: int  # random views per picture in stage 1
    precision: str = "fp32"  # of stage 1's forward pass

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Self:
        """The settings of this class among those of a notebook.

        Raises:
            InputError: If one is missing.
        """
        known = [field.name for field in fields(cls)]
        if missing := [name for name in known if name not in settings and name != "precision"]:
            raise InputError(f"the trainings of mappers need {', '.join(missing)}; add them to the notebook's settings")
        return cls(**{name: settings[name] for name in known if name in settings})


class MappingStudy:
    """Trains each mapper once per seed, and reads back what is finished.

    Args:
        encoder: Frozen CLIP with its cache.
        images: Unlabelled pictures.
        captions: What each shows, by image id; L_soft reads them.
        sentences: What LinCIR learns from.
        choice: What weights are chosen on.
        settings: Sizes and schedule.
        progress: Show bars.
    """

    def __init__(
        self,
        encoder: ClipEncoder,
        images: ImageSet,
        captions: Mapping[str, str],
        sentences: Sequence[str],
        choice: Choice,
        settings: MappingSettings,
        progress: bool = False,
    ) -> None:
        self.encoder, self.images, self.captions, self.sentences = encoder, images, captions, sentences
        self.choice, self.settings, self.progress = choice, settings, progress

    def pic2word(self, seed: int) -> TrainedMapper:
        """Pic2Word with the warm-up of stage 1."""
        warmup = max(1, self.settings.steps // 20)
        recipe = Pic2WordRecipe(**self._schedule(seed), hidden=self.settings.mapper_width, warmup=warmup)
        return train_pic2word(recipe, self.encoder, self.images, self.choice, progress=self.progress)

    def lincir(self, seed: int) -> TrainedMapper:
        """LinCIR on the sentences alone."""
        schedule = {**self._schedule(seed), "steps": self.settings.lincir_steps}
        recipe = LincirRecipe(**schedule, **self._searle_mapper, noise=self.settings.noise)
        return train_lincir(recipe, self.encoder, self.sentences, self.choice, progress=self.progress)

    def searle(self, seed: int) -> TrainedMapper:
        """SEARLE, distilled from `inverted`; all seeds learn from the same inverted words."""
        part = self.images.select(self.images.ids[: self.settings.inverted])
        recipe = SearleRecipe(**self._schedule(seed), **self._searle_mapper, concepts=self.settings.concepts)
        phrases, options = self.phrases, {"templates": ATELIER_TEMPLATES, "progress": self.progress}
        return train_searle(recipe, self.encoder, part, self.inverted, phrases, self.choice, **options)

    def stage1(self, seed: int, **changes: Any) -> TrainedMapToCompose:
        """Stage 1 of Map-to-Compose; `changes` replace fields of its recipe."""
        recipe, name = self.stage1_recipe(seed, **changes), "Map-to-Compose stage 1"
        return train_stage1(recipe, self.encoder, self.images, self.captions, self.choice, name=name, progress=self.progress)

    def stage1_recipe(self, seed: int, **changes: Any) -> Stage1Recipe:
        """The recipe of `stage1`."""
        own = self.settings
        shared = {"hidden": own.hidden, "grid": own.grid, "views": own.views, "augment": "weak", "mapper_width": own.mapper_width}
        return Stage1Recipe(**{**self._schedule(seed), **shared, "precision": own.precision, **changes})

    @cached_property
    def phrases(self) -> dict[str, tuple[str, ...]]:
        """Concepts with phrases, from atelier's grammar."""
        return atelier_phrases(self.settings.phrases)

    @cached_property
    def inverted(self) -> Float[Tensor, "n t"]:
        """Pseudo-words of the first `settings.inverted` pictures, each optimised on its own."""
        own = self.settings
        sizes = {"steps": own.inversion_steps, "batch": own.inversion_batch, "ema": own.ema, "concepts": own.concepts}
        part = self.images.select(self.images.ids[: own.inverted])
        return invert(InversionRecipe(**sizes), self.encoder, part, self.phrases, templates=ATELIER_TEMPLATES, progress=self.progress)

    @property
    def _searle_mapper(self) -> dict[str, Any]:
        return {"factor": self.settings.mapper_factor, "dropout": self.settings.mapper_dropout}

    def _schedule(self, seed: int) -> dict[str, Any]:
        own = self.settings
        return {"steps": own.steps, "batch": own.batch, "rate": own.rate, "look_every": own.look_every, "seed": seed}


def unseen_pictures(count: int, start: int = 0) -> ImageSet:
    """Pictures of atelier's pretrain split that no shipped checkpoint has learnt from: `count` of them after the first `start`."""
    every = load_pictures("pretrain", SEEN + start + count)
    return every.select(every.ids[SEEN + start :])


def unseen_captions(count: int) -> dict[str, str]:
    """Image id to a true sentence from atelier's grammar, naming some attributes, for the first `count` of `unseen_pictures`.

    Only designs are looked at, no picture is drawn: more sentences than pictures cost nothing.
    """
    shown = [(index, picture("pretrain", index)) for index in range(SEEN, SEEN + count)]
    return {one.id: caption(np.random.default_rng([_CAPTIONS, index]), one.design) for index, one in shown}


@torch.no_grad()
def word_states(method: MapToCompose, images: ImageSet) -> tuple[Float[Tensor, "n t"], Float[Tensor, "n t"]]:
    """What stands in the pseudo-word's row of "a photo of $" after the last block with an injection: without any injection, and with it.

    Args:
        method: Stage 1 with an injection; its weights are taken to be in eval mode.
        images: Pictures.

    Raises:
        InputError: If the method injects nothing.
    """
    composer, clip = method.composer, method.encoder.clip
    if composer.injection is None:
        raise InputError(f"{method.name} has no injection, so its word has no state before and after one; give a method that injects")
    pictures, prompt = Pictures(method.encoder, images), sentence_tokens(clip, [TRAINING])
    states: tuple[list[Tensor], list[Tensor]] = ([], [])
    for rows in torch.arange(len(images)).split(BATCH):
        tokens, words = prompt.repeat(len(rows)), composer.mapper(pictures.features[rows])
        inject = composer.injection.after_block(composer.keys(pictures.tokens(rows)), tokens.columns[:, 0], tokens.ends)
        for store, change in zip(states, (None, inject), strict=True):
            seen: list[Tensor] = []

            def look(block: int, hidden: Tensor, change=change, seen=seen, column=int(tokens.columns[0, 0])) -> Tensor:
                hidden = hidden if change is None else change(block, hidden)
                seen.append(hidden[:, column].float())
                return hidden

            encode_sentences(clip, tokens, words, after_block=look)
            store.append(seen[composer.injection.blocks[-1]].cpu())
    return torch.cat(states[0]), torch.cat(states[1])
