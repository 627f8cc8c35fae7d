"""What a pseudo-word holds: linear probes on words and on their sentences, beside the image embedding that they were made from.

Our choice. A probe on the word shows what the mapper let through; one on "a photo of $" shows what of it the text tower reads.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.methods.probes import Probe, probe_attributes
from cirlib.methods.pseudo_words.features import image_features
from cirlib.methods.pseudo_words.method import PseudoWordMethod
from cirlib.methods.pseudo_words.prompts import TRAINING
from cirlib.types import ImageSet, InputError

IMAGE = "image embedding"
Labels = Sequence[Mapping[str, str]]


def probed_features(encoder: ClipEncoder, methods: Mapping[str, PseudoWordMethod], images: ImageSet) -> dict[str, Float[np.ndarray, "n f"]]:
    """Features of pictures by source: `IMAGE`, and of each method "NAME, word" and "NAME, sentence" ("a photo of $")."""
    found = {IMAGE: image_features(encoder, images).numpy()}
    for name, method in methods.items():
        found[f"{name}, word"] = method.words(images).cpu().numpy()
        found[f"{name}, sentence"] = method.sentences([TRAINING] * len(images), images.ids, images).numpy()
    return found


def probe_sources(
    train: Mapping[str, Float[np.ndarray, "n f"]],
    train_labels: Labels,
    held_out: Mapping[str, Float[np.ndarray, "m f"]],
    held_out_labels: Labels,
) -> dict[str, dict[str, Probe]]:
    """Source to attribute to probe; see `cirlib.methods.probes.probe_attributes`.

    Args:
        train: Features of the training pictures by source.
        train_labels: Their attributes.
        held_out: Features of other pictures, by the same sources.
        held_out_labels: Their attributes.

    Raises:
        InputError: If the sources differ, or rows and labels differ in number.
    """
    if train.keys() != held_out.keys():
        raise InputError(f"probes are trained on {', '.join(train)} and asked about {', '.join(held_out)}; give the same sources")
    return {source: probe_attributes(train[source], train_labels, held_out[source], held_out_labels) for source in train}


def mean_hits(probes: Mapping[str, Probe]) -> Float[np.ndarray, " m"]:
    """Per held-out picture: share of its attributes that are read right, for an interval over pictures.

    Raises:
        InputError: If there are no probes.
    """
    if not probes:
        raise InputError("no probes to average; give at least one attribute")
    table = np.stack([probe.hits for probe in probes.values()])  # (attributes, m)
    known = np.isfinite(table)
    return np.where(known, table, 0).sum(0) / np.maximum(known.sum(0), 1)
