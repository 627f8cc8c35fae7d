"""Pic2Word (Saito et al., CVPR 2023): the sentence "a photo of W" shall be found from its picture, and the picture from the sentence.

    W = phi(f)      t = text("a photo of W")      loss = symmetric InfoNCE of t and f over the batch, CLIP's own logit scale, frozen

Only phi learns. Read in the released code of the authors; defaults are theirs. The sources that we read do not say whether pictures are
augmented for Pic2Word, so features are computed once (our choice).
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from cirlib.backbones.clip import Clip
from cirlib.backbones.clip_text import text_tower
from cirlib.methods.batches import batch_rows
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.pseudo_words.features import image_features
from cirlib.methods.pseudo_words.fitting import Choice, TrainedMapper, check_recipe, fit_mapper, new_mapper, pictures_key
from cirlib.methods.pseudo_words.losses import contrast
from cirlib.methods.pseudo_words.method import PseudoWordMethod
from cirlib.methods.pseudo_words.prompts import COMMON, TRAINING
from cirlib.methods.pseudo_words.sentence import encode_sentences, sentence_tokens
from cirlib.types import ImageSet


@dataclass(frozen=True)
class Pic2WordRecipe:
    """Settings of one training. Released code: 30 epochs of CC3M at a batch of 1,024 are about 85,000 steps."""

    hidden: int = 512  # width of the mapper
    dropout: float = 0.1
    steps: int = 85_000
    batch: int = 1024  # pictures that are told apart
    rate: float = 1e-4  # peak learning rate
    weight_decay: float = 0.1
    warmup: int = 10_000  # steps
    constant: bool = False  # the rate stays at its peak after the warm-up; else half a cosine to zero
    look_every: int = 2_000  # steps between two looks at val
    save_every: int = 500  # steps between two states on disk
    seed: int = 0

    def __post_init__(self) -> None:
        check_recipe(self)


class Pic2WordObjective(nn.Module):
    """The loss over a batch of image embeddings. CLIP is no part of the module, so nothing of it is trained or saved.

    Args:
        clip: Frozen.
        mapper: What is trained.
    """

    def __init__(self, clip: Clip, mapper: nn.Module) -> None:
        super().__init__()
        self.mapper = mapper
        self._clip, self._tokens, self._scale = clip, sentence_tokens(clip, [TRAINING]), clip.logit_scale

    def forward(self, features: Float[Tensor, "b d"]) -> dict[str, Tensor]:
        """{"contrast": symmetric InfoNCE of sentences and pictures}."""
        sentences = encode_sentences(self._clip, self._tokens.repeat(len(features)), self.mapper(features))
        return {"contrast": contrast(sentences, features, self._scale)}


def train_pic2word(
    recipe: Pic2WordRecipe,
    encoder: ClipEncoder,
    images: ImageSet,
    choice: Choice | None = None,
    *,
    template: str = COMMON,
    stop_after: int | None = None,
    progress: bool = True,
) -> TrainedMapper:
    """Train Pic2Word from scratch or from the last saved state; a finished training is read back.

    Args:
        recipe: All settings.
        encoder: Frozen CLIP with its cache.
        images: Pictures without labels.
        choice: What weights are chosen on; None keeps the last ones.
        template: Sentence of the resulting method.
        stop_after: Stop early, as an interruption would.
        progress: Show bars.

    Raises:
        InputError: If there are fewer pictures than a batch needs.
    """
    clip = encoder.clip
    features = image_features(encoder, images).to(clip.device)
    width = text_tower(clip).token_embedding.weight.shape[1]
    mapper = new_mapper("pic2word", recipe.seed, clip.device, d=clip.embedding_dim, t=width, hidden=recipe.hidden, dropout=recipe.dropout)
    return fit_mapper(
        "pic2word",
        recipe,
        Pic2WordObjective(clip, mapper),
        lambda step: features[batch_rows(len(features), recipe.batch, step, recipe.seed).to(features.device)],
        PseudoWordMethod(encoder, mapper, "Pic2Word", template),
        {"images": pictures_key(images)},
        choice,
        stop_after=stop_after,
        progress=progress,
    )
