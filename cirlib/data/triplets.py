"""Triplets to train on: a reference picture, a modification text and a target picture, with captions of both pictures where known.

The loaders of public triplet sets and the makers of synthetic ones both end here.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from cirlib.types import Edit, ImageSet, InputError


@dataclass(frozen=True)
class Triplet:
    """One training example of composed retrieval.

    Attributes:
        reference: Image id of the reference image.
        text: Modification text, or whatever stands in its place in the prompt (released code: for SynthTriplets18M the target's caption).
        target: Image id of the target.
        reference_caption: What the reference shows; empty where nobody said.
        target_caption: What the target shows or should show; empty where nobody said.
        edit: The structured edit that the text puts into words, where the maker knows it; quality is measured with it.
    """

    reference: str
    text: str
    target: str
    reference_caption: str = ""
    target_caption: str = ""
    edit: Edit | None = None


@dataclass(frozen=True)
class TripletSet:
    """Triplets with the pictures that they name.

    Attributes:
        name: Where they come from.
        triplets: In file order, or in the order in which they were made.
        images: Holds every reference and every target.
        missing: Image ids that the annotations name and the folder lacks; no triplet that is left names one.
    """

    name: str
    triplets: tuple[Triplet, ...]
    images: ImageSet
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for triplet in self.triplets:
            for image_id in (triplet.reference, triplet.target):
                if image_id not in self.images:
                    count = len(self.images)
                    raise InputError(f"{self.name}: a triplet names picture {image_id!r}, which is not among its {count} pictures")

    def __len__(self) -> int:
        return len(self.triplets)


def fill_reference_captions(triplets: Sequence[Triplet], captions: Mapping[str, str]) -> tuple[Triplet, ...]:
    """The same triplets with the reference captions of `captions`, image id to caption; captions that are there already are replaced.

    Raises:
        InputError: If a reference has no caption.

    Example:
        >>> fill_reference_captions([Triplet("a", "is red", "b")], {"a": "a blue dress"})[0].reference_caption
        'a blue dress'
    """
    for triplet in triplets:
        if not captions.get(triplet.reference):
            raise InputError(f"reference {triplet.reference!r} has no caption; give a caption for every reference of the triplets")
    return tuple(replace(triplet, reference_caption=captions[triplet.reference]) for triplet in triplets)


def first_sentence(caption: str) -> str:
    """A caption up to its first full stop, as the released code of Map-to-Compose cuts captions of multimodal language models.

    Example:
        >>> first_sentence("A red dress. It hangs on a wall.")
        'A red dress'
    """
    return caption.split(".", 1)[0].strip()


def keep_present(
    name: str, triplets: Sequence[Triplet], present: Callable[[str], bool], place: object, allow_missing: bool
) -> tuple[tuple[Triplet, ...], tuple[str, ...]]:
    """Triplets whose pictures are both there, and the ids of the missing pictures, sorted. A warning counts what is left out.

    Args:
        name: Of the set, for messages.
        triplets: In file order.
        present: Whether a picture of an id is there.
        place: Where it was looked for, for messages.
        allow_missing: Whether triplets may be left out.

    Raises:
        InputError: If pictures are missing and may not be, or no triplet is left.
    """
    named = sorted({image_id for triplet in triplets for image_id in (triplet.reference, triplet.target)})
    missing = tuple(image_id for image_id in named if not present(image_id))
    if not missing:
        return tuple(triplets), ()
    gone = set(missing)
    kept = tuple(triplet for triplet in triplets if gone.isdisjoint((triplet.reference, triplet.target)))
    found = f"{len(missing):,} of {len(named):,} pictures of {name} are not in {place}, such as {missing[0]!r}"
    if not kept:
        raise InputError(f"{found}; no triplet is left, so give the folder that holds the pictures")
    if not allow_missing:
        raise InputError(f"{found}; add them, or allow missing pictures to do without {len(triplets) - len(kept):,} triplets")
    warnings.warn(f"{found}; {len(triplets) - len(kept):,} of {len(triplets):,} triplets left out", stacklevel=3)
    return kept, missing


def join_images(first: ImageSet, second: ImageSet) -> ImageSet:
    """Two sets of pictures as one, `first`'s rows first.

    Raises:
        InputError: If both hold the same id.
    """
    for image_id in second.ids:
        if image_id in first:
            raise InputError(f"image {image_id!r} is in both sets of pictures; ids must be unique within the joined set")
    return ImageSet(
        (*first.ids, *second.ids),
        lambda image_id: (first if image_id in first else second).open(image_id),
        lambda image_id: (first if image_id in first else second).content_hash(image_id),
    )
