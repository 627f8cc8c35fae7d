"""SPRC (Bai et al., ICLR 2024) on our Q-Former: the reference becomes a prompt of vectors in front of the text, and the text is read again.

    pass 1   F = queries of QF(P, text; picture)                  the sentence-level prompt, (m, h)
    pass 2   query = norm(W_t state of [CLS] in QF(F, text))      no picture

    L = InfoNCE(query, targets) + b InfoNCE(r, targets) + c |mean F - mean R|^2,   r = norm(W_t first state of QF(R, text)), R learned

Both contrasts score a target by the best of its vectors, over one learned temperature. R (m vectors) is not moved by the third term.
Losses, passes and starting values as in the released code. Two things differ: the random order of FashionIQ's two captions is left out, as
a benchmark holds them joined, and a warm-up with half a cosine stands in for OneCycle's schedule (our choice).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import mse_loss, normalize

from cirlib.backbones.qformer import QFormer
from cirlib.backbones.qformer_text import TextTokens
from cirlib.methods.baselines.contrast import Score, TrainedBaseline, contrast_loss, in_batch_scores
from cirlib.methods.baselines.qformer_contrast import Batch, ContrastiveQFormer, QFormerRecipe, train_on_qformer
from cirlib.methods.qformer_encoder import QFormerEncoder
from cirlib.types import Benchmark, InputError

PROMPT_SPREAD = 0.02  # released code: BERT's initializer_range


@dataclass(frozen=True)
class SprcRecipe(QFormerRecipe):
    """Settings of SPRC's training. Released code: 1e-5 on CIRR and 2e-5 on FashionIQ; both weights 0.4 on CIRR and 1 on FashionIQ."""

    relative_weight: float = 0.4  # b, of the contrast of text and learned prompt
    align_weight: float = 0.4  # c, of the distance between the two prompts

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.relative_weight < 0 or self.align_weight < 0:
            raise InputError(f"relative_weight {self.relative_weight}, align_weight {self.align_weight} in SPRC's recipe; use 0 or more")


class Sprc(ContrastiveQFormer):
    """See the module.

    Args:
        qformer: All but its frozen vision tower is trained.
        recipe: Weights of the losses; its seed draws the learned prompt.
    """

    def __init__(self, qformer: QFormer, recipe: SprcRecipe) -> None:
        super().__init__(qformer, recipe)
        self.recipe = recipe
        drawn = torch.randn(1, qformer.n_tokens, qformer.hidden_size, generator=torch.Generator().manual_seed(recipe.seed))
        self.prompts = nn.Parameter(PROMPT_SPREAD * drawn.to(qformer.device))

    def query(self, vision: Float[Tensor, "b v w"], texts: Sequence[str]) -> Float[Tensor, "b d"]:
        """Unit rows of composed queries."""
        tokens = self.qformer.tokenize(texts)
        return self._read_again(self.qformer.joint_states(vision, tokens).queries, tokens)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The three weighted losses of a batch: "contrast", "relative" and "align"; a loss of weight 0 is left out."""
        reference, texts, target = batch
        tokens, temperature = self.qformer.tokenize(texts), self.temperature()
        fused = self.qformer.joint_states(reference, tokens).queries  # (b, m, h)
        targets = self.qformer.image_tokens(target)
        losses = {"contrast": contrast_loss(in_batch_scores(self._read_again(fused, tokens), targets), temperature)}
        if self.recipe.relative_weight:
            alone = self.qformer.joint_states(None, tokens, self.prompts.expand(len(tokens), -1, -1)).queries[:, 0]
            told = normalize(self.qformer.model.text_projection(alone), dim=-1)
            losses["relative"] = self.recipe.relative_weight * contrast_loss(in_batch_scores(told, targets), temperature)
        if self.recipe.align_weight:
            aim = self.prompts.detach().mean(dim=1).expand(len(tokens), -1)
            losses["align"] = self.recipe.align_weight * mse_loss(fused.mean(dim=1), aim)
        return losses

    def _read_again(self, prompt: Float[Tensor, "b m h"], tokens: TextTokens) -> Float[Tensor, "b d"]:
        """The second pass: the projected state of [CLS] behind the prompt, of unit length."""
        return normalize(self.qformer.model.text_projection(self.qformer.joint_states(None, tokens, prompt).text[:, 0]), dim=-1)


def train_sprc(
    recipe: SprcRecipe,
    encoder: QFormerEncoder,
    benchmarks: Benchmark | Sequence[Benchmark],
    val: Benchmark,
    score: Score,
    *,
    stop_after: int | None = None,
    progress: bool = True,
) -> TrainedBaseline:
    """Train SPRC on a copy of the encoder's Q-Former. Arguments as in `qformer_contrast.train_on_qformer`.

    Raises:
        InputError: If the splits are not train and val, or there are fewer queries than a batch needs.
    """

    def build(qformer):
        return Sprc(qformer, recipe)

    return train_on_qformer("SPRC", "sprc", build, recipe, encoder, benchmarks, val, score, stop_after=stop_after, progress=progress)
