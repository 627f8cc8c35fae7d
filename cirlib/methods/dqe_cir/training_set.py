"""What a training reads, by number: vision tokens of every picture that it needs, texts as word pieces, and who stands against whom."""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cirlib.backbones.qformer_text import TextTokens
from cirlib.methods.dqe_cir.mining import Pool
from cirlib.methods.dqe_cir.query import ComposedQuery
from cirlib.methods.qformer_encoder import QFormerEncoder, evaluating
from cirlib.types import Benchmark, InputError, Query


@dataclass(frozen=True)
class _Part:
    """One benchmark's share: the queries whose pictures are there, the pictures that it needs, and the candidates among them."""

    benchmark: Benchmark
    queries: tuple[Query, ...]
    pictures: tuple[str, ...]
    candidates: tuple[str, ...]

    @classmethod
    def of(cls, benchmark: Benchmark, pool: Literal["gallery", "targets"]) -> "_Part":
        """Queries that a missing picture spoils are left out, with a warning that counts them."""
        absent = set(benchmark.missing)
        queries = tuple(query for query in benchmark.queries if query.reference not in absent and query.target not in absent)
        if len(queries) < len(benchmark.queries):
            lost = len(benchmark.queries) - len(queries)
            warnings.warn(f"{lost} of {len(benchmark.queries)} training queries have a missing picture and are left out", stacklevel=4)
        if not queries:
            raise InputError(f"{benchmark.name} {benchmark.split} has no query to train on; give a split with targets and pictures")
        targets = tuple(dict.fromkeys(query.target for query in queries))
        candidates = targets if pool == "targets" else tuple(dict.fromkeys((*benchmark.gallery.ids, *targets)))
        pictures = tuple(dict.fromkeys((*candidates, *(query.reference for query in queries))))
        return cls(benchmark, queries, pictures, candidates)

    @property
    def key(self) -> Mapping[str, Any]:
        """What of it decides a training: names, texts, and the content of its pictures."""
        content = self.benchmark.references.content_hash
        told = [[q.reference, q.text, q.target] for q in self.queries], [[i, content(i)] for i in self.pictures], len(self.candidates)
        digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
        return {"name": self.benchmark.name, "split": self.benchmark.split, "part": self.benchmark.part, "content": digest}


class TrainingSet:
    """Queries and pictures of one or more benchmarks; each benchmark is a pool of its own, as FashionIQ's categories are in QuRe.

    Args:
        benchmarks: With public targets. Further positives are never learned from; they are counted where they stand as negatives.
        encoder: Gives vision tokens and word pieces.
        pool: Candidates for negatives: the "gallery" of each benchmark, or the "targets" of its queries alone.
        most_mib: Vision tokens are held in memory up to this size a benchmark, in MiB.

    Attributes:
        queries: All queries, in order.
        reference: (q,) picture of each query's reference.
        target: (q,) of its target.
        positives: Of each query, all correct pictures but the target.
        mates: (q, s) its look-alikes, -1 pads.
        pools: Which queries have which candidates.
        key: What decides a training, as JSON can write it.

    Raises:
        InputError: If there is nothing to train on, or a picture is absent that the benchmark does not say is missing.
    """

    def __init__(
        self,
        benchmarks: Sequence[Benchmark],
        encoder: QFormerEncoder,
        pool: Literal["gallery", "targets"] = "gallery",
        most_mib: float = 4096,
    ) -> None:
        if not benchmarks:
            raise InputError("no benchmark to train on; give one or more")
        parts = [_Part.of(benchmark, pool) for benchmark in benchmarks]
        self.encoder = encoder
        self.queries = tuple(query for part in parts for query in part.queries)
        self.key = [dict(part.key) for part in parts]
        self._tables = [encoder.table(part.benchmark.references.select(part.pictures), most_mib) for part in parts]
        reference, target, positives, mates, pools, first = [], [], [], [], [], 0
        for part in parts:
            row = {image_id: first + place for place, image_id in enumerate(part.pictures)}
            numbers = torch.arange(len(reference), len(reference) + len(part.queries))
            pools.append(Pool(numbers, torch.tensor([row[image_id] for image_id in part.candidates])))
            reference += [row[query.reference] for query in part.queries]
            target += [row[query.target] for query in part.queries]
            positives += [frozenset(row[i] for i in query.positives[1:] if i in row) for query in part.queries]
            mates += [[row[i] for i in query.subset if i in row and i != query.target] for query in part.queries]
            first += len(part.pictures)
        self.count = first
        self.reference, self.target, self.positives, self.pools = (
            torch.tensor(reference),
            torch.tensor(target),
            tuple(positives),
            tuple(pools),
        )
        widest = max(map(len, mates))
        self.mates = torch.tensor([row + [-1] * (widest - len(row)) for row in mates]).reshape(len(mates), widest).long()
        self._tokens = encoder.qformer.tokenize([encoder.text(query) for query in self.queries])

    def __len__(self) -> int:
        return len(self.queries)

    def vision(self, pictures: Int[Tensor, " b"]) -> Float[Tensor, "b v w"]:
        """Vision tokens of pictures."""
        if len(self._tables) == 1:
            return self._tables[0].rows(pictures)
        found, first = None, 0
        for table in self._tables:
            mine = ((pictures >= first) & (pictures < first + len(table))).nonzero().squeeze(1)
            rows = table.rows(pictures[mine] - first) if len(mine) else None
            if rows is not None:
                found = rows.new_empty(len(pictures), *rows.shape[1:]) if found is None else found
                found[mine] = rows
            first += len(table)
        return found

    def texts(self, queries: Int[Tensor, " b"]) -> TextTokens:
        """Word pieces of queries, padded to the longest of them."""
        tokens = self._tokens.select(queries)
        length = int(tokens.mask.sum(dim=1).max())
        return TextTokens(tokens.ids[:, :length], tokens.mask[:, :length], tokens.spans[:, :length], tokens.texts)

    def embed(self, composer: ComposedQuery) -> tuple[Float[Tensor, "q d"], Float[Tensor, "g m d"]]:
        """Every query and every picture with the weights of the moment, in eval mode."""
        size = self.encoder.batch
        with evaluating(composer):
            queries = [composer(self.vision(self.reference[rows]), self.texts(rows)).query for rows in torch.arange(len(self)).split(size)]
            pictures = [composer.qformer.image_tokens(self.vision(rows)) for rows in torch.arange(self.count).split(size)]
        return torch.cat(queries), torch.cat(pictures)
