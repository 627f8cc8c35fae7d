"""LinCIR (Gu et al., CVPR 2024): a mapper trained on sentences alone, by hiding what they speak about.

    z = text(caption)      z' = z + u n, u ~ U(0, 1) per caption, n ~ N(0, I)      W = phi(z')
    loss = MSE between z and text(caption with every run of keywords replaced by W)

The noise bridges what lies between sentences and pictures: when searching, phi is given the picture's embedding as it comes. Read in the
released code; defaults are those of its README (the script's are 50,000 steps at a batch of 256).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from cirlib.backbones.clip import Clip
from cirlib.backbones.clip_text import text_tower
from cirlib.methods.batches import batch_rows
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.pseudo_words.fitting import Choice, TrainedMapper, check_recipe, fit_mapper, hashed, new_mapper
from cirlib.methods.pseudo_words.keywords import Tagger, lexicon_tagger, replace_keywords
from cirlib.methods.pseudo_words.method import PseudoWordMethod
from cirlib.methods.pseudo_words.prompts import COMMON
from cirlib.methods.pseudo_words.sentence import plain_sentences, pseudo_sentences


@dataclass(frozen=True)
class LincirRecipe:
    """Settings of one training."""

    factor: int = 4  # width of the mapper over d
    dropout: float = 0.5
    noise: float = 1.0  # standard deviation that the uniform share scales; 1 in the source, 0: no noise
    steps: int = 20_000
    batch: int = 512  # captions
    rate: float = 1e-4  # peak learning rate
    weight_decay: float = 0.01
    warmup: int = 0  # steps
    constant: bool = True  # the rate stays at its peak
    look_every: int = 1_000  # steps between two looks at val
    save_every: int = 500  # steps between two states on disk
    seed: int = 0

    def __post_init__(self) -> None:
        check_recipe(self)


class LincirObjective(nn.Module):
    """The loss over a batch of captions; CLIP is no part of the module.

    Args:
        clip: Frozen.
        mapper: What is trained.
        noise: See `LincirRecipe`.
    """

    def __init__(self, clip: Clip, mapper: nn.Module, noise: float = 1.0) -> None:
        super().__init__()
        self.mapper, self.noise = mapper, noise
        self._clip = clip

    def forward(self, batch: tuple[Sequence[str], Sequence[str]]) -> dict[str, Tensor]:
        """{"sentence": MSE}. `batch` holds captions, and the same with placeholders."""
        captions, holed = batch
        wanted = plain_sentences(self._clip, captions)
        words = self.mapper(add_noise(wanted, self.noise))
        return {"sentence": mse_loss(pseudo_sentences(self._clip, holed, words), wanted)}


def add_noise(rows: Float[Tensor, "b d"], scale: float = 1.0) -> Float[Tensor, "b d"]:
    """Normal noise whose size is uniform in [0, scale], one size per row, from torch's generator (paper, scale 1)."""
    share = torch.rand(len(rows), 1, device=rows.device)
    return rows + scale * share * torch.randn_like(rows)


def train_lincir(
    recipe: LincirRecipe,
    encoder: ClipEncoder,
    captions: Sequence[str],
    choice: Choice | None = None,
    *,
    tagger: Tagger = lexicon_tagger,
    template: str = COMMON,
    stop_after: int | None = None,
    progress: bool = True,
) -> TrainedMapper:
    """Train LinCIR from scratch or from the last saved state; a finished training is read back.

    Args:
        recipe: All settings.
        encoder: Frozen CLIP with its cache.
        captions: Sentences; no pictures are needed.
        choice: What weights are chosen on; None keeps the last ones.
        tagger: Finds the keywords; called on the captions of a step when the step comes.
        template: Sentence of the resulting method.
        stop_after: Stop early, as an interruption would.
        progress: Show bars.

    Raises:
        InputError: If there are fewer captions than a batch needs.
    """
    clip = encoder.clip
    width = text_tower(clip).token_embedding.weight.shape[1]
    mapper = new_mapper("searle", recipe.seed, clip.device, d=clip.embedding_dim, t=width, factor=recipe.factor, dropout=recipe.dropout)

    def batch(step: int) -> tuple[list[str], list[str]]:
        chosen = [captions[row] for row in batch_rows(len(captions), recipe.batch, step, recipe.seed).tolist()]
        return chosen, [replace_keywords(text, tagger) for text in chosen]

    return fit_mapper(
        "lincir",
        recipe,
        LincirObjective(clip, mapper, recipe.noise),
        batch,
        PseudoWordMethod(encoder, mapper, "LinCIR", template),
        {"captions": hashed(list(captions)), "tagger": replace_keywords("a red dress and it is long with two of the big pockets", tagger)},
        choice,
        stop_after=stop_after,
        progress=progress,
    )
