"""Dictionaries from slots: after training, the pooler and the adapters take the place of the language model's patch path (paper).

A `SlotWriter` goes where `DictionaryExtractor` takes a `write`: parsing, scoring and everything after it stay as they are.
"""

import os
from collections.abc import Sequence

import torch
from PIL import Image

from cirlib._cache import cache_dir
from cirlib.backbones.vlm_cache import write_image_set
from cirlib.backbones.vlm_prompts import Prompt
from cirlib.methods.pix2key.v_dict_ae import VDictAE
from cirlib.types import ImageSet, InputError


class SlotWriter:
    """Writes what a prompt asks for, from pooled slots.

    Args:
        model: Trained; its recipe says whether the patches stay in front of the slots.
        cache: Folder for answers, under the user's cache folder by default. Answers are kept apart by picture, weights and prompt.
        batch: Pictures written at once.
        progress: Show bars.
    """

    def __init__(self, model: VDictAE, cache: str | os.PathLike[str] | None = None, batch: int = 64, progress: bool = True) -> None:
        self.model, self.batch, self.progress = model, batch, progress
        self._cache = cache

    @property
    def cache(self) -> str | os.PathLike[str]:
        """Folder for answers; looked up at each use, so that `cirlib._cache.scratch_cache` reaches it."""
        return self._cache if self._cache is not None else cache_dir("vlm")

    @property
    def fingerprint(self) -> dict[str, str]:
        """What decides an answer: the language model, the trained weights, and what is fed."""
        recipe = self.model.recipe
        fed = {"slots": self.model.weights_hash(), "keep_patches": str(recipe.keep_patches), "input_size": str(recipe.input_size)}
        return {**self.model.vlm.fingerprint, **fed}

    def __call__(self, images: ImageSet, prompt: Prompt) -> list[str]:
        """One answer per picture, in the order of the set; pictures answered before are not opened again."""
        return write_image_set(self, images, prompt, cache=self.cache, batch=self.batch, progress=self.progress)

    def write(self, images: Sequence[Image.Image], prompts: str | Sequence[str], max_new_tokens: int = 256) -> list[str]:
        """Greedy answers, in the form of `VisionLanguageModel.write`.

        Raises:
            InputError: If pictures get different prompts.
        """
        if not isinstance(prompts, str):
            if len(set(prompts)) != 1:
                raise InputError(f"{len(set(prompts))} different prompts given; slots are written with one prompt for all pictures")
            prompts = prompts[0]
        with torch.no_grad(), self.model.adapted():
            patches = self.model.patches(images)
            fed, grid = self.model.fed(patches, self.model.pooler(patches.float()))
            return self.model.vlm.write_from_slots(fed, prompts, max_new_tokens, grid)
