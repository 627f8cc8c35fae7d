"""Reading attributes off image embeddings with text prompts: what a CLIP sees of atelier, attribute by attribute."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from cirlib.data.atelier.prompts import value_phrases
from cirlib.data.atelier.schema import ATTRIBUTES, Design
from cirlib.methods.clip_encoder import ClipEncoder


def value_embeddings(encoder: ClipEncoder, name: str) -> Float[Tensor, "v d"]:
    """One unit row per value of an attribute: the mean over its prompts, as CLIP's own prompt ensembles are made."""
    rows = [encoder.texts(value_phrases(name, value)).mean(0) for value in ATTRIBUTES[name].values]
    return normalize(torch.stack(rows), dim=-1)


def read_attribute(encoder: ClipEncoder, images: Float[Tensor, "n d"], name: str) -> list[str]:
    """The value whose prompts lie nearest to each picture."""
    nearest = (images @ value_embeddings(encoder, name).T).argmax(-1)
    return [ATTRIBUTES[name].values[int(value)] for value in nearest]


def attribute_hits(encoder: ClipEncoder, images: Float[Tensor, "n d"], designs: Sequence[Design]) -> Mapping[str, Float[np.ndarray, " n"]]:
    """Per attribute and picture: 1 where the value is read right, 0 where not, NaN where the attribute does not apply.

    An attribute that applies to none of the pictures is left out.
    """
    hits = {}
    for name in (name for name in ATTRIBUTES if any(name in design for design in designs)):
        read = read_attribute(encoder, images, name)
        hits[name] = np.array([np.nan if name not in d else float(d[name] == value) for d, value in zip(designs, read, strict=True)])
    return hits


def majority_share(designs: Sequence[Design], name: str) -> float:
    """Accuracy of always answering the most frequent value, over the pictures that the attribute applies to: chance for a lazy reader."""
    values = [design[name] for design in designs if name in design]
    return max(values.count(value) for value in set(values)) / len(values)
