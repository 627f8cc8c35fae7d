"""Stage 2, composing: adapters between the text blocks learn from triplets; mapper and injection stay as stage 1 left them.

    c = text embedding of "a photo of $ that {modification text}",  m = text embedding of "a photo of $", both about the reference image
    loss = 1/2 (one_way_contrast(c, target) + hard_contrast(c, target)) + map_weight * contrast(reference, m)
           + soft_weight * soft_alignment(reference caption, teacher, m)

Source: the released code, where `hard_contrast` mixes negatives that weigh nothing and the teacher is the target image.
"""

import copy
from dataclasses import asdict, dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cirlib._hashing import hash_tensors
from cirlib.backbones.clip import Clip
from cirlib.backbones.clip_text import fill_template
from cirlib.data.triplets import TripletSet
from cirlib.methods.batches import batch_rows
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.map_to_compose.composer import Composer, new_composing
from cirlib.methods.map_to_compose.fitting import fit
from cirlib.methods.map_to_compose.losses import hard_contrast, one_way_contrast, soft_alignment
from cirlib.methods.map_to_compose.method import MapToCompose
from cirlib.methods.map_to_compose.pictures import HELD_BYTES, Pictures
from cirlib.methods.map_to_compose.recipe import Stage2Recipe
from cirlib.methods.map_to_compose.stage1 import TrainedMapToCompose
from cirlib.methods.pseudo_words.fitting import Choice, hashed, pictures_key
from cirlib.methods.pseudo_words.losses import contrast
from cirlib.methods.pseudo_words.prompts import THAT, TRAINING
from cirlib.methods.pseudo_words.sentence import SentenceTokens, sentence_tokens
from cirlib.types import InputError

CHUNK = 256  # pictures whose keys are computed at once


@dataclass(frozen=True)
class ComposingBatch:
    """One step's triplets.

    Attributes:
        sentences: Filled templates.
        references: (b, d) image embeddings of the reference images, not normalised.
        targets: (b, d) those of the targets.
        captions: (b, d) text embeddings of the reference captions; None without L_soft2.
        keys: (b, a, p, h) of the references; None without injection, or where `tokens` stand in for them.
        tokens: (b, n, d) every projected token of the references, where keys are computed anew in every step.
    """

    sentences: SentenceTokens
    references: Float[Tensor, "b d"]
    targets: Float[Tensor, "b d"]
    captions: Float[Tensor, "b d"] | None
    keys: Float[Tensor, "b a p h"] | None
    tokens: Float[Tensor, "b n d"] | None


class ComposingLosses(nn.Module):
    """Losses of stage 2: "i2t", "t2i", "map" and "soft", weighted; those with weight 0 are left out.

    Args:
        composer: Its composing adapters learn.
        clip: Frozen CLIP.
        recipe: Weights, temperature, negatives, and the mode of the stage-1 modules.
    """

    def __init__(self, composer: Composer, clip: Clip, recipe: Stage2Recipe) -> None:
        super().__init__()
        self.composer, self.clip, self.recipe = composer, clip, recipe
        self.prompt = sentence_tokens(clip, [TRAINING])
        composer.requires_grad_(False)
        composer.composing.requires_grad_(True)

    def train(self, mode: bool = True) -> "ComposingLosses":
        """Train mode; the stage-1 modules stay in eval mode unless the recipe says otherwise."""
        super().train(mode)
        if not self.recipe.stage1_trains:
            for module in (self.composer.mapper, self.composer.injection):
                if module is not None:
                    module.eval()
        return self

    def forward(self, batch: ComposingBatch) -> dict[str, Float[Tensor, ""]]:
        """Losses of one batch by name."""
        words = self.composer.mapper(batch.references)
        keys = batch.keys if batch.tokens is None else self.composer.keys(batch.tokens)
        composed, mapped = self.composer(self.clip, batch.sentences, words, keys), None
        if self.recipe.map_weight or self.recipe.soft_weight:
            mapped = self.composer(self.clip, self.prompt.repeat(len(words)), words, keys)
        with torch.autocast(composed.device.type, enabled=False):
            return self._compare(batch, composed, mapped)

    def _compare(self, batch: ComposingBatch, composed: Tensor, mapped: Tensor | None) -> dict[str, Tensor]:
        recipe = self.recipe
        losses = {
            "i2t": one_way_contrast(batch.targets, composed, recipe.temperature) / 2,
            "t2i": hard_contrast(composed, batch.targets, recipe.temperature, recipe.negatives, recipe.mixing) / 2,
        }
        if recipe.map_weight:
            losses["map"] = recipe.map_weight * contrast(batch.references, mapped, 1 / recipe.temperature)
        if recipe.soft_weight:
            teacher = batch.references if recipe.teacher == "reference" else batch.targets
            losses["soft"] = recipe.soft_weight * soft_alignment(batch.captions, teacher, mapped, recipe.temperature)
        return losses


