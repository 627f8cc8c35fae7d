"""Candidates from an 8-bit scan: every gallery row whose score could reach the threshold, which rises while the scan goes on.

Traffic    Codes are read once: g * d bytes. Scores live in one block of 32 MiB that is reused and hardly leaves the cache. A pass over it
           takes the maximum of 32 neighbours, which is all that most groups are asked; members are looked at where the maximum passes.
Threshold  A guess: the k-th best maximum so far, less what codes typically err by. It is checked by whoever has exact scores: if the k-th
           of these reaches `threshold`, then no row outside the candidates does, and the k best are among them. That is the certificate.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int

from cirlib.kernels.eight_bit import BLOCK, EightBitGallery, EightBitQuery, int8_product

_AREA = 1 << 23  # scores in the block: 32 MiB of int32
_GROUP = 32  # neighbours that share a maximum: two cache lines
_NEVER = 2**31 - 1  # above every score
_CAREFUL = 4.0  # typical errors that the guessed threshold stays below the k-th best
_STAGE = 1.5  # the threshold rises when the scanned part has grown so much


@dataclass
class Candidates:
    """What a scan hands back.

    Attributes:
        line: Query of each candidate, ascending.
        row: Its gallery row, ascending within a query.
        threshold: Exact score that each query's k-th best must reach; +inf for a query with more candidates than its quota, which has none.
    """

    line: Int[torch.Tensor, " n"]
    row: Int[torch.Tensor, " n"]
    threshold: Float[torch.Tensor, " q"]


@dataclass
class _Found:
    """Candidates so far, in pieces: query, place in the order of the codes, upper bound of the centred score."""

    line: list[torch.Tensor] = field(default_factory=list)
    place: list[torch.Tensor] = field(default_factory=list)
    upper: list[torch.Tensor] = field(default_factory=list)
    size: int = 0

    def add(self, line: torch.Tensor, place: torch.Tensor, upper: torch.Tensor) -> None:
        self.line.append(line)
        self.place.append(place)
        self.upper.append(upper)
        self.size += len(line)

    def prune(self, threshold: Float[torch.Tensor, " q"], quota: int) -> Int[torch.Tensor, " r"]:
        """Keep what can still reach the threshold. Queries with more than `quota` of them lose all, and are told."""
        line, place, upper = (torch.cat(pieces) for pieces in (self.line, self.place, self.upper))
        reaching = upper >= threshold.index_select(0, line)
        counts = torch.bincount(line[reaching], minlength=len(threshold))
        keep = (reaching & (counts <= quota).index_select(0, line)).nonzero()[:, 0]
        self.line, self.place, self.upper = ([piece.index_select(0, keep)] for piece in (line, place, upper))
        self.size = len(keep)
        return (counts > quota).nonzero()[:, 0]


def scan(index: EightBitGallery, query: EightBitQuery, bound: Float[torch.Tensor, "q b"], k: int, quota: int) -> Candidates:
    """Gather the candidates of each query.

    Args:
        index: Codes of the gallery.
        query: Codes of at most some thousand queries; more take more memory, not more time each.
        bound: Error that a score may have, per query and block of the gallery.
        k: Rows whose exact scores the threshold is meant to stay below; at most the size of the gallery.
        quota: Candidates that one query may have. A query with more is given up.
    """
    lines, rows = len(query.codes), len(index)
    width = max(1, _AREA // (lines * BLOCK)) * BLOCK
    block = torch.empty(lines * min(width, len(index.codes)), dtype=torch.int32)
    unit = query.step[:, None] * index.step  # (q, b)
    margin = _CAREFUL * query.typical.amax(dim=1)
    best = torch.full((lines, k), -torch.inf)
    threshold = torch.full((lines,), -torch.inf, dtype=torch.float64)
    waiting, found, stage = [], _Found(), 0.0
    for start in range(0, rows, width):
        stop = min(start + width, rows)
        part = slice(start // BLOCK, -(-stop // BLOCK))
        scores = _scores(query, index, start, stop, block)  # (q, b, 64, 32)
        groups = scores.amax(dim=-1)  # (q, b, 64)
        fine = not start and groups[0].numel() < 4 * k  # too few maxima for a first threshold
        waiting.append(((scores if fine else groups).flatten(2) * unit[:, part, None].float()).flatten(1))
        if stop >= stage or stop == rows:
            best = torch.cat([best, *waiting], dim=1).topk(k, dim=1, sorted=False).values
            waiting, stage = [], _STAGE * stop
            threshold = torch.maximum(threshold, best.amin(dim=1).double() - margin)
        _gather(found, scores, groups, threshold, bound[:, part], unit[:, part], start)
        if found.size > 2 * lines * quota or stop == rows:
            threshold[found.prune(threshold, quota)] = torch.inf
    line, place = found.line[0], found.place[0]
    key = (line * rows + index.order.index_select(0, place)).sort().values
    line = key // rows
    return Candidates(line, key - line * rows, threshold + query.offset)


def _scores(query: EightBitQuery, index: EightBitGallery, start: int, stop: int, block: torch.Tensor) -> Int[torch.Tensor, "q b m 32"]:
    """Integer scores of some codes, by block and group; the columns that fill up the last block never pass."""
    codes = index.codes[start : -(-stop // BLOCK) * BLOCK]
    scores = block[: len(query.codes) * len(codes)].view(len(query.codes), len(codes))
    int8_product(query.codes, codes, scores)
    scores[:, stop - start :] = -_NEVER
    return scores.view(len(scores), -1, BLOCK // _GROUP, _GROUP)


def _gather(
    found: _Found,
    scores: Int[torch.Tensor, "q b m 32"],
    groups: Int[torch.Tensor, "q b m"],
    threshold: Float[torch.Tensor, " q"],
    bound: Float[torch.Tensor, "q b"],
    unit: Float[torch.Tensor, "q b"],
    start: int,
) -> None:
    """Add the rows of these blocks whose score plus bound reaches the threshold."""
    least = ((threshold[:, None] - bound) / unit).ceil_().clamp_(1 - _NEVER, _NEVER).int()  # (q, b)
    group = (groups >= least[:, :, None]).view(-1).nonzero()[:, 0]
    members = scores.view(-1, _GROUP).index_select(0, group)  # (n, 32)
    cell = group // groups.shape[2]  # one of (q, b)
    hit = (members >= least.view(-1).index_select(0, cell)[:, None]).view(-1).nonzero()[:, 0]
    score, group, cell = members.view(-1).index_select(0, hit), group.index_select(0, hit // _GROUP), cell.index_select(0, hit // _GROUP)
    upper = score * unit.flatten().index_select(0, cell) + bound.flatten().index_select(0, cell)
    line = cell // groups.shape[1]
    found.add(line, start + group * _GROUP + hit % _GROUP - line * (groups[0].numel() * _GROUP), upper)
