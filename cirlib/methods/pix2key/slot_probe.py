"""What slots hold, read by linear probes: one logistic regression per attribute, on patches, on slots, and on what the language tower
makes of the slots. Our choice; the paper has no such analysis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from cirlib.methods.pix2key.v_dict_ae import PROMPT, VDictAE
from cirlib.types import InputError

COMPONENTS = 256  # principal components that a probe sees, the same for all, so that wider features have no more parameters
SOURCES = ("patches", "slots", "states")


@dataclass(frozen=True)
class Probe:
    """How well one attribute is read.

    Attributes:
        accuracy: Share of the held-out pictures read right.
        majority: Share that the most frequent value of the training pictures would get.
        pictures: Held-out pictures to which the attribute applies.
    """

    accuracy: float
    majority: float
    pictures: int


@torch.no_grad()
def slot_features(model: VDictAE, images: Sequence[Image.Image], batch: int = 64) -> dict[str, Float[np.ndarray, "n f"]]:
    """Patches, slots and H_dict of pictures, each laid out as one row a picture."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in SOURCES}
    for start in range(0, len(images), batch):
        with model.adapted():
            patches = model.patches(images[start : start + batch]).float()
            slots = model.pooler(patches)
            states = model.vlm.slot_states(slots, PROMPT)
        for name, rows in zip(SOURCES, (patches, slots, states), strict=True):
            found[name].append(rows.flatten(1).float().cpu().numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def probe_attributes(
    train: Float[np.ndarray, "n f"],
    train_labels: Sequence[Mapping[str, str]],
    held_out: Float[np.ndarray, "m f"],
    held_out_labels: Sequence[Mapping[str, str]],
) -> dict[str, Probe]:
    """Fit one logistic regression per attribute and read the held-out pictures.

    Features are standardised and reduced to 256 principal components, or to as many as there are.

    Args:
        train: Features of the training pictures.
        train_labels: Their attributes; a missing one does not apply and is left out for that attribute.
        held_out: Features of other pictures.
        held_out_labels: Their attributes.

    Returns:
        One probe per attribute, in the order in which the training labels name them. Attributes with a single value among the training
        pictures, or none among the held-out ones, are left out.

    Raises:
        InputError: If rows and labels differ in number.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(train) != len(train_labels) or len(held_out) != len(held_out_labels):
        raise InputError(
            f"{len(train)} and {len(held_out)} rows with {len(train_labels)} and {len(held_out_labels)} labels given; give one label a row"
        )
    reduce = make_pipeline(StandardScaler(), PCA(min(COMPONENTS, *train.shape), random_state=0), StandardScaler())
    train, held_out = reduce.fit_transform(train), reduce.transform(held_out)
    probes = {}
    for name in dict.fromkeys(name for labels in train_labels for name in labels):
        rows = [row for row, labels in enumerate(train_labels) if name in labels]
        other = [row for row, labels in enumerate(held_out_labels) if name in labels]
        values = np.array([train_labels[row][name] for row in rows])
        truth = np.array([held_out_labels[row][name] for row in other])
        known, counts = np.unique(values, return_counts=True)
        if len(known) < 2 or not other:
            continue
        fitted = LogisticRegression(C=0.1, max_iter=1000, tol=1e-3).fit(train[rows], values)
        read = fitted.predict(held_out[other])
        probes[name] = Probe(float((read == truth).mean()), float((truth == known[counts.argmax()]).mean()), len(other))
    return probes
