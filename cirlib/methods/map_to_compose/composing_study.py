"""The makers of triplets over one pool of atelier's training pictures: same references to draw from, same reference captions, so that sets
differ in their texts and targets alone. Notebook 08 trains on them.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from cirlib.data.atelier import load_atelier, load_pictures
from cirlib.data.atelier.schema import Design
from cirlib.data.triplets import TripletSet, fill_reference_captions
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.map_to_compose.triplet_atelier import atelier_proposals, designs, own_captions, read_designs
from cirlib.methods.map_to_compose.triplet_diffusion import diffusion_triplets
from cirlib.methods.map_to_compose.triplet_retrieval import Rewrite, language_model_triplets, rewrite_proposals, template_triplets
from cirlib.methods.map_to_compose.triplets import TripletQuality, exact_triplets, triplet_quality
from cirlib.types import ImageSet, InputError

if TYPE_CHECKING:
    from cirlib.backbones.diffusion import LatentDiffusion


@dataclass(frozen=True)
class TripletPool:
    """Atelier's first training pictures and what is known of them.

    Makers read full captions, which name every attribute, because a target cannot be found by what its caption leaves out. Trainings read
    sampled ones, which are what the miniature CLIP was taught. Both are true (our choice).

    Attributes:
        pictures: How many; a multiple of a family.
        seed: Of edits and captions.
    """

    pictures: int
    seed: int = 0

    @cached_property
    def images(self) -> ImageSet:
        """The pictures."""
        return load_pictures("train", self.pictures)

    @cached_property
    def designs(self) -> dict[str, Design]:
        """Image id to what the picture shows; quality is measured with it, no maker but `exact` sees it."""
        return designs("train", self.pictures)

    @cached_property
    def full_captions(self) -> dict[str, str]:
        """Image id to the caption that makers read."""
        return own_captions("train", self.pictures, "full")

    @cached_property
    def captions(self) -> dict[str, str]:
        """Image id to the caption that trainings read."""
        return own_captions("train", self.pictures, seed=self.seed)

    def exact(self, count: int) -> TripletSet:
        """Edits that their targets satisfy and keep to, by construction.

        Raises:
            InputError: If the pictures do not have that many.
        """
        return self._set("exact", exact_triplets(load_atelier("train", self.pictures, count)))

    def templates(self, count: int, drawn: int = 1) -> TripletSet:
        """Caption edits by template, the target by common words; of `drawn` edits per triplet those that found a similar caption."""
        return self._set("template", template_triplets(self.full_captions, count, seed=self.seed, drawn=drawn))

    def language_model(self, count: int, rewrite: Rewrite) -> TripletSet:
        """Edits in atelier's words, put into captions by a language model, the target by common words."""
        proposals = atelier_proposals("train", self.pictures, count, self.seed)
        return self._set("language model", language_model_triplets(proposals, self.full_captions, rewrite))

    def diffusion(self, count: int, rewrite: Rewrite, model: "LatentDiffusion", steps: int = 20, guidance: float = 3.0) -> TripletSet:
        """The language model's first captions, each drawn by a diffusion as a new picture."""
        proposals = rewrite_proposals(atelier_proposals("train", self.pictures, count, self.seed), self.full_captions, rewrite)
        options = {"steps": steps, "guidance": guidance, "seed": self.seed, "progress": False}
        made = diffusion_triplets(proposals, self.full_captions, self.images, model, **options)
        return TripletSet("diffusion", fill_reference_captions(made.triplets, self.captions), made.images)

    def quality(self, data: TripletSet, encoder: ClipEncoder | None = None) -> TripletQuality:
        """How many triplets are right; designs of pictures that nobody designed are read by CLIP, and are estimates.

        Raises:
            InputError: If there are such pictures and no encoder.
        """
        foreign = data.images.select(image_id for image_id in data.images.ids if image_id not in self.designs)
        if len(foreign) and encoder is None:
            raise InputError(f"{len(foreign)} pictures of the {data.name} triplets have no known design; give an encoder that reads them")
        return triplet_quality(data.triplets, self.designs | (read_designs(encoder, foreign) if len(foreign) else {}))

    def _set(self, name: str, triplets) -> TripletSet:
        return TripletSet(name, fill_reference_captions(triplets, self.captions), self.images)
