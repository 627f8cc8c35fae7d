"""Ranking by counting beside the habit of published code: sort the whole gallery, build the matrix of names, compare it with the target's.

Timed      Ranking alone: from a given (q, g) matrix of scores to recalls, in a fresh process. The matrix is the same for both providers
           and not counted. Scores come from random 512-d unit rows, with the queries drawn towards their targets so that recalls lie
           inside (0, 1). Both providers must give the same recalls.
Floor      Each score is read once: 4 * q * g bytes, q * g comparisons. The habit adds a sort, and about 90 bytes a pair for indices and
           names.
End to end `--end-to-end` starts from embeddings, as `evaluate` does, and adds the matrix product of 2 * q * g * d operations, which nobody
           can avoid: it is nearly all that is left of our time, and no ranking can be faster than it.
Scaling    `--scaling` starts from embeddings too, and lets the gallery grow from 10,000 to 1,000,000 rows for 256 queries.
"""

import argparse
from dataclasses import dataclass, replace
from typing import Any

from cirlib._input_error import InputError
from cirlib.bench.measure import floor_ms, in_fresh_process, measure, share_floor
from cirlib.bench.record import add_common_arguments, check_common, finish

_DIM = 512
_PROVIDERS = ("habit", "cirlib")


@dataclass(frozen=True)
class Case:
    """Sizes of one benchmark.

    Attributes:
        name: Benchmark and category.
        queries: Number of queries.
        gallery: Number of pictures.
        name_length: Letters of a picture's name, which the habit pays for.
        recall_at: Cut-offs.
        from_scores: Rank a given matrix of scores; otherwise start from embeddings.
        subset: Size of a query's subset; 0 where the benchmark has none. With subsets the reference is excluded too, as CIRR asks.
    """

    name: str
    queries: int
    gallery: int
    name_length: int = 10
    recall_at: tuple[int, ...] = (10, 50)
    subset: int = 0
    from_scores: bool = True


