"""Rebuilding the negative sets of all queries with the current weights: chunked, exact, and logged.

Beside queries, gallery and the sets themselves, memory holds one block of scores and what the rule computes from it; products of single
vectors are never kept (see `cirlib.kernels.midzone`). No block or chunk size can change a set.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm import tqdm

from cirlib.kernels.midzone import relevance_blocks
from cirlib.methods.dqe_cir.negatives import NegativeRule
from cirlib.methods.dqe_cir.sets import NegativeSets
from cirlib.methods.dqe_cir.zones import allowed_candidates, gaps
from cirlib.types import InputError

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
_SAMPLE = 512  # queries that a rule is calibrated on, evenly spaced over those of a pool
_BIN = 0.0005  # width of the bins that percentiles of gaps are read from
_BINS = 4000  # of them: cosines differ by 2 at most


@dataclass(frozen=True)
class Pool:
    """Queries that search the same candidates, a garment category of FashionIQ for example.

    Attributes:
        queries: Rows of the queries.
        candidates: Gallery rows of the candidates, each once, in any order.
    """

    queries: Int[Tensor, " r"]
    candidates: Int[Tensor, " p"]


@dataclass(frozen=True)
class Mined:
    """What a rebuild found.

    Attributes:
        sets: One per query.
        widened: Which queries have a set that the rule's fallback chose.
        log: "rule", its name; "size": "mean", "std" and percentiles ("p1" to "p99") of the sets' sizes; "widened", a share; "bounds": what
            a calibrated rule read off each pool. Where scores were read also "gap": percentiles of all gaps above 0, to 0.0005; "above":
            mean number of candidates at or above the target; "mates", if they were given: the share of them that is inside the sets.
    """

    sets: NegativeSets
    widened: Bool[Tensor, " q"]
    log: dict[str, Any]


def mine(
    rule: NegativeRule,
    query: Float[Tensor, "q d"],
    gallery: Float[Tensor, "g *m d"],
    target: Int[Tensor, " q"],
    forbidden: Int[Tensor, "q f"] | None = None,
    *,
    pools: Sequence[Pool] | None = None,
    mates: Int[Tensor, "q s"] | None = None,
    query_block: int = 512,
    chunk_size: int = 2048,
    progress: bool = False,
) -> Mined:
    """Negative sets of all queries under a rule.

    A rule that calibrates itself does so once per pool, on at most 512 queries evenly spaced over it. `Random` reads no score: its sets are
    the pool without what is forbidden.

    Args:
        rule: What defines a set.
        query: Unit rows of the composed queries, with the current weights in eval mode.
        gallery: Unit rows of the pictures, (g, d) or (g, m, d).
        target: Gallery row of each query's target; never in its set.
        forbidden: Further gallery rows that a query's set may not hold, the reference above all; -1 pads, rows outside the pool do nothing.
        pools: Who searches what; by default everyone searches the whole gallery. Every query belongs to one pool, which holds its target.
        mates: Gallery rows of each query's look-alikes (CIRR's subset), -1 pads, for the log.
        query_block: Queries scored together.
        chunk_size: Gallery vectors multiplied at once. Neither size changes a set.
        progress: Show a bar.

    Raises:
        InputError: If shapes do not fit, rows lie outside, pools do not cover the queries, or a query is left without any candidate.

    Example:
        >>> from cirlib.methods.dqe_cir.negatives import MidZone
        >>> angle = torch.tensor([0.0, 0.2, 0.5, 0.7, 1.5])
        >>> gallery = torch.stack([angle.cos(), angle.sin()], dim=1)
        >>> mined = mine(MidZone(0.1, 0.3, least=1), gallery[:1], gallery, torch.tensor([1]), torch.tensor([[0]]))
        >>> mined.sets.of(0).tolist()  # gaps of 0.10 and 0.22; row 4 is easy
        [2, 3]
    """
    banned = torch.cat([_rows("targets", target[:, None], query, gallery), _rows("forbidden rows", forbidden, query, gallery)], dim=1)
    mates = _rows("mates", mates, query, gallery)
    if len(query) == 0 or (banned[:, 0] < 0).any():
        raise InputError(f"{len(query)} queries given; give 1 or more, each with a target in the gallery")
    tally = _Tally(len(query))
    pools = _pools(pools, len(query), len(gallery))
    bar = tqdm(total=len(query), desc=f"mining {rule.name}", unit=" queries", disable=not progress)
    for number, pool in enumerate(pools):
        board = _Board(pool, banned, mates, len(gallery))
        if not rule.reads_scores:
            for rows in pool.queries.split(query_block):
                tally.keep(number, board, rows, ~allowed_candidates(board.forbidden(rows)))
                bar.update(len(rows))
            continue
        fitted = _calibrated(rule, query, gallery, pool, board, chunk_size)
        tally.bounds += [fitted.bounds] if fitted.bounds else []
        for rows, scores in relevance_blocks(
            query, gallery, pool.queries, board.candidates, query_block=query_block, chunk_size=chunk_size
        ):
            zones = fitted.zone(scores, board.target(rows), board.forbidden(rows))
            tally.keep(number, board, rows, zones.members, zones.widened)
            tally.count(board, rows, scores, zones.members)
            bar.update(len(rows))
    bar.close()
    sets = tally.sets(() if rule.reads_scores else tuple(pool.candidates.cpu().sort().values for pool in pools))
    return Mined(sets, tally.widened, {"rule": rule.name, **tally.log(sets, rule.reads_scores)})


class _Board:
    """One pool with its columns, in gallery order."""

    def __init__(self, pool: Pool, banned: Int[Tensor, "q f"], mates: Int[Tensor, "q s"], gallery: int) -> None:
        self.candidates = pool.candidates.to(banned.device).sort().values
        place = torch.full((gallery + 1,), -1, device=banned.device)  # its last entry is where padding leads
        place[self.candidates] = torch.arange(len(self.candidates), device=banned.device)
        self.banned, self.mates = place[banned], place[mates]
        outside = pool.queries[(self.banned[pool.queries, 0] < 0).to(pool.queries.device)]
        if len(outside):
            raise InputError(f"the target of query {int(outside[0])} is not in its pool; a pool holds the targets of its queries")

    def target(self, rows: Int[Tensor, " r"]) -> Int[Tensor, " r"]:
        """Columns of the targets."""
        return self.banned[rows, 0]

    def forbidden(self, rows: Int[Tensor, " r"]) -> Bool[Tensor, "r p"]:
        """Candidates that no set may hold."""
        return self._marked(self.banned[rows])

    def mate(self, rows: Int[Tensor, " r"]) -> Bool[Tensor, "r p"]:
        """Look-alikes that a set may hold."""
        return self._marked(self.mates[rows]) & ~self.forbidden(rows)

    def _marked(self, columns: Int[Tensor, "r k"]) -> Bool[Tensor, "r p"]:
        marks = torch.zeros(len(columns), len(self.candidates) + 1, dtype=torch.bool, device=columns.device)
        return marks.scatter_(1, columns % marks.shape[1], True)[:, :-1]  # -1 falls into the last column


@dataclass
class _Tally:
    """Sets and figures, block by block."""

    queries: int
    bounds: list[dict[str, float]] = field(default_factory=list)
    above: int = 0
    mates: int = 0
    mates_inside: int = 0

    def __post_init__(self) -> None:
        self.widened = torch.zeros(self.queries, dtype=torch.bool)
        self.sizes = torch.zeros(self.queries, dtype=torch.int64)
        self.pool = torch.zeros(self.queries, dtype=torch.int64)
        self.blocks: list[tuple[Tensor, Tensor]] = []
        self.gaps = torch.zeros(_BINS, dtype=torch.int64)

    def keep(self, number: int, board: _Board, rows: Tensor, listed: Bool[Tensor, "r p"], widened: Tensor | None = None) -> None:
        """Remember what is listed for each query of a block."""
        rows = rows.cpu()
        self.sizes[rows], self.pool[rows] = listed.sum(dim=1).cpu(), number
        if widened is not None:
            self.widened[rows] = widened.cpu()
        self.blocks.append((rows, board.candidates[listed.nonzero()[:, 1]].int().cpu()))

    def count(self, board: _Board, rows: Tensor, scores: Float[Tensor, "r p"], members: Bool[Tensor, "r p"]) -> None:
        """Gaps and look-alikes of a block."""
        gap = gaps(scores, board.target(rows)).masked_fill_(board.forbidden(rows), torch.nan)
        positive = gap[gap > 0]
        self.gaps += torch.bincount((positive / _BIN).long().clamp_max_(_BINS - 1), minlength=_BINS).cpu()
        self.above += int((gap <= 0).sum())
        mate = board.mate(rows)
        self.mates += int(mate.sum())
        self.mates_inside += int((mate & members).sum())

    def sets(self, pools: tuple[Tensor, ...]) -> NegativeSets:
        """Everything listed, in the order of the queries."""
        offsets = torch.zeros(self.queries + 1, dtype=torch.int64)
        offsets[1:] = self.sizes.cumsum(0)
        listed = torch.empty(int(offsets[-1]), dtype=torch.int32)
        for rows, columns in self.blocks:
            sizes = self.sizes[rows]
            start = (offsets[rows] - sizes.cumsum(0) + sizes).repeat_interleave(sizes)
            listed[start + torch.arange(len(columns))] = columns
        return NegativeSets(offsets, listed, self.pool, pools)

    def log(self, sets: NegativeSets, read: bool) -> dict[str, Any]:
        """See `Mined`."""
        sizes = sets.sizes.double()
        spread = torch.quantile(sizes, torch.tensor(PERCENTILES, dtype=torch.float64) / 100).tolist()
        size = {"mean": float(sizes.mean()), "std": float(sizes.std(correction=0))} | _named(spread)
        log = {"size": size, "widened": float(self.widened.double().mean()), "bounds": self.bounds}
        if not read:
            return log
        log["gap"] = _named(_percentiles(self.gaps))
        log["above"] = self.above / self.queries
        return log | ({"mates": self.mates_inside / self.mates} if self.mates else {})


def _named(values: Sequence[float]) -> dict[str, float]:
    return {f"p{share}": value for share, value in zip(PERCENTILES, values, strict=True)} if values else {}


def _percentiles(counts: Int[Tensor, " n"]) -> list[float]:
    """Middle of the bin that holds each percentile; empty where there is nothing."""
    total = counts.cumsum(0)
    if not int(total[-1]):
        return []
    wanted = (torch.tensor(PERCENTILES) * total[-1] + 99) // 100  # the smallest count that reaches the share
    return ((torch.searchsorted(total, wanted) + 0.5) * _BIN).tolist()


def _calibrated(rule: NegativeRule, query: Tensor, gallery: Tensor, pool: Pool, board: _Board, chunk_size: int) -> NegativeRule:
    if not rule.calibrates:
        return rule
    count = min(len(pool.queries), _SAMPLE)
    rows = pool.queries[torch.linspace(0, len(pool.queries) - 1, count).round().long()]
    rows, scores = next(iter(relevance_blocks(query, gallery, rows, board.candidates, query_block=count, chunk_size=chunk_size)))
    return rule.calibrated(scores, board.target(rows), board.forbidden(rows))


def _rows(what: str, rows: Tensor | None, query: Tensor, gallery: Tensor) -> Int[Tensor, "q f"]:
    """A checked table of gallery rows on the device of the queries."""
    if rows is None:
        return torch.empty(len(query), 0, dtype=torch.int64, device=query.device)
    if rows.ndim != 2 or len(rows) != len(query) or rows.is_floating_point():
        raise InputError(f"{what} are {rows.dtype} {tuple(rows.shape)}; give whole numbers, one line for each of {len(query)} queries")
    if rows.numel() and not (int(rows.min()) >= -1 and int(rows.max()) < len(gallery)):
        raise InputError(f"{what} from {int(rows.min())} to {int(rows.max())} given; rows lie in [0, {len(gallery)}), -1 pads")
    return rows.to(query.device, torch.int64)


def _pools(pools: Sequence[Pool] | None, queries: int, gallery: int) -> Sequence[Pool]:
    if pools is None:
        return (Pool(torch.arange(queries), torch.arange(gallery)),)
    seen = torch.cat([pool.queries for pool in pools]) if pools else torch.empty(0, dtype=torch.int64)
    if not torch.equal(seen.cpu().sort().values, torch.arange(queries)):
        raise InputError(f"{len(pools)} pools with {len(seen)} queries given; each of {queries} queries belongs to exactly one pool")
    for pool in pools:
        rows = pool.candidates
        if not len(rows) or len(rows.unique()) != len(rows) or int(rows.min()) < 0 or int(rows.max()) >= gallery:
            raise InputError(f"a pool lists {len(rows)} candidates; list each once, as rows in [0, {gallery})")
    return pools
