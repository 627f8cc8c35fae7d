"""What atelier adds to the makers of triplets: captions and edits from the truth, and designs read back from generated pictures.

Triplets are for training, so everything here refuses the held-out splits.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from cirlib.backbones.vlm_lessons import full_caption
from cirlib.data.atelier.captions import caption
from cirlib.data.atelier.design import sample_sibling
from cirlib.data.atelier.edits import build_edit, caption_pair
from cirlib.data.atelier.schema import ATTRIBUTES, Design, allowed_values
from cirlib.data.atelier.splits import generator, picture
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.map_to_compose.triplet_templates import Proposal
from cirlib.methods.zero_shot import read_attribute
from cirlib.types import ImageSet, InputError

SPLITS = ("pretrain", "train")
_CAPTIONS, _EDITS = 4, 5  # purposes of the generators, apart from those of pictures, scenes, queries and captions to retrieve


def designs(split: str, count: int) -> dict[str, Design]:
    """Image id to design, of the first `count` pictures of a training split; the truth that `triplet_quality` asks for."""
    _check(split)
    return {shown.id: shown.design for shown in (picture(split, index) for index in range(count))}


def own_captions(split: str, count: int, style: Literal["sampled", "full"] = "sampled", seed: int = 0) -> dict[str, str]:
    """Image id to a true caption, of the first `count` pictures of a training split.

    Args:
        split: "train" or "pretrain".
        count: Pictures.
        style: "sampled" names some attributes in random words, as the miniature CLIP was taught; "full" names everything in fixed words, as
            the miniature vision-language model writes and rewrites.
        seed: Of the sampled captions.
    """
    _check(split)
    shown = [picture(split, index) for index in range(count)]
    if style == "full":
        return {one.id: full_caption(one.design) for one in shown}
    return {one.id: caption(np.random.default_rng([seed, _CAPTIONS, index]), one.design) for index, one in enumerate(shown)}


def atelier_proposals(split: str, pictures: int, count: int, seed: int = 0) -> tuple[Proposal, ...]:
    """Edits in the words of atelier's own grammar, each from a random picture towards a design one or two attributes away.

    Whether any picture shows that design is not looked at; a rewritten caption and retrieval, or a diffusion, have to find the target.

    Args:
        split: "train" or "pretrain".
        pictures: References are the first so many pictures.
        count: Edits; those of a smaller count are the first of a larger one.
        seed: Of the choice.
    """
    _check(split)
    rng = generator(split, seed, _EDITS)
    proposals: list[Proposal] = []
    while len(proposals) < count:
        before = picture(split, int(rng.integers(pictures)))
        edit = build_edit(rng, before.design, sample_sibling(rng, before.design))
        if edit is not None:
            proposals.append(Proposal(before.id, " and ".join(caption_pair(rng, edit, before.design)), edit=edit))
    return tuple(proposals)


def read_designs(encoder: ClipEncoder, images: ImageSet) -> dict[str, Design]:
    """Image id to the design that the miniature CLIP reads off a picture: an estimate, for pictures that nobody designed.

    The category is read first and decides which attributes are. Readings that contradict each other stay; such a design is not legal, and
    `triplet_quality` compares attributes one by one.
    """
    rows = encoder.images(images).rows
    read = {name: read_attribute(encoder, rows, name) for name in ATTRIBUTES}
    found: dict[str, Design] = {}
    for row, image_id in enumerate(images.ids):
        design: dict[str, str] = {}
        for name in ("category", "pattern", *ATTRIBUTES):
            if name not in design and (name in ("category", "pattern") or _applies(design, name)):
                design[name] = read[name][row]
        found[image_id] = {name: design[name] for name in ATTRIBUTES if name in design}
    return found


def _applies(design: Mapping[str, str], name: str) -> bool:
    if name == "second_color":
        return design["pattern"] != "solid"
    return bool(allowed_values({**design, "pattern": "solid"}, name))


def _check(split: str) -> None:
    if split not in SPLITS:
        raise InputError(f"triplets from atelier's split {split!r} asked for; train on {' or '.join(SPLITS)}, the others measure")
