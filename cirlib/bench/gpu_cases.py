"""What `cirlib bench gpu` measures: every kernel with its peers on the same inputs, and first of all whether results are right.

Inputs are random unit rows in fp16, larger than any cache, with two sets of queries in turn. "sorted" is a gallery whose scores ascend for
every query, which is the worst order for a selection that inserts. The peers are those of `gpu_peers`.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import normalize

from cirlib.bench.gpu_peers import installed, ranks_by_counting, recall, search_peers, slots_by_einsum
from cirlib.bench.gpu_time import Ceilings, measure_device

Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """Sizes of all cases.

    Attributes:
        search: (queries, gallery, dim, k) of searches.
        tokens: (queries, pictures, slots, dim) of the plain maximum over slots.
        signed: (queries, constraints, pictures, slots, dim).
        ranks: (queries, gallery, dim).
        mining: (queries, pool, vectors, dim) of relevance blocks.
        rerank: (queries, pool, dim, picks).
        loss: (queries, gallery, dim), with gradients for both.
        correct: (queries, gallery, dim, k) where results are compared with the reference.
    """

    search: tuple[tuple[int, int, int, int], ...]
    tokens: tuple[int, int, int, int]
    signed: tuple[int, int, int, int, int]
    ranks: tuple[int, int, int]
    mining: tuple[int, int, int, int]
    rerank: tuple[int, int, int, int]
    loss: tuple[int, int, int]
    correct: tuple[tuple[int, int, int, int], ...]


def sizes_for(memory_gib: float) -> Sizes:
    """Sizes for a GPU with so much memory: the largest gallery takes at most a quarter of it."""
    most = int(memory_gib * 2**30 / 4) // 1_000_000 * 1_000_000
    rows = {dim: min(10_000_000, most // (2 * dim) // 100_000 * 100_000) for dim in (512, 768, 1152)}
    return Sizes(
        search=(
            *((queries, rows[512], 512, k) for queries, k in ((1024, 100), (64, 50), (4096, 50), (1, 50), (16, 10), (256, 50))),
            *((1024, rows[dim], dim, 100) for dim in (768, 1152)),
        ),
        tokens=(1024, min(123_403, rows[512] // 32), 32, 256),
        signed=(64, 8, min(1_000_000, rows[512] // 20), 16, 512),
        ranks=(4096, min(1_000_000, rows[768]), 768),
        mining=(1024, 16_384, 32, 256),
        rerank=(1000, 1000, 512, 50),
        loss=(8192, 65_536, 512),
        correct=(
            (1, 1000, 512, 10),
            (17, 5003, 512, 50),
            (64, 100_000, 768, 50),
            (300, 20_000, 1152, 100),
            (1024, 50_000, 512, 10),
            (5, 700, 96, 700),
        ),
    )


@dataclass
class Bench:
    """What all cases share: device, speeds, number of runs, and the last gallery, which several cases search."""

    device: str
    ceilings: Ceilings
    repeats: int

    def rows(self, count: int, dim: int, seed: int) -> torch.Tensor:
        """Random unit rows in fp16, made in pieces."""
        generator = torch.Generator(self.device).manual_seed(seed)
        made = torch.empty(count, dim, dtype=torch.float16, device=self.device)
        for start in range(0, count, 1 << 18):
            piece = made[start : start + (1 << 18)]
            piece.copy_(normalize(torch.randn(piece.shape, generator=generator, device=self.device), dim=1))
        return made

    def row(
        self,
        case: str,
        provider: str,
        functions: Sequence[Callable[[], Any]],
        work: tuple[float, float, str],
        graph: bool = False,
        **more: Any,
    ) -> Row:
        """Measure one provider. `work` is bytes, operations and their kind."""
        told = measure_device(functions, self.device, self.repeats, graph=graph)
        floor = self.ceilings.floor_ms(*work)
        row = {"case": case, "provider": provider, **told, "floor_ms": floor, **more}
        if told["p50_ms"]:
            row |= {"times_floor": round(told["p50_ms"] / floor, 3) if floor else None}
            row |= {"tops": round(work[1] / told["p50_ms"] / 1e9, 2), "gbps": round(work[0] / told["p50_ms"] / 1e6, 1)}
        return row


def check(bench: Bench, sizes: Sizes) -> list[str]:
    """Compare search, ranks and slot scores with the references; the problems found, none if all is right."""
    from cirlib.kernels import triton_ranks, triton_search
    from cirlib.kernels.reference import target_ranks, top_k
    from cirlib.kernels.triton_scan import slot_maxima

    wrong = []
    for queries, count, dim, k in sizes.correct:
        query, gallery = bench.rows(queries, dim, 1), bench.rows(count, dim, 2)
        gallery[count // 2] = gallery[0]  # a tie, which goes by row
        rows, scores = (found.to(bench.device) for found in top_k(query.cpu(), gallery.cpu(), k))
        for kind in triton_search.KINDS:
            found = [triton_search.search(query, gallery, k, index=triton_search.prepare(gallery, kind)) for _ in range(2)]
            if not all(torch.equal(one.rows, rows) and torch.equal(one.scores, scores) for one in found):
                wrong.append(f"search, {kind}, {queries} x {count} x {dim}, k = {k}")
        target = torch.arange(queries, device=bench.device) % count
        if not torch.equal(triton_ranks.ranks(query, gallery, target).cpu(), target_ranks(query.cpu(), gallery.cpu(), target.cpu())):
            wrong.append(f"ranks, {queries} x {count} x {dim}")
        slots = gallery[: count // 8 * 8].view(-1, 8, dim)
        constraints, sign = query[:1].expand(4, -1)[None], torch.tensor([[1.0, -0.5, 2.0, 0.0]], device=bench.device)
        exact = torch.einsum("cd,gsd->cgs", constraints[0].double(), slots.double()).amax(dim=-1).T @ sign[0].double()
        if float((slot_maxima(constraints, slots, sign)[0] - exact).abs().max()) > 1e-4:
            wrong.append(f"slots, 4 x {count // 8} x 8 x {dim}")
    return wrong


def search_case(bench: Bench, size: tuple[int, int, int, int], peers: bool = True, ascending: bool = False) -> Iterator[Row]:
    """One search: the scan alone in 16 and 8 bits, whole searches on a prepared gallery, and the peers."""
    from cirlib.kernels import triton_search
    from cirlib.kernels.triton_scan import group_maxima

    queries, count, dim, k = size
    name = f"search-{queries}x{count}x{dim}-k{k}" + ("-sorted" if ascending else "")
    gallery, asked = bench.rows(count, dim, 0), [bench.rows(queries, dim, seed) for seed in (1, 2)]
    if ascending:
        asked = [normalize(asked[0][:1] + 0.02 * rows, dim=1) for rows in asked]
        gallery = gallery[(gallery @ asked[0][0]).argsort()]
    work = {
        "half": (2.0 * count * dim, 2.0 * queries * count * dim, "half"),
        "int8": (1.0 * count * dim, 2.0 * queries * count * dim, "int8"),
    }
    best = torch.empty(0)
    for kind in triton_search.KINDS if not ascending else ("half",):
        index = triton_search.prepare(gallery, kind)
        coded = [triton_search.encode_query(index, rows.float() * 2**26).rows for rows in asked]
        scans = [functools.partial(group_maxima, rows, index.rows) for rows in coded]
        yield bench.row(name, f"scan-{kind}", scans, work[kind], graph=queries <= 64)
        for statistical in (False, True) if kind == "int8" else (False,):
            search = functools.partial(triton_search.search, gallery=gallery, k=k, index=index, statistical=statistical)
            found = search(asked[0])
            best = found.rows if not len(best) else best
            more = {
                "certified": float(found.certified.float().mean()),
                "escalated": found.details["escalated"],
                "recall": recall(found.rows, best),
            }
            provider = f"cirlib-{kind}" + ("-statistical" if statistical else "")
            yield bench.row(name, provider, [functools.partial(search, rows) for rows in asked], work[kind], **more)
        del index
    for provider, function in search_peers(bench.device, size) if peers else ():
        share = recall(function(asked[0], gallery, k), best)
        yield bench.row(name, provider, [functools.partial(function, rows, gallery, k) for rows in asked], work["half"], recall=share)


def tiles_case(bench: Bench, size: tuple[int, int, int, int]) -> Iterator[Row]:
    """The scan with other tiles: what to choose is a question for the clock."""
    from cirlib.kernels.triton_scan import Tile, group_maxima

    queries, count, dim, _ = size
    query, gallery = [bench.rows(queries, dim, seed) for seed in (1, 2)], bench.rows(count, dim, 0)
    shapes = [
        (128, 256, 64, 8, 3),
        (128, 256, 64, 8, 4),
        (128, 128, 64, 8, 4),
        (128, 256, 128, 8, 2),
        (128, 128, 64, 4, 4),
        (64, 256, 64, 4, 4),
    ]
    if queries <= 64:
        width = max(16, 1 << (queries - 1).bit_length())
        shapes = [(width, 128, 128, 4, 4), (width, 128, 64, 4, 6), (width, 256, 64, 4, 4), (width, 64, 128, 4, 6), (width, 256, 64, 8, 4)]
    for shape in shapes:
        for bulk in (True, False):
            tile = Tile(*shape, swap=queries <= 64)
            scans = [functools.partial(group_maxima, rows, gallery, tile=tile, tma=bulk) for rows in query]
            provider = "x".join(map(str, shape[:3])) + f"-w{shape[3]}-s{shape[4]}" + ("" if bulk else "-pointers")
            yield bench.row(f"tiles-{queries}x{count}x{dim}", provider, scans, (2.0 * count * dim, 2.0 * queries * count * dim, "half"))


def slots_case(bench: Bench, size: tuple[int, int, int, int, int]) -> Iterator[Row]:
    """Constraints x slots, signed if there are several."""
    from cirlib.kernels.triton_scan import slot_maxima

    queries, parts, pictures, slots, dim = size
    name = f"slots-{queries}x{parts}-{pictures}x{slots}x{dim}"
    gallery = bench.rows(pictures * slots, dim, 0).view(pictures, slots, dim)
    asked = [bench.rows(queries * parts, dim, seed).view(queries, parts, dim) for seed in (1, 2)]
    sign = torch.ones(queries, parts, device=bench.device)
    sign[:, 1::2] = -1
    operations = 2.0 * queries * parts * pictures * slots * dim
    work = (2.0 * pictures * slots * dim, operations, "half")
    yield bench.row(name, "cirlib", [functools.partial(slot_maxima, rows, gallery, sign) for rows in asked], work)
    yield bench.row(name, "einsum", [functools.partial(slots_by_einsum, rows, gallery, sign) for rows in asked], work)
    maxsim = installed("late_interaction_kernels", "maxsim")
    if maxsim is not None and parts == 1:
        some = asked[0][: max(1, queries // 16)]  # one program a pair: a sixteenth of the queries, stated as such
        part = tuple(number * len(some) / queries if place == 1 else number for place, number in enumerate(work))
        yield bench.row(name, f"late-interaction-kernels, {len(some)} queries", [functools.partial(maxsim, some, gallery)], part)


def ranks_case(bench: Bench, size: tuple[int, int, int]) -> Iterator[Row]:
    """Ranks of targets near their queries, from embeddings."""
    from cirlib.kernels import triton_ranks, triton_search

    queries, count, dim = size
    gallery = bench.rows(count, dim, 0)
    target = torch.arange(queries, device=bench.device) * (count // queries)
    asked = [normalize(gallery[target] + 2.0 * bench.rows(queries, dim, seed), dim=1) for seed in (1, 2)]
    work = (2.0 * count * dim, 2.0 * queries * count * dim, "half")
    index = triton_search.prepare(gallery)
    name = f"ranks-{queries}x{count}x{dim}"
    ranks = functools.partial(triton_ranks.ranks, gallery=gallery, target=target, index=index)
    yield bench.row(name, "cirlib", [functools.partial(ranks, rows) for rows in asked], work, exact=True)
    counts = [functools.partial(ranks_by_counting, rows, gallery, target) for rows in asked]
    same = float((counts[0]() == ranks(asked[0])).float().mean())
    yield bench.row(name, "torch, fp16 scores", counts, work, exact=False, equal=same)


def chunked_cases(bench: Bench, sizes: Sizes) -> Iterator[Row]:
    """What is chunked torch on purpose: relevance blocks of mining, and reranking."""
    from cirlib.kernels.midzone import relevance_blocks
    from cirlib.kernels.mmr import mmr_order

    queries, pool, vectors, dim = sizes.mining
    query, gallery = bench.rows(queries, dim, 1), bench.rows(pool * vectors, dim, 0).view(pool, vectors, dim)
    work = (2.0 * pool * vectors * dim, 2.0 * queries * pool * vectors * dim, "half")
    blocks = [lambda: [scores for _, scores in relevance_blocks(query, gallery)]]
    yield bench.row(f"midzone-{queries}x{pool}x{vectors}x{dim}", "cirlib, exact", blocks, work)
    sign = torch.ones(queries, 1, device=bench.device)
    yield bench.row(f"midzone-{queries}x{pool}x{vectors}x{dim}", "einsum", [lambda: slots_by_einsum(query[:, None], gallery, sign)], work)
    queries, pool, dim, picks = sizes.rerank
    gallery = bench.rows(4 * pool, dim, 0)
    scores = torch.rand(queries, pool, device=bench.device).sort(dim=1, descending=True).values
    places = torch.randint(4 * pool, (queries, pool), device=bench.device)
    work = (2.0 * queries * pool * dim, 2.0 * queries * pool * picks * dim, "half")
    yield bench.row(f"mmr-{queries}x{pool}x{dim}", "cirlib, exact", [lambda: mmr_order(scores, places, gallery, 0.5, picks)], work)


def loss_case(bench: Bench, size: tuple[int, int, int]) -> Iterator[Row]:
    """The contrastive loss and its gradients: chunks beside the plain way, which holds all scores. The least is 6 products of a pair."""
    from cirlib.kernels.contrastive import contrastive_loss
    from cirlib.kernels.reference import contrastive_loss as plain_loss

    queries, count, dim = size
    query, gallery = (bench.rows(rows, dim, seed).bfloat16().requires_grad_() for seed, rows in enumerate((queries, count)))
    target = torch.arange(queries, device=bench.device) % count
    work = (2.0 * 3 * (queries + count) * dim, 6.0 * queries * count * dim, "half")
    for provider, loss in (("cirlib", contrastive_loss), ("torch", plain_loss)):

        def step(loss: Any = loss) -> None:
            query.grad = gallery.grad = None
            loss(query, gallery, target, 100.0).backward()

        yield bench.row(f"contrastive-{queries}x{count}x{dim}", provider, [step], work)
