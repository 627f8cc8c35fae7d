"""Truth over whole galleries: attribute values as numbers, and every correct answer to an edit at once."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from cirlib.data.atelier.schema import ATTRIBUTES, Design
from cirlib.types import Edit

NAMES = tuple(ATTRIBUTES)
_COLUMN = {name: column for column, name in enumerate(NAMES)}


def value_codes(designs: Sequence[Design]) -> Int[np.ndarray, "n a"]:
    """Attribute values as positions in the schema, -1 where an attribute does not apply."""
    return np.array([[ATTRIBUTES[name].values.index(d[name]) if name in d else -1 for name in NAMES] for d in designs], np.int64)


def find_positives(edit: Edit, reference: Int[np.ndarray, " a"], gallery: Int[np.ndarray, "g a"]) -> Bool[np.ndarray, " g"]:
    """Which pictures of a gallery answer an edit: the vectorised form of `edits.satisfies`, and equal to it.

    Args:
        edit: What changes.
        reference: Codes of the reference image.
        gallery: Codes of every candidate.
    """
    correct = np.ones(len(gallery), bool)
    for change in edit.changes:
        attribute = ATTRIBUTES[change.attribute]
        correct &= np.isin(gallery[:, _COLUMN[change.attribute]], [attribute.values.index(value) for value in change.allowed])
    for name in NAMES:
        if name in edit.attributes:
            continue
        same = gallery[:, _COLUMN[name]] == reference[_COLUMN[name]]
        if name == "second_color" and "pattern" in edit.attributes:  # a pattern that goes takes its second colour along
            same |= gallery[:, _COLUMN["pattern"]] == ATTRIBUTES["pattern"].values.index("solid")
        correct &= same
    return correct