CASES = (
    Case("fashioniq-dress", 2017, 3817),
    Case("fashioniq-shirt", 2038, 6346),
    Case("fashioniq-toptee", 1961, 5373),
    Case("cirr", 4181, 2297, name_length=14, recall_at=(1, 5, 10, 50), subset=5),
)
SCALING = tuple(Case(f"gallery-{size}", 256, size, from_scores=False) for size in (10_000, 30_000, 100_000, 300_000, 1_000_000))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `cirlib bench ranking`."""
    names = [case.name for case in CASES]
    parser.add_argument("--case", action="append", choices=names, help="only this case (may be repeated); all without it")
    add_common_arguments(parser, repeats=5, devices=("cpu",))
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--end-to-end", action="store_true", help="start from embeddings, the matrix product included")
    kind.add_argument("--scaling", action="store_true", help="grow the gallery to 1,000,000 rows, counting only (about 4 GB of memory)")


def run(args: argparse.Namespace) -> None:
    """Measure the chosen cases and print them."""
    check_common(args)
    if args.scaling and args.case:
        raise InputError("--scaling has its own cases; leave out --case or --scaling")
    cases = SCALING if args.scaling else tuple(case for case in CASES if not args.case or case.name in args.case)
    if args.end_to_end:
        cases = tuple(replace(case, name=f"{case.name}-end-to-end", from_scores=False) for case in cases)
    rows = []
    for case in cases:
        rows += measure_case(case, ("cirlib",) if args.scaling else _PROVIDERS, args.repeats)
        if not args.json:
            print("\n".join(_lines(case, [row for row in rows if row["case"] == case.name])), flush=True)
    finish("ranking", rows, args)


def measure_case(case: Case, providers: tuple[str, ...], repeats: int) -> list[dict[str, Any]]:
    """One row per provider; raises RuntimeError if their recalls differ."""
    rows, recalls = [], {}
    for provider in providers:
        result, recalls[provider] = in_fresh_process(_measure, case, provider, repeats)
        rows.append({"case": case.name, "provider": provider, **result})
    if any(recall != recalls[providers[0]] for recall in recalls.values()):
        raise RuntimeError(f"recalls differ on {case.name}: {recalls}")
    return share_floor(rows)


def _floor(case: Case) -> tuple[float, float]:
    """Operations and bytes that cannot be avoided; a comparison is not counted as an operation."""
    pairs = case.queries * case.gallery
    return (0.0, 4.0 * pairs) if case.from_scores else (2.0 * pairs * _DIM, 4.0 * (case.queries + case.gallery) * _DIM)


def _lines(case: Case, rows: list[dict[str, Any]]) -> list[str]:
    pairs = case.queries * case.gallery
    operations, bytes_read = _floor(case)
    gflop = 1e-9 * operations
    floor = f"{bytes_read / 2**20:.1f} MiB to read, {pairs / 1e6:.1f} M comparisons" + (f", {gflop:.1f} GFLOP" if gflop else "")
    lines = [f"{case.name}: {case.queries} queries x {case.gallery} pictures; floor: {floor}"]
    for row in rows:
        times = f"{row['p50_ms']:>10.1f} ms (p20 {row['p20_ms']:.1f}, p80 {row['p80_ms']:.1f})"
        speed = f"{gflop / row['p50_ms'] * 1e3:>8.1f} GFLOP/s" if gflop else f"{bytes_read / row['p50_ms'] / 1e6:>8.2f} GB/s"
        lines.append(f"  {row['provider']:<7}{times}{row['peak_mib']:>10.2f} MiB{speed}")
    if len(rows) == 2:
        faster, memory = rows[0]["p50_ms"] / rows[1]["p50_ms"], rows[1]["peak_mib"] / rows[0]["peak_mib"]
        lines.append(f"  {faster:.0f} times faster, {100 * memory:.1f} % of the memory, same recalls")
    return lines


def _measure(case: Case, provider: str, repeats: int) -> tuple[dict[str, float], dict[str, float]]:
    """Runs in the fresh process."""
    import cirlib.evaluation.ranking
    import cirlib.kernels.reference  # noqa: F401  # both are loaded here, so that no run pays for it

    rank = {"habit": _habit, "cirlib": _cirlib}[provider]
    operations, read = _floor(case)
    floor = floor_ms(operations, read)
    inputs = _inputs(case)
    recalls: dict[str, float] = {}
    result = measure(lambda: recalls.update(rank(case, inputs)), repeats)
    return {**result, "floor_ms": floor}, recalls


def _inputs(case: Case) -> dict[str, Any]:
    import torch

    generator = torch.Generator().manual_seed(0)
    gallery = torch.randn(case.gallery, _DIM, generator=generator)
    gallery /= gallery.norm(dim=1, keepdim=True)  # in place: the 1,000,000 rows are 2 GB
    target = torch.randint(case.gallery, (case.queries,), generator=generator)
    query = torch.nn.functional.normalize(torch.randn(case.queries, _DIM, generator=generator) + 3 * gallery[target], dim=1)
    step = torch.arange(1, case.subset + 1)
    reference = (target + case.gallery // 2) % case.gallery
    subset = (target[:, None] + step) % case.gallery
    inputs = {"query": query, "gallery": gallery, "target": target, "reference": reference, "subset": subset}
    return inputs | {"scores": query @ gallery.T} if case.from_scores else inputs


def _cirlib(case: Case, inputs: dict[str, Any]) -> dict[str, float]:
    from cirlib.evaluation.metrics import recall_at_k

    ranks, subset_ranks = (_ranks_from_scores if case.from_scores else _ranks_from_embeddings)(case, inputs)
    recalls = {f"recall@{k}": float(recall_at_k(ranks, k).mean()) for k in case.recall_at}
    if case.subset:
        recalls |= {f"recall_subset@{k}": float(recall_at_k(subset_ranks, k).mean()) for k in (1, 2, 3)}
    return recalls


def _ranks_from_scores(case: Case, inputs: dict[str, Any]) -> tuple[Any, Any]:
    import numpy as np

    from cirlib.evaluation.ranking import ranks_from_scores

    scores, target, reference, subset = (inputs[name].numpy() for name in ("scores", "target", "reference", "subset"))
    ranks = ranks_from_scores(scores, target, reference if case.subset else None)
    if not case.subset:
        return ranks, None
    rows = np.sort(np.concatenate([target[:, None], subset], axis=1), axis=1)
    return ranks, ranks_from_scores(np.take_along_axis(scores, rows, axis=1), (rows == target[:, None]).argmax(axis=1))


def _ranks_from_embeddings(case: Case, inputs: dict[str, Any]) -> tuple[Any, Any]:
    from cirlib.kernels.reference import candidate_ranks, target_ranks

    query, gallery, target = inputs["query"], inputs["gallery"], inputs["target"]
    ranks = target_ranks(query, gallery, target, inputs["reference"] if case.subset else None).numpy()
    return ranks, candidate_ranks(query, gallery, target, inputs["subset"]).numpy() if case.subset else None


def _habit(case: Case, inputs: dict[str, Any]) -> dict[str, float]:
    """The habit in our words: names instead of rows, a full sort, and one comparison of strings per pair."""
    import numpy as np
    import torch

    names = np.array([f"{row:0{case.name_length}d}" for row in range(len(inputs["gallery"]))])
    wanted = names[inputs["target"].numpy()]
    distance = 1 - (inputs["scores"] if case.from_scores else inputs["query"] @ inputs["gallery"].T)
    ranked_names = names[torch.argsort(distance, dim=-1).numpy()]  # (q, g) strings
    if case.subset:
        keep = ranked_names != names[inputs["reference"].numpy()].repeat(len(names)).reshape(ranked_names.shape)
        ranked_names = ranked_names[keep].reshape(len(wanted), -1)
    hits = ranked_names == wanted.repeat(ranked_names.shape[1]).reshape(ranked_names.shape)
    recalls = {f"recall@{k}": float(hits[:, :k].any(axis=1).mean()) for k in case.recall_at}
    if case.subset:
        members = np.concatenate([wanted[:, None], names[inputs["subset"].numpy()]], axis=1)
        in_subset = (ranked_names[:, :, None] == members[:, None, :]).any(axis=-1)  # (q, g, c) comparisons
        subset_hits = hits[in_subset].reshape(len(wanted), -1)
        recalls |= {f"recall_subset@{k}": float(subset_hits[:, :k].any(axis=1).mean()) for k in (1, 2, 3)}
    return recalls
