"""Figures of the recorded benchmarks, `results/benchmarks/kernels.csv`: times beside their floors, and searches under the roofline."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from cirlib.types import InputError
from cirlib.viz.kernel_lessons import time_text
from cirlib.viz.style import GRID, INK, MUTED, PALETTE, figure, house_style, label

OURS = ("certified", "statistical", "cirlib")  # how our providers begin
_OUR_COLORS = (PALETTE[0], PALETTE[5])
_PEER_COLORS = (PALETTE[1], PALETTE[3], PALETTE[2], PALETTE[4], MUTED, "#8C6D31", INK)
_MARKERS = ("s", "^", "D", "v", "P", "X", "*")

Row = Mapping[str, Any]


def search_size(row: Row) -> tuple[int, int, int] | None:
    """Queries, gallery and dimension of a recorded search, from its `extra` or the name of a GPU case; None for any other row."""
    if row["bench"] == "search":
        return tuple(row["extra"][name] for name in ("queries", "gallery", "dim"))
    found = re.match(r"search-(\d+)x(\d+)x(\d+)", row["case"]) if row["bench"] == "gpu" else None
    return tuple(map(int, found.groups())) if found else None


def entry_bytes(row: Row) -> int:
    """Bytes that a provider reads for an entry of the gallery: 1 of codes, 2 or 4 of rows."""
    if row["provider"] in ("certified", "statistical") or "int8" in row["provider"]:
        return 1
    return 2 if row["device"] == "cuda" else 4


@house_style()
def plot_beside_floor(rows: Sequence[Row], benches: Sequence[str], *, cases: str = "", device: str = "cpu") -> Figure:
    """Time of every provider in every case, with its quantiles, beside the floor of the case; one panel per benchmark.

    Args:
        rows: From `bench.record.read_rows`.
        benches: Which benchmarks, from top to bottom; those without rows are left out.
        cases: Only cases that match this regular expression at their beginning.
        device: "cpu" or "cuda".

    Raises:
        InputError: If no row is left.
    """
    chosen = [row for row in rows if row["device"] == device and row["p50_ms"] and re.match(cases, row["case"])]
    panels = {bench: found for bench in benches if (found := [row for row in chosen if row["bench"] == bench])}
    if not panels:
        raise InputError(f"no row of {', '.join(benches)} on {device} with cases {cases!r}; measure with `cirlib bench NAME --record`")
    counts = [len(dict.fromkeys(row["case"] for row in found)) for found in panels.values()]
    heights = [0.9 + 0.36 * max(count, 2) for count in counts]
    made, all_axes = figure(1, len(panels), width=8.2, height=0.3 + sum(heights), height_ratios=heights)
    for axes, (bench, found) in zip(all_axes, panels.items(), strict=True):
        _times(axes, found)
        label(axes, bench)
    all_axes[-1].set_xlabel("time (median, with the middle 60 % of runs)")
    return made


def _times(axes: Axes, rows: Sequence[Row]) -> None:
    cases = sorted({row["case"] for row in rows}, key=_natural)
    providers = sorted({row["provider"] for row in rows}, key=lambda name: (not name.startswith(OURS), name))
    ours = [name for name in providers if name.startswith(OURS)]
    for place, provider in enumerate(providers):
        own = [row for row in rows if row["provider"] == provider]
        y = np.array([cases.index(row["case"]) for row in own])
        color, marker = _look(place, provider, len(ours))
        axes.hlines(y, [row["p20_ms"] for row in own], [row["p80_ms"] for row in own], color=color, linewidth=1.4, zorder=2)
        axes.scatter(
            [row["p50_ms"] for row in own], y, color=color, marker=marker, s=34, zorder=4 if provider in ours else 3, label=provider
        )
    floors: dict[str, float] = {}
    for row in rows:
        if row["floor_ms"]:
            floors[row["case"]] = min(row["floor_ms"], floors.get(row["case"], row["floor_ms"]))  # each run measures the machine anew
    if floors:
        y = np.array([cases.index(case) for case in floors])
        axes.vlines(list(floors.values()), y - 0.38, y + 0.38, color=INK, linewidth=2, zorder=2, label="floor")
    axes.set_xscale("log")
    drawn = [row["p50_ms"] for row in rows] + list(floors.values())
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0) if max(drawn) < 60 * min(drawn) else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, position: time_text(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(cases)), cases)
    axes.set_ylim(len(cases) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    for position in range(len(cases) - 1):
        axes.axhline(position + 0.5, color=GRID, linewidth=0.8, zorder=0)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), fontsize=8)


@house_style()
def plot_roofline(rows: Sequence[Row], *, cases: str = "", device: str = "cpu") -> Figure:
    """Searches in the plane of operations per byte and speed, under what memory and fp32 arithmetic (on a GPU: 16 bits) allow.

    A line joins one provider's cases from few queries to many. Both roofs are those of the floors: the largest speeds that they imply.
    Operations are 2 * queries * gallery * dimension for everybody; bytes are those of the gallery as the provider reads it.

    Args:
        rows: From `bench.record.read_rows`.
        cases: Only cases that match this regular expression at their beginning.
        device: "cpu" or "cuda".

    Raises:
        InputError: If no search is left.
    """
    wanted = [row for row in rows if row["device"] == device and row["p50_ms"] and row["floor_ms"] and re.match(cases, row["case"])]
    sized = [(row, size) for row in wanted if (size := search_size(row))]
    if not sized:
        raise InputError(f"no search on {device} with cases {cases!r}; measure with `cirlib bench search --record`")
    wide = 2 if device == "cuda" else 4
    full = [(row, size) for row, size in sized if entry_bytes(row) == wide] or sized
    peak = max(2 * q * g * d / row["floor_ms"] for row, (q, g, d) in full) / 1e6  # Gop/s
    bandwidth = max(wide * g * d / row["floor_ms"] for row, (_, g, d) in full) / 1e6  # GB/s
    made, (axes,) = figure(width=7.6, height=4.4)
    providers = sorted({row["provider"] for row, _ in sized}, key=lambda name: (not name.startswith(OURS), name))
    ours = sum(name.startswith(OURS) for name in providers)
    for place, provider in enumerate(providers):
        own = [(2 * q / entry_bytes(row), 2e-6 * q * g * d / row["p50_ms"]) for row, (q, g, d) in sized if row["provider"] == provider]
        x, y = zip(*sorted(own), strict=True)
        color, marker = _look(place, provider, ours)
        axes.plot(x, y, color=color, marker=marker, linewidth=1.3, label=provider, zorder=4 if provider.startswith(OURS) else 3)
    low, high = (edge(2 * q / entry_bytes(row) for row, (q, _, _) in sized) for edge in (min, max))
    x = np.geomspace(low / 2, high * 2, 200)
    axes.plot(x, np.minimum(peak, x * bandwidth), color=INK, linewidth=2, zorder=2)
    kind = "16-bit" if device == "cuda" else "fp32"
    axes.annotate(
        f"{kind} arithmetic: {peak:,.0f} Gop/s", (x[-1], peak), xytext=(-4, 5), textcoords="offset points", ha="right", fontsize=9
    )
    middle = (x[0] * peak / bandwidth) ** 0.5  # of the slope
    note = {"xytext": (-8, 4), "textcoords": "offset points", "ha": "right", "fontsize": 9}
    axes.annotate(f"memory:\n{bandwidth:,.0f} GB/s", (middle, middle * bandwidth), **note)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:,.10g}"))
        axis.set_minor_formatter(NullFormatter())
    label(axes, "Searches under the roofline", "operations per byte of the gallery", "speed (Gop/s)")
    axes.legend(loc="lower right", fontsize=8)
    return made


def _look(place: int, provider: str, ours: int) -> tuple[str, str]:
    """Colour and marker: circles in blue for ours, other shapes for peers, in order."""
    if provider.startswith(OURS):
        return _OUR_COLORS[place % len(_OUR_COLORS)], "o"
    return _PEER_COLORS[(place - ours) % len(_PEER_COLORS)], _MARKERS[(place - ours) % len(_MARKERS)]


def _natural(case: str) -> list[tuple[int, int | str]]:
    """Order of names with numbers in them as numbers."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", case) if part]
