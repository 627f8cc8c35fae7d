"""Linear probes: how much of each attribute stands in some features, read by one logistic regression per attribute.

Our choice; no source of a method here has such an analysis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from cirlib.types import InputError

COMPONENTS = 256  # principal components that a probe sees, the same for all, so that wider features have no more parameters


@dataclass(frozen=True)
class Probe:
    """How well one attribute is read.

    Attributes:
        accuracy: Share of the held-out pictures read right.
        majority: Share that the most frequent value of the training pictures would get.
        pictures: Held-out pictures to which the attribute applies.
        hits: (m,) per held-out picture 1 where it is read right, 0 where not, NaN where the attribute does not apply.
    """

    accuracy: float
    majority: float
    pictures: int
    hits: Float[np.ndarray, " m"] = field(default_factory=lambda: np.empty(0), compare=False, repr=False)


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
        hits = np.full(len(held_out), np.nan)
        hits[other] = fitted.predict(held_out[other]) == truth
        probes[name] = Probe(float(np.nanmean(hits)), float((truth == known[counts.argmax()]).mean()), len(other), hits)
    return probes
