"""Counting who outranks a positive, tile by tile: fp32 settles nearly every comparison, exact scores the rest.

Formula    #(score > score of the positive) + #(score equal and gallery row smaller)
Traffic    The largest score of every 32 rows is taken while the tile is in cache. For a positive near the top of a large gallery few of
           them reach its margin, and only those 32 scores are looked at. Queries for which many do are compared with both ends of their
           margin, the truths are added block by block, and the blocks whose two sums differ are looked at.
Memory     Two scratch tiles, used again for every tile, as fresh ones would cost their page faults; and the blocks put aside.
Precision  Truths are 0.0 and 1.0: torch compares and adds floats several times as fast as booleans, and a sum of 32 ones is exact.
"""

import math

import torch
from jaxtyping import Float, Int

from cirlib.kernels.exact import FixedPoint, margin, pair_scores, tile_scores

_DENSE = 64  # a tile with more than 1/64 of its pairs inside the margin (a collapsed model) is recomputed whole in float64
_BLOCK = 32  # gallery rows that are looked at together
_SPARSE = 8  # a query of which more than 1/8 of the blocks reach its margin is counted in all of them
_WAITING = 1 << 16  # blocks that are put aside before they are settled; 8 MiB


def outranks(score: torch.Tensor, row: torch.Tensor, other_score: torch.Tensor, other_row: torch.Tensor) -> torch.Tensor:
    """The one definition of *better*: a higher score, or the same score and a smaller gallery row."""
    return (score > other_score) | ((score == other_score) & (row < other_row))


