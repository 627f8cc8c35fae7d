"""The sum of image and text, fine-tuned: the plainest composition on the backbone of DQE-CIR.

    query = norm( norm(mean_k v_k(reference)) + t(text) ),   v_k: the m image vectors, t: the text embedding of the Q-Former alone

Image and text never meet before the sum; all that is learned is where both encoders put them. CLIP4Cir's first stage does the same with
CLIP's text encoder (Baldrati et al. 2022); we take the Q-Former instead, all of its weights trained, so that the comparison with DQE-CIR
changes the composition and not the backbone (our choice).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from cirlib.methods.baselines.contrast import Score, TrainedBaseline
from cirlib.methods.baselines.qformer_contrast import ContrastiveQFormer, QFormerRecipe, train_on_qformer
from cirlib.methods.qformer_encoder import QFormerEncoder
from cirlib.types import Benchmark


@dataclass(frozen=True)
class TunedSumRecipe(QFormerRecipe):
    """Settings of the sum's training; the defaults are SPRC's, so that the two differ in the composition alone (our choice)."""


class TunedSum(ContrastiveQFormer):
    """See the module."""

    def query(self, vision: Float[Tensor, "b v w"], texts: Sequence[str]) -> Float[Tensor, "b d"]:
        """Unit rows of the sum."""
        image = normalize(self.qformer.image_tokens(vision).mean(dim=1), dim=-1)
        return normalize(image + self.qformer.text_embedding(texts), dim=-1)


def train_tuned_sum(
    recipe: TunedSumRecipe,
    encoder: QFormerEncoder,
    benchmarks: Benchmark | Sequence[Benchmark],
    val: Benchmark,
    score: Score,
    *,
    stop_after: int | None = None,
    progress: bool = True,
) -> TrainedBaseline:
    """Train the sum on a copy of the encoder's Q-Former. Arguments as in `qformer_contrast.train_on_qformer`.

    Raises:
        InputError: If the splits are not train and val, or there are fewer queries than a batch needs.
    """

    def build(qformer):
        return TunedSum(qformer, recipe)

    return train_on_qformer(
        "tuned sum", "tuned_sum", build, recipe, encoder, benchmarks, val, score, stop_after=stop_after, progress=progress
    )
