"""What every method on a Q-Former shares: vision tokens that are computed once, the gallery, and the walk over queries.

The vision tower is frozen, so its tokens are read from a cache for ever; everything behind them may be trained, so galleries and queries
are computed anew with the weights of the moment. `fresh` starts a training from a copy of the pretrained weights.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm import tqdm

from cirlib.backbones.qformer import QFormer
from cirlib.backbones.qformer_cache import VisionTokens, encode_vision_tokens
from cirlib.types import Embeddings, ImageSet, InputError, Query

CIRCO_TEMPLATE = "a photo of $ that {}"  # released code of QuRe and of others: how CIRCO's texts are wrapped


class QFormerEncoder:
    """Galleries and queries of a Q-Former, with its weights of the moment.

    Args:
        qformer: The model; its vision tower is frozen, the rest may be trained.
        progress: Show bars.
        batch: Pictures or queries per forward pass.
        template: What a modification text is put into, with one `{}`; "{}" leaves it as the benchmark gives it. `CIRCO_TEMPLATE` for CIRCO.
        dtype: Of the rows of galleries. float16 halves CIRCO's 123,403 x 32 x 256 numbers to 2 GB.

    Raises:
        InputError: If the template has no place for the text.
    """

    def __init__(
        self, qformer: QFormer, progress: bool = True, batch: int = 64, *, template: str = "{}", dtype: torch.dtype = torch.float32
    ) -> None:
        if template.count("{}") != 1:
            raise InputError(f"template {template!r} given; it must hold {{}} once, where the modification text goes")
        self.qformer = qformer
        self.progress = progress
        self.batch = batch
        self.template = template
        self.dtype = dtype
        self._vision: dict[ImageSet, VisionTokens] = {}

    @property
    def fingerprint(self) -> dict[str, str]:
        """What decides every output, for reports and keys; hashed anew each time, because training changes it."""
        return {**self.qformer.fingerprint, "template": self.template}

    def fresh(self) -> "QFormerEncoder":
        """The same encoder over its own copy of the weights, from which a training can start; the frozen vision tower is shared."""
        shared = (*self.qformer.vision_tower, self.qformer.tokenizer, self.qformer.transform)
        qformer = copy.deepcopy(self.qformer, {id(part): part for part in shared})
        other = QFormerEncoder(qformer, self.progress, self.batch, template=self.template, dtype=self.dtype)
        other._vision = self._vision  # tokens of one tower
        return other

    def vision(self, images: ImageSet) -> VisionTokens:
        """Frozen vision tokens of a set, computed where the cache has none. Raises InputError naming a picture that cannot be read."""
        if images not in self._vision:
            self._vision[images] = encode_vision_tokens(self.qformer, images, batch_size=self.batch, progress=self.progress)
        return self._vision[images]

    def forget(self, images: ImageSet) -> None:
        """Drop what is held of a set, so that its pictures can leave memory; what lies on disk stays."""
        self._vision.pop(images, None)

    def table(self, images: ImageSet, most_mib: float = 4096) -> "TokenTable":
        """Vision tokens of a set by row number, for training; see `TokenTable`."""
        return TokenTable(self.vision(images), most_mib)

    def gallery(self, images: ImageSet) -> Embeddings:
        """Unit rows (g, m, d) of every picture with the weights of the moment, in eval mode, in the order of `images.ids`."""
        tokens, blocks = self.vision(images), []
        with evaluating(self.qformer), tqdm(total=len(images), desc="Gallery", unit="picture", disable=not self.progress) as bar:
            for start in range(0, len(images), self.batch):
                block = self.qformer.image_tokens(tokens.rows(images.ids[start : start + self.batch]))
                blocks.append(block.to(self.dtype))
                bar.update(len(block))
        empty = torch.empty(0, self.qformer.n_tokens, self.qformer.embed_dim, dtype=self.dtype, device=self.qformer.device)
        return Embeddings(images.ids, torch.cat([empty, *blocks]))

    def text(self, query: Query) -> str:
        """The modification text within the template."""
        return self.template.replace("{}", query.text)

    def references(self, queries: Sequence[Query], images: ImageSet) -> Iterator[tuple[Float[Tensor, "b v w"], list[str], list[Query]]]:
        """Vision tokens of the reference images, texts within the template, and the queries themselves, one batch after another."""
        tokens = self.vision(images.select(dict.fromkeys(query.reference for query in queries)))
        for start in range(0, len(queries), self.batch):
            part = list(queries[start : start + self.batch])
            yield tokens.rows([query.reference for query in part]), [self.text(query) for query in part], part

    def queries(
        self, queries: Sequence[Query], images: ImageSet, compose: Callable[[Tensor, list[str]], Float[Tensor, "b d"]]
    ) -> Embeddings:
        """One row per query: `compose(vision tokens (b, v, w) of the references, texts)` batch by batch, in eval mode, without gradients.

        Args:
            queries: In the order of the rows.
            images: Holds the reference images.
            compose: Unit rows of a batch.
        """
        with evaluating(self.qformer):
            rows = [compose(tokens, texts) for tokens, texts, _ in self.references(queries, images)]
        empty = torch.empty(0, self.qformer.embed_dim, device=self.qformer.device)
        return Embeddings(tuple(query.id for query in queries), torch.cat([empty, *rows]))


class TokenTable:
    """Vision tokens of a set by row number: in memory where they fit, else read from disk batch by batch.

    Args:
        tokens: The tokens of a set.
        most_mib: Largest table that is held in memory, in MiB; FashionIQ with ViT-g takes 18 GB, atelier's miniature 21 kB a picture.
    """

    def __init__(self, tokens: VisionTokens, most_mib: float = 4096) -> None:
        self._tokens, self._held = tokens, None
        if len(tokens):
            first = tokens.rows(tokens.ids[:1])
            if first.nbytes * len(tokens) <= most_mib * 2**20:
                self._held = tokens.rows(tokens.ids)

    def __len__(self) -> int:
        return len(self._tokens)

    def rows(self, numbers: Int[Tensor, " b"]) -> Float[Tensor, "b v w"]:
        """Tokens of the pictures at these places of the set; a number may come more than once."""
        if self._held is not None:
            return self._held[numbers.cpu()]
        return self._tokens.rows([self._tokens.ids[number] for number in numbers.tolist()])


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode and no gradients; the mode from before comes back."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)
