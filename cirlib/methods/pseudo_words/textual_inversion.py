"""Textual inversion: a pseudo-word optimised for one picture, without any mapper (SEARLE's first step; "SEARLE-OTI" searches with it).

    loss = [ a (1 - cos(text(frame of W), f)) + b (1 - cos(text(phrase of W), text(phrase of the concept))) ] / (a + b)

Frame, concept (among those that CLIP finds nearest) and phrase are drawn anew at every step; the result is a moving average of W.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from cirlib.backbones.clip import Clip
from cirlib.backbones.clip_text import PLACEHOLDER, text_tower
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.pseudo_words.features import image_features
from cirlib.methods.pseudo_words.fitting import check_recipe, pictures_key
from cirlib.methods.pseudo_words.losses import turn
from cirlib.methods.pseudo_words.method import PseudoWordMethod
from cirlib.methods.pseudo_words.phrases import TEMPLATES, Phrases, nearest_concepts, phrases_key
from cirlib.methods.pseudo_words.prompts import COMMON
from cirlib.methods.pseudo_words.sentence import plain_sentences, pseudo_sentences
from cirlib.methods.training import Schedule, adamw_groups, train
from cirlib.types import ImageSet, InputError


@dataclass(frozen=True)
class InversionRecipe:
    """Settings of an inversion; defaults are SEARLE's."""

    steps: int = 350
    batch: int = 32  # pictures that are inverted side by side; they do not influence each other
    rate: float = 2e-2  # constant
    weight_decay: float = 0.01
    image_weight: float = 1.0  # a
    phrase_weight: float = 0.5  # b
    concepts: int = 15  # nearest ones that phrases are drawn from
    ema: float = 0.99  # decay of the moving average; lower it with fewer steps, or the average stays near its random start
    spread: float = 0.02  # standard deviation of the start
    seed: int = 0

    def __post_init__(self) -> None:
        check_recipe(self)
        if self.image_weight + self.phrase_weight <= 0:
            raise InputError("image_weight and phrase_weight are both 0 in an InversionRecipe; give one of them a weight")


class PhraseDrawer:
    """Draws a phrase about one of a picture's nearest concepts: (with the placeholder, with the concept).

    Args:
        encoder: CLIP.
        features: (n, d) image embeddings of the pictures.
        phrases: Concept to its phrases.
        count: Nearest concepts that are drawn from.
        templates: Frames by which CLIP reads the concepts' names.
    """

    def __init__(self, encoder: ClipEncoder, features: Tensor, phrases: Phrases, count: int, templates: Sequence[str]) -> None:
        if not phrases:
            raise InputError("no concepts given; give atelier_phrases() or read_phrases(file)")
        self.names, self.phrases = list(phrases), phrases
        self.nearest = nearest_concepts(encoder, features, self.names, count, templates).numpy()

    def __call__(self, rng: np.random.Generator, rows: Sequence[int]) -> tuple[list[str], list[str]]:
        """One phrase per picture, twice."""
        drawn = [self.names[int(rng.choice(self.nearest[row]))] for row in rows]
        holed = [self.phrases[name][int(rng.integers(len(self.phrases[name])))] for name in drawn]
        return holed, [phrase.replace(PLACEHOLDER, name) for phrase, name in zip(holed, drawn, strict=True)]


class InversionObjective(nn.Module):
    """The loss of pictures that are inverted side by side.

    Args:
        clip: Frozen.
        features: (n, d) image embeddings, not normalised.
        recipe: Settings.
    """

    def __init__(self, clip: Clip, features: Float[Tensor, "n d"], recipe: InversionRecipe) -> None:
        super().__init__()
        width = text_tower(clip).token_embedding.weight.shape[1]
        start = torch.randn(len(features), width, generator=torch.Generator().manual_seed(recipe.seed)) * recipe.spread
        self.words = nn.Parameter(start.to(clip.device))
        self.register_buffer("average", self.words.detach().clone())
        self.recipe = recipe
        self._clip, self._features = clip, features.to(clip.device)

    def fold(self) -> None:
        """Take what the last step left into the moving average."""
        self.average.lerp_(self.words.detach(), 1 - self.recipe.ema)

    def forward(self, batch: tuple[list[str], list[str], list[str]]) -> dict[str, Tensor]:
        """{"image", "phrase"}: the two weighted terms. `batch`: a frame and a phrase with "$" per picture, and the phrase in words."""
        frames, holed, spoken = batch
        clip, recipe = self._clip, self.recipe
        self.fold()
        whole = recipe.image_weight + recipe.phrase_weight
        image = turn(pseudo_sentences(clip, frames, self.words), self._features)
        phrase = turn(pseudo_sentences(clip, holed, self.words), plain_sentences(clip, spoken))
        return {"image": recipe.image_weight / whole * image, "phrase": recipe.phrase_weight / whole * phrase}


