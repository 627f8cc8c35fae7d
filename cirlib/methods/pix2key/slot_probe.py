"""What linear probes read slots by: features of patches, of slots, and of what the language tower makes of the slots.

`cirlib.methods.probes` reads them. Our choice; the paper has no such analysis.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from cirlib.methods.pix2key.v_dict_ae import PROMPT, VDictAE
from cirlib.methods.probes import Probe, probe_attributes

__all__ = ["SOURCES", "Probe", "probe_attributes", "slot_features"]  # features and what reads them, from one place

SOURCES = ("patches", "slots", "states")


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