class OutrankCount:
    """Counts of all tiles so far. Every tile of the gallery is added once for every query and column, then `finish` hands the counts over.

    Args:
        query: All queries.
        gallery: The gallery, whose chunks are compared plain where `gallery.filters_plain`.
        lines: Query row of each line.
        positives: Gallery rows of the positives of each line; -1 pads.
        scores: Their exact scores, in integer units.
    """

    def __init__(
        self,
        query: FixedPoint,
        gallery: FixedPoint,
        lines: Int[torch.Tensor, " q"],
        positives: Int[torch.Tensor, "q p"],
        scores: Float[torch.Tensor, "q p"],
    ) -> None:
        self.query, self.gallery, self.lines, self.positives, self.scores = query, gallery, lines, positives, scores
        unit = 1 / gallery.scale if gallery.filters_plain else 1.0
        self.low, self.high = (((scores + sign * margin(query, gallery)) * unit).float() for sign in (-1, 1))
        self.counts = torch.zeros_like(scores)  # whole numbers in float64, to which the sums of fp32 truths are added as they are
        self.seen = 0  # positives met among the close pairs, where each must turn up once
        self.waiting: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor, int, int, int]] = []  # blocks put aside; see `_put_aside`
        self.waits = 0
        self.scratch: dict[str, torch.Tensor] = {}

    def products(self, chunk: Float[torch.Tensor, "k *m d"], block: Float[torch.Tensor, "q d"]) -> Float[torch.Tensor, "n q"]:
        """Where the products of a tile may be kept: k * m rows, one column a query."""
        return self._scratch("products", chunk.shape[:-1].numel(), len(block))

    def add(self, tile: Float[torch.Tensor, "q k"], part: slice, column: int, rows: slice, block: torch.Tensor) -> None:
        """Count one tile for one column of positives.

        Args:
            tile: fp32 scores of the lines in `part`, a transposed view of (k, q).
            part: Lines of the tile.
            column: Column of `positives`.
            rows: Gallery rows of the tile.
            block: Integer rows of the queries, at least those of the tile.
        """
        size = tile.shape[1]
        tile = tile.T if size % _BLOCK == 0 else torch.nn.functional.pad(tile.T, (0, 0, 0, -size % _BLOCK), value=-torch.inf)
        tile = tile.view(-1, _BLOCK, tile.shape[1])  # (blocks, 32, q)
        hits = tile.amax(dim=1) >= self.low[part, column]  # (blocks, q)
        heavy = (hits.sum(dim=0) * _SPARSE > len(tile)).nonzero()
        if len(heavy):  # lines come by the score of their positive, lowest first: the heavy ones stand together
            size = int(heavy[-1]) + 1
            hits[:, :size] = False
            self._count_heavy(tile[:, :, :size], slice(part.start, part.start + size), column, rows, block)
        self._put_aside(tile, hits.nonzero(), part.start, column, rows)

    def finish(self) -> Int[torch.Tensor, "q p"]:
        """The counts.

        Raises:
            RuntimeError: If a positive was not close to its own score: products here are less precise than fp32.
        """
        self._settle()
        if self.seen != int((self.positives >= 0).sum()):
            raise RuntimeError("a positive fell outside the margin of its own score: the matrix product here is less precise than fp32")
        return self.counts.long()

    def _count_heavy(self, tile: Float[torch.Tensor, "n b q"], part: slice, column: int, rows: slice, block: torch.Tensor) -> None:
        """Count lines of a tile in which much reaches the margin."""
        truth = self._scratch("truth", *tile.shape)
        reached = torch.ge(tile, self.low[part, column], out=truth).sum(dim=1)  # (blocks, q)
        certain = torch.gt(tile, self.high[part, column], out=truth).sum(dim=1)
        close = reached.sub_(certain)
        if float(close.sum()) * _DENSE > tile.shape[2] * (rows.stop - rows.start + _DENSE):
            exact = tile_scores(block[: tile.shape[2]].double(), self.gallery.take(rows).double())
            row, places = self.positives[part, column], torch.arange(rows.start, rows.stop, device=self.counts.device)
            self.counts[part, column] += outranks(exact, places, self.scores[part, column, None], row[:, None]).sum(dim=1)
            self.seen += int(((row >= rows.start) & (row < rows.stop)).sum())
            return
        self.counts[part, column] += certain.mul_(close == 0).sum(dim=0)
        self._put_aside(tile, close.nonzero(), part.start, column, rows)

    def _put_aside(self, tile: torch.Tensor, where: Int[torch.Tensor, "n 2"], first: int, column: int, rows: slice) -> None:
        """Keep some (block, line) pairs of a tile, in which scores are to be looked at one by one."""
        if len(where):
            blocks, lines = where.unbind(dim=1)
            self.waiting.append((blocks, lines, tile[blocks, :, lines], first, column, rows.start))
            self.waits += len(lines)
            if self.waits > _WAITING:
                self._settle()

    def _settle(self) -> None:
        """Count in the blocks that wait, and compare their close pairs by their exact scores."""
        if not self.waiting:
            return
        blocks, lines, scores, *starts = zip(*self.waiting, strict=True)
        repeats = torch.tensor([len(part) for part in blocks], device=self.counts.device)
        first_line, column, first_row = (torch.tensor(start, device=repeats.device).repeat_interleave(repeats) for start in starts)
        line, score = torch.cat(lines) + first_line, torch.cat(scores)  # (n,), (n, 32)
        first_row += torch.cat(blocks) * _BLOCK
        self.waiting, self.waits = [], 0
        certain = score > self.high[line, column, None]
        self.counts.index_put_((line, column), certain.sum(dim=1).double(), accumulate=True)
        number, offset = ((score >= self.low[line, column, None]) & ~certain).nonzero(as_tuple=True)
        line, column, place = line[number], column[number], first_row[number] + offset
        row = self.positives[line, column]
        better = outranks(pair_scores(self.query, self.gallery, self.lines[line], place), place, self.scores[line, column], row)
        self.counts.index_put_((line, column), better.double(), accumulate=True)
        self.seen += int((place == row).sum())

    def _scratch(self, name: str, *shape: int) -> torch.Tensor:
        """An fp32 tensor whose memory is used again."""
        held = self.scratch.get(name)
        if held is None or held.numel() < math.prod(shape):
            held = self.scratch[name] = torch.empty(math.prod(shape), device=self.positives.device)
        return held[: math.prod(shape)].view(shape)