@torch.enable_grad()  # a search, which asks for no gradients, inverts too
def invert(
    recipe: InversionRecipe,
    encoder: ClipEncoder,
    images: ImageSet,
    phrases: Phrases,
    *,
    templates: Sequence[str] = TEMPLATES,
    progress: bool = True,
) -> Float[Tensor, "n t"]:
    """Pseudo-words of pictures, each optimised on its own; finished ones are read back from the user's cache folder.

    Args:
        recipe: Settings. A picture's random start and draws depend on the seed and on its place among `images`.
        encoder: Frozen CLIP with its cache.
        images: Pictures.
        phrases: Concept to phrases with "$"; see `phrases`.
        templates: Frames with "{}", one drawn per picture and step.
        progress: Show bars.

    Raises:
        InputError: If there are no pictures or no phrases, or a picture cannot be read.
    """
    if not len(images):
        raise InputError("no pictures to invert; give at least one")
    features = image_features(encoder, images)
    key = {"recipe": asdict(recipe), "clip": encoder.fingerprint, "phrases": phrases_key(phrases, templates)}
    rows = []
    for start in range(0, len(images), recipe.batch):
        part = features[start : start + recipe.batch]
        objective = InversionObjective(encoder.clip, part, recipe)
        draw = PhraseDrawer(encoder, part, phrases, recipe.concepts, templates)
        train(
            "textual inversion",
            {**key, "images": pictures_key(images.select(images.ids[start : start + recipe.batch])), "start": start},
            objective,
            _batches(draw, templates, len(part), [recipe.seed, start]),
            adamw_groups(objective, recipe.rate, recipe.weight_decay),
            Schedule(recipe.steps, floor=1.0),
            seed=recipe.seed,
            save_every=recipe.steps,
            progress=progress,
        )
        objective.fold()
        rows.append(objective.average.detach().cpu())
    return torch.cat(rows)


def _batches(draw: PhraseDrawer, templates: Sequence[str], count: int, seed: list[int]):
    def batch(step: int) -> tuple[list[str], list[str], list[str]]:
        rng = np.random.default_rng([*seed, step])
        frames = [templates[int(number)].format(PLACEHOLDER) for number in rng.integers(len(templates), size=count)]
        return frames, *draw(rng, range(count))

    return batch


class InversionMethod(PseudoWordMethod):
    """SEARLE-OTI: the reference images of the benchmark are inverted themselves; a `cirlib.types.Method` without a mapper.

    Args:
        recipe: Settings of the inversion.
        encoder: CLIP with its cache.
        phrases: See `invert`, and so are `templates` and `progress`.
        template: Sentence with "$" and "{modification_text}".
    """

    def __init__(
        self,
        recipe: InversionRecipe,
        encoder: ClipEncoder,
        phrases: Phrases,
        template: str = COMMON,
        *,
        templates: Sequence[str] = TEMPLATES,
        name: str = "SEARLE-OTI",
        progress: bool = True,
    ) -> None:
        super().__init__(encoder, nn.Identity(), name, template)
        self.recipe, self.phrases, self.templates, self.progress = recipe, phrases, templates, progress

    def words(self, images: ImageSet) -> Float[Tensor, "n t"]:
        """Inverted pseudo-words in the order of `images.ids`."""
        return invert(self.recipe, self.encoder, images, self.phrases, templates=self.templates, progress=self.progress)
