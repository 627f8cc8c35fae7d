"""Triplets whose target is drawn by a latent diffusion from the edited caption.

The reference is a picture of the set; only the target is generated, so a batch's negatives are generated too and their looks give
nothing away. CompoDiff generates both pictures from one noise; that is not done here (our choice: one network evaluation instead of two).
Pictures are kept as PNG files and drawn in fixed batches, so an interrupted run goes on, and a longer run begins with a shorter one's.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from cirlib._atomic import atomic_path
from cirlib._cache import cache_dir
from cirlib.data.files import picture_set
from cirlib.data.triplets import Triplet, TripletSet, join_images
from cirlib.methods.map_to_compose.triplet_templates import Proposal
from cirlib.types import ImageSet, InputError

if TYPE_CHECKING:
    from cirlib.backbones.diffusion import LatentDiffusion

_BATCH = 8  # pictures drawn from one noise tensor; part of what decides a picture, so never a setting


def diffusion_triplets(
    proposals: Sequence[Proposal],
    captions: Mapping[str, str],
    images: ImageSet,
    diffusion: "LatentDiffusion",
    *,
    steps: int = 20,
    guidance: float = 3.0,
    seed: int = 0,
    folder: Path | None = None,
    progress: bool = True,
) -> TripletSet:
    """Draw the target of every proposal from its target caption.

    Slow on a CPU: `steps` network evaluations a picture, twice as many with guidance.

    Args:
        proposals: With target captions; these are the prompts.
        captions: Image id to caption, of the references.
        images: Holds the references.
        diffusion: The shipped miniature or a public checkpoint.
        steps: See `LatentDiffusion.sample`.
        guidance: See `LatentDiffusion.sample`.
        seed: Of the noise.
        folder: Where the pictures are kept; default is under the user's cache folder.
        progress: Show a bar while pictures are drawn.

    Returns:
        One triplet per proposal; its pictures are the references, in the order of `images`, and then the generated ones.

    Raises:
        InputError: If a target caption is empty or longer than the diffusion reads, or a reference is not among the pictures.
    """
    for proposal in proposals:
        if not proposal.target_caption or proposal.reference not in images:
            raise InputError(f"the edit {proposal.text!r} of {proposal.reference!r} lacks a target caption, or its picture is not there")
    folder = folder or cache_dir("generated")
    settings = {**diffusion.fingerprint, "steps": steps, "guidance": guidance, "seed": seed, "batch": _BATCH}
    prompts = [proposal.target_caption for proposal in proposals]
    paths: dict[str, Path] = {}
    for start in tqdm(range(0, len(prompts), _BATCH), desc="Drawing targets", unit="batch", disable=not progress):
        part = prompts[start : start + _BATCH]
        files = {_name(settings, start + slot, prompt): prompt for slot, prompt in enumerate(part)}
        paths |= {name: folder / f"{name}.png" for name in files}
        if not all(paths[name].exists() for name in files):
            drawn = diffusion.sample(diffusion.context_from_texts(part), steps, guidance, _noise_seed(seed, start))
            for name, picture in zip(files, drawn, strict=True):
                with atomic_path(paths[name]) as draft:
                    picture.save(draft)
    generated = picture_set(paths, paths.__getitem__)
    used = set(proposal.reference for proposal in proposals)
    triplets = tuple(
        Triplet(p.reference, p.text, target, captions.get(p.reference, ""), p.target_caption, p.edit)
        for p, target in zip(proposals, paths, strict=True)
    )
    references = images.select(image_id for image_id in images.ids if image_id in used)
    return TripletSet("diffusion", triplets, join_images(references, generated))


def _name(settings: Mapping, place: int, prompt: str) -> str:
    """Everything that decides a picture: settings, place in the noise, prompt."""
    text = json.dumps([settings, place, prompt], sort_keys=True)
    return f"generated-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def _noise_seed(seed: int, start: int) -> int:
    return seed * 1_000_003 + start
