"""What trained baselines on a Q-Former share: a module with a temperature, the method around it, and its training."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cirlib._hashing import hash_tensors
from cirlib.backbones.qformer import QFormer
from cirlib.methods.baselines.contrast import (
    ContrastRecipe,
    Score,
    Temperature,
    TrainedBaseline,
    Triplets,
    contrast_loss,
    in_batch_scores,
    train_baseline,
    used_pictures,
)
from cirlib.methods.qformer_encoder import QFormerEncoder, TokenTable, evaluating
from cirlib.types import Benchmark, Embeddings, ImageSet, Query

Batch = tuple[Tensor, list[str], Tensor]  # vision tokens (b, v, w) of references, texts, vision tokens of targets


@dataclass(frozen=True)
class QFormerRecipe(ContrastRecipe):
    """Settings of a baseline on a Q-Former."""

    temperature: float = 0.07  # at the start; learned


class ContrastiveQFormer(nn.Module, ABC):
    """A Q-Former whose queries learn to find their targets among those of the batch. A subclass says what a query is.

    Args:
        qformer: All but its frozen vision tower is trained.
        recipe: Of the training.
    """

    def __init__(self, qformer: QFormer, recipe: QFormerRecipe) -> None:
        super().__init__()
        self.qformer = qformer.unfreeze()
        self.temperature = Temperature(recipe.temperature)

    @abstractmethod
    def query(self, vision: Float[Tensor, "b v w"], texts: Sequence[str]) -> Float[Tensor, "b d"]:
        """Unit rows of composed queries from the vision tokens of the references and the texts."""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of a batch."""
        reference, texts, target = batch
        scores = in_batch_scores(self.query(reference, texts), self.qformer.image_tokens(target))
        return {"contrast": contrast_loss(scores, self.temperature())}


class QFormerBaseline:
    """A trained module as a method: galleries of m vectors a picture, one vector a query.

    Args:
        encoder: Over the module's own Q-Former.
        module: Makes the queries.
        name: For tables.
    """

    def __init__(self, encoder: QFormerEncoder, module: ContrastiveQFormer, name: str) -> None:
        self.encoder = encoder
        self.module = module
        self.name = name

    @property
    def fingerprint(self) -> dict[str, str]:
        """What decides an embedding, for reports."""
        own = [tensor for name, tensor in self.module.state_dict().items() if not name.startswith("qformer.")]
        return {**self.encoder.fingerprint, "module": f"{type(self.module).__name__} {hash_tensors(own)}"}

    def encode_gallery(self, images: ImageSet) -> Embeddings:
        """Unit rows (g, m, d); the best of a picture's m vectors counts."""
        return self.encoder.gallery(images)

    def compose(self, queries: Sequence[Query], images: ImageSet) -> Embeddings:
        """Unit rows (q, d)."""
        with evaluating(self.module):
            return self.encoder.queries(queries, images, self.module.query)


def train_on_qformer(
    name: str,
    folder: str,
    build: Callable[[QFormer], ContrastiveQFormer],
    recipe: QFormerRecipe,
    encoder: QFormerEncoder,
    benchmarks: Benchmark | Sequence[Benchmark],
    val: Benchmark,
    score: Score,
    *,
    stop_after: int | None = None,
    progress: bool = True,
) -> TrainedBaseline:
    """Train a module on a copy of the encoder's Q-Former; the encoder given stays as it is.

    Args:
        name: Of the method.
        folder: Of its states.
        build: From the copy to the module.
        recipe: All settings; the others are as in `contrast.train_baseline`.
        encoder: Where the training starts from.
        benchmarks: What to learn from, one or several.
        val: What weights are chosen on.
        score: Of a method on val.
        stop_after: Stop early, as an interruption would.
        progress: Show a bar.

    Raises:
        InputError: If the splits are not train and val, or there are fewer queries than a batch needs.
    """
    triplets, start, own = Triplets(benchmarks), encoder.fingerprint, encoder.fresh()
    module = build(own.qformer)
    reader, method = _Reader(own, triplets), QFormerBaseline(own, module, name)
    return train_baseline(folder, recipe, module, method, start, triplets, val, score, reader, stop_after=stop_after, progress=progress)


class _Reader:
    """Batches of triplets; vision tokens are looked up at the first one, so that a finished training needs none."""

    def __init__(self, encoder: QFormerEncoder, triplets: Triplets) -> None:
        self.encoder, self.triplets = encoder, triplets
        self.pictures = [used_pictures(part) for part in triplets.parts]
        self.place = [{image_id: row for row, image_id in enumerate(pictures)} for pictures in self.pictures]
        self.tables: list[TokenTable] = []

    def __call__(self, rows: Int[np.ndarray, " b"]) -> Batch:
        if not self.tables:
            parts = zip(self.triplets.parts, self.pictures, strict=True)
            self.tables = [self.encoder.table(part.references.select(pictures)) for part, pictures in parts]
        references, texts, targets = [], [], []
        for number, queries in self.triplets.split(rows):
            table, place = self.tables[number], self.place[number]
            references.append(table.rows(torch.tensor([place[query.reference] for query in queries])))
            targets.append(table.rows(torch.tensor([place[query.target] for query in queries])))
            texts += [self.encoder.text(query) for query in queries]
        return torch.cat(references), texts, torch.cat(targets)
