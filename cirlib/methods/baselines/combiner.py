"""CLIP4Cir's Combiner (Baldrati et al. 2022): a small network fuses two frozen CLIP features; the gallery stays plain CLIP.

    p = [drop(relu(P_t t)), drop(relu(P_x x))],   lambda = sigmoid(MLP(p)),   f = O drop(relu(C p))
    query = norm( f + lambda t + (1 - lambda) x )

Sizes, dropout, order of layers and the fixed scale of 100 as in the released code. Two things differ: features come in at unit length, as
our cache keeps them (our choice), and CLIP's own fine-tuning, the paper's first stage, is left out, so that the gallery needs no second
index; `tuned_sum` stands for that stage on the backbone of DQE-CIR.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from cirlib._hashing import hash_tensors
from cirlib.methods.baselines.contrast import (
    ContrastRecipe,
    Score,
    TrainedBaseline,
    Triplets,
    contrast_loss,
    in_batch_scores,
    train_baseline,
    used_pictures,
)
from cirlib.methods.clip_encoder import ClipEncoder
from cirlib.types import Benchmark, Embeddings, ImageSet, InputError, Query


@dataclass(frozen=True)
class CombinerRecipe(ContrastRecipe):
    """Settings of a Combiner's training. Released code: Adam at 2e-5, batches of 4,096, 300 epochs, no weight decay."""

    batch: int = 4096
    weight_decay: float = 0.0
    projection: int = 4  # width of the projections, in widths of CLIP's joint space
    hidden: int = 8  # width of the hidden layers, in the same unit
    dropout: float = 0.5
    scale: float = 100.0  # of the scores in the loss

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.projection, self.hidden) < 1 or not 0 <= self.dropout < 1 or self.scale <= 0:
            raise InputError(
                f"projection {self.projection}, hidden {self.hidden}, dropout {self.dropout}, scale {self.scale} in a Combiner's recipe; "
                "use widths of 1 or more, a dropout in [0, 1) and a scale above 0"
            )


class Combiner(nn.Module):
    """The network. Its call takes a batch of unit rows of references, texts and targets and returns the loss.

    Args:
        width: Of CLIP's joint space, d.
        recipe: Widths, dropout and scale; its seed draws the weights.
    """

    def __init__(self, width: int, recipe: CombinerRecipe) -> None:
        super().__init__()
        inner, hidden = recipe.projection * width, recipe.hidden * width
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.project_text, self.project_image = nn.Linear(width, inner), nn.Linear(width, inner)
            self.combine, self.output = nn.Linear(2 * inner, hidden), nn.Linear(hidden, width)
            self.share = nn.Sequential(
                nn.Linear(2 * inner, hidden), nn.ReLU(), nn.Dropout(recipe.dropout), nn.Linear(hidden, 1), nn.Sigmoid()
            )
        self.drop = nn.Dropout(recipe.dropout)
        self.scale = recipe.scale

    def query(self, image: Float[Tensor, "b d"], text: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """Unit rows of composed queries."""
        return self.fuse(image, text)[0]

    def fuse(self, image: Float[Tensor, "b d"], text: Float[Tensor, "b d"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b 1"]]:
        """Unit rows of composed queries, and the share of the text (0 to 1) in the sum beside what the network adds."""
        projected = torch.cat([self.drop(self.project_text(text).relu()), self.drop(self.project_image(image).relu())], dim=-1)
        share = self.share(projected)  # (b, 1)
        added = self.output(self.drop(self.combine(projected).relu()))
        return normalize(added + share * text + (1 - share) * image, dim=-1), share

    def forward(self, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        """The loss of (image, text, target) rows."""
        image, text, target = batch
        return {"contrast": contrast_loss(in_batch_scores(self.query(image, text), target), 1 / self.scale)}


class CombinerMethod:
    """Queries of a Combiner over plain CLIP galleries; a gallery index of the same CLIP is reused.

    Args:
        encoder: Frozen CLIP features.
        combiner: The network.
        name: For tables.
    """

    def __init__(self, encoder: ClipEncoder, combiner: Combiner, name: str = "Combiner") -> None:
        self.encoder = encoder
        self.combiner = combiner
        self.name = name

    @property
    def fingerprint(self) -> dict[str, str]:
        """What decides an embedding, for reports."""
        return {**self.encoder.fingerprint, "combiner": hash_tensors(list(self.combiner.state_dict().values()))}

    def encode_gallery(self, images: ImageSet) -> Embeddings:
        """Plain CLIP image embeddings, (g, d) unit rows."""
        return self.encoder.images(images)

    def compose(self, queries: Sequence[Query], images: ImageSet) -> Embeddings:
        """Query rows (q, d): see `Combiner`."""
        return Embeddings(tuple(query.id for query in queries), self._fused(queries, images)[0])

    def text_shares(self, queries: Sequence[Query], images: ImageSet) -> Float[Tensor, " q"]:
        """How much the Combiner leans on each query's text: 1 is text only, 0 is image only, before what the network adds."""
        return self._fused(queries, images)[1].squeeze(1)

    @torch.no_grad()
    def _fused(self, queries: Sequence[Query], images: ImageSet) -> tuple[Tensor, Tensor]:
        rows = self.encoder.references(queries, images), self.encoder.texts([query.text for query in queries])
        return self.combiner.eval().fuse(*rows)


def train_combiner(
    recipe: CombinerRecipe,
    encoder: ClipEncoder,
    benchmarks: Benchmark | Sequence[Benchmark],
    val: Benchmark,
    score: Score,
    *,
    stop_after: int | None = None,
    progress: bool = True,
) -> TrainedBaseline:
    """Train a Combiner on frozen features, which are computed once. Arguments as in `contrast.train_baseline`.

    Raises:
        InputError: If the splits are not train and val, or there are fewer queries than a batch needs.
    """
    triplets = Triplets(benchmarks)
    combiner = Combiner(encoder.clip.embedding_dim, recipe)
    method = CombinerMethod(encoder, combiner)
    features: list[Tensor] = []

    def read(rows):
        if not features:  # at the first step, so that a training that is read back encodes nothing
            features.extend(torch.cat(parts) for parts in zip(*(_features(encoder, part) for part in triplets.parts), strict=True))
        return tuple(table[torch.from_numpy(rows)] for table in features)

    start = encoder.fingerprint
    return train_baseline("combiner", recipe, combiner, method, start, triplets, val, score, read, stop_after=stop_after, progress=progress)


def _features(encoder: ClipEncoder, benchmark: Benchmark) -> tuple[Tensor, Tensor, Tensor]:
    """Unit rows of references, texts and targets, one per query."""
    pictures = encoder.images(benchmark.references.select(used_pictures(benchmark)))
    place = {image_id: row for row, image_id in enumerate(pictures.ids)}
    references, targets = (torch.tensor([place[getattr(query, end)] for query in benchmark.queries]) for end in ("reference", "target"))
    return pictures.rows[references], encoder.texts([query.text for query in benchmark.queries]), pictures.rows[targets]
