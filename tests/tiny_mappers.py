"""Trainings of mappers in four steps on a tiny CLIP."""

import torch

from cirlib.methods.pseudo_words.lincir import LincirRecipe, train_lincir
from cirlib.methods.pseudo_words.pic2word import Pic2WordRecipe, train_pic2word
from cirlib.methods.pseudo_words.searle import SearleRecipe, train_searle

TRAININGS = ("pic2word", "searle", "lincir")
PHRASES = {"red": ("a photo of $ that", "$ that of"), "dress": ("a photo of $ of",)}
FRAMES = ("a photo of {}", "{} of")
CAPTIONS = [f"{first} {second} dress" for first in ("a photo of a", "the", "this is") for second in ("red", "long", "blue", "dotted")]


def run(name, encoder, pictures, *, choice=None, stop_after=None, seed=0, steps=4, **more):
    """Train one mapper."""
    settings = dict(steps=steps, batch=6, rate=1e-2, warmup=0, seed=seed, **more)
    common = dict(stop_after=stop_after, progress=False)
    if name == "pic2word":
        return train_pic2word(Pic2WordRecipe(hidden=16, **settings), encoder, pictures, choice, **common)
    if name == "lincir":
        return train_lincir(LincirRecipe(factor=1, **settings), encoder, CAPTIONS, choice, **common)
    words = torch.randn(len(pictures), 24, generator=torch.Generator().manual_seed(3))
    recipe = SearleRecipe(factor=1, concepts=2, **settings)
    return train_searle(recipe, encoder, pictures, words, PHRASES, choice, templates=FRAMES, **common)
