"""DQE-CIR as a method that the evaluation scores, and its checkpoints."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cirlib._atomic import atomic_write_text
from cirlib._hashing import hash_tensors
from cirlib.methods.dqe_cir.attributes import AttributeWeights
from cirlib.methods.dqe_cir.query import ComposedQuery
from cirlib.methods.qformer_encoder import QFormerEncoder, evaluating
from cirlib.methods.qformer_weights import load_behind_tower, save_behind_tower
from cirlib.types import Embeddings, ImageSet, InputError, Query

WEIGHTS, CARD = "weights.safetensors", "dqe_cir.json"


class DqeCir:
    """Composed queries with attribute weights over a gallery of several vectors a picture; the best of them is the score.

    With mode "none" it is QuRe's model. The gallery side has no attribute weights (inferred: the paper speaks of queries alone).

    Args:
        encoder: Gallery and walk over queries.
        composer: The queries; on the encoder's own Q-Former.
        name: As tables write it.

    Raises:
        InputError: If encoder and composer do not share their Q-Former.
    """

    def __init__(self, encoder: QFormerEncoder, composer: ComposedQuery, name: str = "DQE-CIR") -> None:
        if composer.qformer is not encoder.qformer:
            raise InputError("encoder and composer have two Q-Formers; make the composer with encoder.qformer")
        self.encoder = encoder
        self.composer = composer
        self.name = name

    @property
    def fingerprint(self) -> dict[str, str]:
        """What decides every output, for reports and keys."""
        own = self.composer.attributes
        kind = f"{own.mode}, {own.absent}, {'+'.join(own.groups)}"
        return {**self.encoder.fingerprint, "attributes": kind, "attribute_weights": hash_tensors(list(own.state_dict().values()))}

    def encode_gallery(self, images: ImageSet) -> Embeddings:
        """Unit rows (g, m, d), m vectors a picture, in the order of `images.ids`."""
        return self.encoder.gallery(images)

    def compose(self, queries: Sequence[Query], images: ImageSet) -> Embeddings:
        """Unit rows (q, d) of composed queries. `images` holds the reference images."""
        with evaluating(self.composer):
            return self.encoder.queries(queries, images, lambda tokens, texts: self.composer(tokens, texts).query)

    def attribute_weights(self, queries: Sequence[Query], images: ImageSet) -> tuple[Bool[Tensor, "q a"], Float[Tensor, "q a"]]:
        """Which attributes act on each query, and their weights in (0, 1), in the order of `composer.attributes.groups`.

        A weight means nothing where its attribute does not act.
        """
        present, weights, _ = self._composed(queries, images)
        return present, weights

    def attribute_log(self, queries: Sequence[Query], images: ImageSet) -> dict[str, Any]:
        """How strongly attributes act, over some queries, at least one.

        Returns:
            "present": share of the queries that each group acts on. "weight": mean weight over those, 0 where there are none. "cosine":
            mean cosine of a query with what it would be without attributes; near 1 before training, or they would disturb what is
            pretrained.
        """
        present, weights, cosine = self._composed(queries, images)
        groups, share = self.composer.attributes.groups, present.double().mean(dim=0)
        mean = (weights * present).sum(dim=0) / present.sum(dim=0).clamp(min=1)
        named = ({group: float(value) for group, value in zip(groups, values, strict=True)} for values in (share, mean))
        return {"present": next(named), "weight": next(named), "cosine": float(cosine.mean())}

    def _composed(self, queries: Sequence[Query], images: ImageSet) -> tuple[Tensor, Tensor, Tensor]:
        """Presence (q, a), weights (q, a) and cosine with the query without attributes (q,)."""
        count = len(self.composer.attributes.groups)
        found = [(torch.zeros(0, count, dtype=torch.bool), torch.zeros(0, count), torch.zeros(0))]
        with evaluating(self.composer):
            for tokens, texts, _ in self.encoder.references(queries, images):
                one = self.composer(tokens, texts)
                found.append((one.present.cpu(), one.weights.cpu(), (one.query * one.base).sum(dim=1).cpu()))
        present, weights, cosine = (torch.cat(rows) for rows in zip(*found, strict=True))
        return present, weights, cosine


def save_dqe_cir(method: DqeCir, folder: str | os.PathLike[str], recipe: Mapping[str, Any]) -> Path:
    """Write everything but the frozen vision tower, with what it was trained by; `load_dqe_cir` reads it.

    Args:
        method: A trained method.
        folder: Made when missing.
        recipe: How it was trained, as JSON can write it; kept for readers, not needed to load.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    own = method.composer.attributes
    card = {
        "method": method.name,
        "attributes": {"mode": own.mode, "groups": list(own.groups), "absent": own.absent},
        "base": method.encoder.qformer.name,
        "vision": method.encoder.qformer.vision_fingerprint,
        "template": method.encoder.template,
        "recipe": dict(recipe),
    }
    save_behind_tower(method.composer, method.composer.qformer, folder / WEIGHTS)
    atomic_write_text(folder / CARD, json.dumps(card, indent=2) + "\n")
    return folder


def load_dqe_cir(folder: str | os.PathLike[str], encoder: QFormerEncoder) -> DqeCir:
    """A saved method on a copy of the encoder's Q-Former, which gives the frozen vision tower.

    Args:
        folder: As `save_dqe_cir` wrote it.
        encoder: Over the checkpoint that the training started from; it stays as it is. Its own template counts, not the saved one.

    Raises:
        InputError: If the folder holds no such checkpoint, or the vision tower or the preprocessing is another one.
    """
    folder = Path(folder)
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        settings = card["attributes"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder} holds no trained DQE-CIR ({error}); give a folder with {CARD} and {WEIGHTS}") from error
    if card["vision"] != encoder.qformer.vision_fingerprint:
        raise InputError(
            f"{folder} was trained on another vision tower or preprocessing than {encoder.qformer.name} has; start from {card['base']}"
        )
    encoder = encoder.fresh()
    groups = settings["groups"] or ("color",)  # mode "none" has no groups
    composer = ComposedQuery(encoder.qformer, AttributeWeights(encoder.qformer, settings["mode"], groups, settings["absent"]))
    load_behind_tower(composer, encoder.qformer, folder / WEIGHTS)
    return DqeCir(encoder, composer.requires_grad_(False).eval(), card["method"])
