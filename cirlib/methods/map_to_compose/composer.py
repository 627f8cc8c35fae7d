"""The network of Map-to-Compose: a mapper, the injection (stage 1) and the composing adapters (stage 2) around a frozen text tower."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cirlib.backbones.clip import Clip
from cirlib.backbones.clip_text import text_tower
from cirlib.methods.map_to_compose.composing import ComposingAdapters, in_turn
from cirlib.methods.map_to_compose.injection import VisualInjection
from cirlib.methods.map_to_compose.layers import composing_blocks, injection_blocks
from cirlib.methods.map_to_compose.recipe import Stage1Recipe, Stage2Recipe
from cirlib.methods.pseudo_words.mappers import Mapper, Pic2WordMapper
from cirlib.methods.pseudo_words.sentence import SentenceTokens, encode_sentences


class Composer(nn.Module):
    """What is put into a sentence about a picture. CLIP is no part of it: it is frozen and handed in.

    Args:
        mapper: From image embeddings to pseudo-words; any of `pseudo_words.mappers`.
        injection: Visual detail from the patches; None: the pseudo-word alone.
        composing: Adapters of stage 2; None: stage 1.
    """

    def __init__(self, mapper: Mapper, injection: VisualInjection | None = None, composing: ComposingAdapters | None = None) -> None:
        super().__init__()
        self.mapper, self.injection, self.composing = mapper, injection, composing

    def keys(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b a p h"]:
        """Keys of the injection, from every projected token of the picture. They depend on the picture alone."""
        return self.injection.keys(tokens)

    def forward(
        self, clip: Clip, sentences: SentenceTokens, words: Float[Tensor, "b t"], keys: Float[Tensor, "b a p h"] | None = None
    ) -> Float[Tensor, "b d"]:
        """Text embeddings, not normalised, of sentences with pseudo-words.

        Args:
            clip: Frozen CLIP.
            sentences: Each about one picture. Detail goes to a sentence's first placeholder.
            words: Pseudo-word of the picture behind each sentence: `self.mapper` of its image embedding.
            keys: Keys of the same pictures; None where there is no injection.
        """
        inject = None
        if self.injection is not None:
            inject = self.injection.after_block(keys, sentences.columns[:, 0], sentences.ends)
        compose = None if self.composing is None else self.composing.after_block
        return encode_sentences(clip, sentences, words, after_block=in_turn(inject, compose))  # injection first (released code)


def text_depth(clip: Clip) -> int:
    """Blocks of the text tower."""
    return len(text_tower(clip).transformer.resblocks)


def text_width(clip: Clip) -> int:
    """Width t of the text tower and of token embeddings."""
    return text_tower(clip).token_embedding.embedding_dim


def new_composer(clip: Clip, recipe: Stage1Recipe) -> Composer:
    """Stage 1 with random weights from the recipe's seed: mapper, and injection if the recipe has one."""
    dim, width = clip.embedding_dim, text_width(clip)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        mapper = Pic2WordMapper(dim, width, recipe.mapper_width, recipe.dropout)
        return Composer(mapper, new_injection(dim, width, text_depth(clip), recipe) if recipe.injection else None).to(clip.device)


def new_injection(dim: int, width: int, depth: int, recipe: Stage1Recipe) -> VisualInjection:
    """An injection with random weights from torch's generator.

    Args:
        dim: Width d of CLIP's joint space.
        width: Width t of the text tower.
        depth: Blocks of the text tower.
        recipe: Sizes and parity flags.
    """
    blocks = injection_blocks(depth, recipe.last_block)
    return VisualInjection(dim, width, blocks, recipe.hidden, recipe.heads, recipe.dropout, recipe.answer, recipe.grid)


def new_composing(clip: Clip, recipe: Stage2Recipe) -> ComposingAdapters:
    """Composing adapters with weights drawn from the recipe's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return ComposingAdapters(text_width(clip), composing_blocks(text_depth(clip)), recipe.rank, recipe.init).to(clip.device)