class ComposingBatches:
    """Batches by the step's number. CLIP runs when the first one is asked for: a training that is read back needs none.

    Args:
        recipe: Batch and seed.
        encoder: CLIP with its cache.
        composer: Its stage-1 modules compute keys.
        data: Triplets with their pictures.
    """

    def __init__(self, recipe: Stage2Recipe, encoder: ClipEncoder, composer: Composer, data: TripletSet) -> None:
        self.recipe, self.encoder, self.composer, self.data = recipe, encoder, composer, data
        batch_rows(len(data), recipe.batch, 0, recipe.seed)  # too few triplets are refused before anything is encoded

    def __call__(self, step: int) -> ComposingBatch:
        """Triplets of one step; a function of (seed, step) alone."""
        rows = batch_rows(len(self.data), self.recipe.batch, step, self.recipe.seed)
        triplets = [self.data.triplets[row] for row in rows.tolist()]
        references = torch.tensor([self.references.place[triplet.reference] for triplet in triplets])
        targets = torch.tensor([self.targets.place[triplet.target] for triplet in triplets])
        anew = self.composer.injection is not None and self.keys is None
        return ComposingBatch(
            sentence_tokens(self.encoder.clip, [fill_template(THAT, triplet.text) for triplet in triplets]),
            self.references.features[references],
            self.targets.features[targets],
            self.captions[rows] if self.recipe.soft_weight else None,
            None if self.keys is None else self.keys[references],
            self.references.tokens(references) if anew else None,
        )

    @cached_property
    def references(self) -> Pictures:
        """Features of the reference images."""
        ids = dict.fromkeys(triplet.reference for triplet in self.data.triplets)
        return Pictures(self.encoder, self.data.images.select(ids), tokens=self.composer.injection is not None)

    @cached_property
    def targets(self) -> Pictures:
        """Features of the targets."""
        ids = dict.fromkeys(triplet.target for triplet in self.data.triplets)
        return Pictures(self.encoder, self.data.images.select(ids), tokens=False)

    @cached_property
    def captions(self) -> Float[Tensor, "n d"]:
        """Unit rows of the reference captions; long ones are cut."""
        return self.encoder.texts([triplet.reference_caption for triplet in self.data.triplets]).to(self.encoder.clip.device)

    @cached_property
    @torch.no_grad()
    def keys(self) -> Float[Tensor, "n a p h"] | None:
        """Keys of the reference images, computed once while stage 1 rests; None without injection, in train mode, or beyond memory."""
        if self.composer.injection is None or self.recipe.stage1_trains:
            return None
        self.composer.injection.eval()
        count = len(self.references)
        if self.composer.keys(self.references.tokens([0])).nbytes * count > HELD_BYTES:
            return None
        return torch.cat([self.composer.keys(self.references.tokens(rows)) for rows in torch.arange(count).split(CHUNK)])


def train_stage2(
    recipe: Stage2Recipe,
    encoder: ClipEncoder,
    stage1: Composer,
    data: TripletSet,
    choice: Choice | None = None,
    *,
    name: str = "Map-to-Compose",
    stop_after: int | None = None,
    progress: bool = True,
) -> TrainedMapToCompose:
    """Train stage 2 on top of any mapper, with or without injection; a finished training is read back. `stage1` is left as it is.

    Args:
        recipe: All settings.
        encoder: Frozen CLIP with its cache.
        stage1: `trained.method.composer` of stage 1, or `Composer(mapper)` around any other mapper.
        data: Triplets; reference captions are not read where `soft_weight` is 0.
        choice: What weights are chosen on; None keeps the last ones.
        name: Name of the method in reports.
        stop_after: Stop early, as an interruption would.
        progress: Show a bar.

    Raises:
        InputError: If a reference caption is missing, or there are fewer triplets than a batch needs.
    """
    if recipe.soft_weight and (missing := [t.reference for t in data.triplets if not t.reference_caption]):
        raise InputError(
            f"{len(missing)} of {len(data)} triplets have no reference caption ({missing[0]!r}); L_soft2 needs one, or set soft_weight to 0"
        )
    composer = Composer(copy.deepcopy(stage1.mapper), copy.deepcopy(stage1.injection), new_composing(encoder.clip, recipe))
    method = MapToCompose(encoder, composer, name)
    told = [asdict(triplet) | {"edit": None} for triplet in data.triplets]
    used = dict.fromkeys(image_id for triplet in data.triplets for image_id in (triplet.reference, triplet.target))
    key = {"triplets": hashed(told), "pictures": pictures_key(data.images.select(used))}
    outcome = fit(
        "map_to_compose_stage2",
        recipe,
        ComposingLosses(composer, encoder.clip, recipe),
        ComposingBatches(recipe, encoder, composer, data),
        method,
        key | {"stage1": hash_tensors(Composer(stage1.mapper, stage1.injection).state_dict().values())},
        choice,
        stop_after=stop_after,
        progress=progress,
    )
    composer.requires_grad_(False)
    return TrainedMapToCompose(method, outcome)
