"""The contrastive loss and its gradients: tile by tile beside the plain way, which holds the scores of all pairs.

Timed      Loss and gradients for queries, gallery and scale, from unit rows of 512 dimensions, each provider in a fresh process. Both must
           give the same loss and the same gradients, up to rounding.
Providers  "cirlib" is `cirlib.kernels.contrastive`; "plain" is its reference, a matrix product and torch's cross entropy.
Floor      The plain way's 6 q g d operations at the fp32 rate that this machine reaches; cirlib computes the scores twice, 8 q g d.
Memory     The peak above the inputs. Scores take 4 q g bytes, and the plain way holds two to three such tables.
"""

import argparse
from dataclasses import dataclass
from typing import Any

from cirlib.bench.measure import floor_ms, in_fresh_process, measure
from cirlib.bench.record import add_common_arguments, check_common, finish

_DIM, _SCALE = 512, 10.0  # a scale at which the loss is far from 0, so that relative differences mean something
_PROVIDERS = ("plain", "cirlib")


@dataclass(frozen=True)
class Case:
    """Sizes of one loss.

    Attributes:
        name: What it stands for.
        queries: Queries of a batch.
        gallery: Pictures that each of them is told from.
    """

    name: str
    queries: int
    gallery: int


CASES = (
    Case("batch-1024", 1024, 1024),
    Case("bank-1024x65536", 1024, 65_536),
    Case("batch-16384", 16_384, 16_384),
    Case("batch-32768", 32_768, 32_768),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `cirlib bench contrastive`."""
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help="only this case (may be repeated)")
    add_common_arguments(parser, 3)


def run(args: argparse.Namespace) -> None:
    """Measure the chosen cases and print them."""
    check_common(args)
    rows = []
    for case in CASES:
        if args.case and case.name not in args.case:
            continue
        rows += measure_case(case, args.repeats, args.device)
        if not args.json:
            print("\n".join(_lines(case, rows[-len(_PROVIDERS) :])), flush=True)
    finish("contrastive", rows, args)


def measure_case(case: Case, repeats: int, device: str = "cpu") -> list[dict[str, Any]]:
    """One row per provider; raises RuntimeError if their losses or gradients differ by more than rounding can explain."""
    floor = floor_ms(6 * case.queries * case.gallery * _DIM, 4 * (case.queries + case.gallery) * _DIM, device)
    rows, found = [], {}
    for provider in _PROVIDERS:
        result, found[provider] = in_fresh_process(_measure, case, provider, repeats, device)
        rows.append({"case": case.name, "provider": provider, **result, "floor_ms": floor})
    ours, theirs = found["cirlib"], found["plain"]
    if any(abs(ours[name] - theirs[name]) > 1e-4 * abs(theirs[name]) for name in ours):
        raise RuntimeError(f"losses or gradients differ on {case.name}: {found}")
    return rows


def _lines(case: Case, rows: list[dict[str, Any]]) -> list[str]:
    lines = [f"{case.name}: {case.queries} queries x {case.gallery} pictures; floor {rows[0]['floor_ms']:.0f} ms"]
    for row in rows:
        times = f"{row['p50_ms']:>10.1f} ms (p20 {row['p20_ms']:.1f}, p80 {row['p80_ms']:.1f})"
        lines.append(f"  {row['provider']:<7}{times}{row['peak_mib']:>10.1f} MiB{row['p50_ms'] / row['floor_ms']:>7.2f} of the floor")
    plain, ours = rows
    lines.append(f"  {ours['p50_ms'] / plain['p50_ms']:.2f} of the time, {100 * ours['peak_mib'] / plain['peak_mib']:.1f} % of the memory")
    return lines


def _measure(case: Case, provider: str, repeats: int, device: str) -> tuple[dict[str, float], dict[str, float]]:
    """Runs in the fresh process."""
    import torch

    from cirlib.kernels import contrastive, reference

    loss = {"plain": reference.contrastive_loss, "cirlib": contrastive.contrastive_loss}[provider]
    generator = torch.Generator().manual_seed(0)
    gallery = torch.nn.functional.normalize(torch.randn(case.gallery, _DIM, generator=generator), dim=1).to(device)
    target = torch.randint(case.gallery, (case.queries,), generator=generator).to(device)
    noise = torch.randn(case.queries, _DIM, generator=generator).to(device) / _DIM**0.5
    query = torch.nn.functional.normalize(gallery[target] + 2 * noise, dim=1)
    leaves = [query.requires_grad_(), gallery.requires_grad_(), torch.tensor(_SCALE, device=device, requires_grad=True)]
    found: dict[str, float] = {}

    def step() -> None:
        value = loss(leaves[0], leaves[1], target, leaves[2])
        gradients = torch.autograd.grad(value, leaves)
        found["loss"] = float(value.detach())
        found.update({name: float(part.norm()) for name, part in zip(("query", "gallery", "scale"), gradients, strict=True)})

    return measure(step, repeats, device), found
