"""Figures that explain kernels: where the time of a query goes, groups and their maxima, insertions, bounds and their errors."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullFormatter

from cirlib.types import InputError
from cirlib.viz.style import GRID, INK, MUTED, PALETTE, ROLES, figure, house_style, label, percent_axis

SHADED = "#DCEBF5"  # the palette's first colour, pale enough for numbers on it


@house_style()
def plot_times(times: Mapping[str, float], computed: Sequence[str] = (), title: str = "") -> Figure:
    """Times as dots on a logarithmic axis, written beside them.

    Args:
        times: Name to milliseconds, from top to bottom.
        computed: Names whose time was computed and not measured; drawn hollow and marked.
        title: Of the figure.

    Raises:
        InputError: If there is no time, or one is not above zero.
    """
    if not times or min(times.values()) <= 0:
        raise InputError(f"times {dict(times)} given; give one time or more, all above 0 ms")
    made, (axes,) = figure(height=0.9 + 0.42 * len(times))
    for place, (name, value) in enumerate(times.items()):
        hollow = name in computed
        axes.plot([min(times.values()) / 3, value], [place, place], color=GRID, linewidth=1.5, zorder=1)
        axes.scatter(value, place, s=52, zorder=3, color="white" if hollow else PALETTE[0], edgecolor=PALETTE[0], linewidth=1.6)
        note = time_text(value) + (" (computed)" if hollow else "")
        axes.annotate(note, (value, place), xytext=(9, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_yticks(range(len(times)), list(times))
    axes.set_ylim(len(times) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xscale("log")
    axes.set_xlim(min(times.values()) / 3, max(times.values()) * 40)  # room for what is written on the right
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, position: time_text(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    label(axes, title, "time")
    return made


def time_text(milliseconds: float) -> str:
    """A time with a unit that suits it.

    Example:
        >>> [time_text(value) for value in (0.0371, 8.2, 2_400, 600_000)]
        ['37 µs', '8.2 ms', '2.4 s', '10 min']
    """
    for limit, factor, unit in ((1, 1e3, "µs"), (1e3, 1, "ms"), (120e3, 1e-3, "s"), (np.inf, 1 / 60e3, "min")):
        if milliseconds < limit:
            value = milliseconds * factor
            return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.2g} {unit}"
    raise InputError(f"{milliseconds} ms given; a time is a finite number")


@house_style()
def plot_groups(numbers: Int[np.ndarray, "m g"], k: int, opened: Sequence[int], title: str = "") -> Figure:
    """Numbers in columns, one column a group: the k best framed, the maximum of each group below, opened groups shaded.

    Args:
        numbers: Member m of group g; number n of a list of m * g stands in row n // g, column n % g.
        k: How many of the largest are framed.
        opened: Groups that are opened.
        title: Of the figure.

    Raises:
        InputError: If an opened group is not there, or k is not in [1, m * g].
    """
    rows, columns = numbers.shape
    if not 1 <= k <= numbers.size or not all(0 <= group < columns for group in opened):
        raise InputError(f"k = {k} and opened groups {list(opened)} given for {rows} x {columns} numbers")
    least = np.sort(numbers, axis=None)[-k]
    made, (axes,) = figure(width=6.2, height=0.9 + 0.36 * (rows + 2))
    for group in opened:
        axes.add_patch(Rectangle((group - 0.5, -0.5), 1, rows, color=SHADED, zorder=0))
    for (row, column), value in np.ndenumerate(numbers):
        chosen = value >= least
        axes.text(column, row, str(value), ha="center", va="center", fontweight="bold" if chosen else "normal", fontsize=10)
        if chosen:
            axes.add_patch(Rectangle((column - 0.4, row - 0.4), 0.8, 0.8, fill=False, edgecolor=ROLES["wrong"], linewidth=1.8))
    for column, value in enumerate(numbers.max(axis=0)):
        axes.text(column, rows + 0.35, str(value), ha="center", va="center", fontsize=10, color=PALETTE[0], fontweight="bold")
    axes.axhline(rows - 0.42, color=MUTED, linewidth=1)
    axes.set_xlim(-0.6, columns - 0.4)
    axes.set_ylim(rows + 0.9, -0.6)
    axes.set_xticks(range(columns), [f"group {column}" for column in range(columns)], fontsize=8)
    axes.set_yticks([*range(rows), rows + 0.35], [*(f"{columns * row} to {columns * row + columns - 1}" for row in range(rows)), "maximum"])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    label(axes, title)
    return made


@house_style()
def plot_insertions(curves: Mapping[str, Int[np.ndarray, " n"]], k: int) -> Figure:
    """How many insertions a running top k has made after so many scores, one line for each order of the scores, and the forecast.

    Args:
        curves: Order to the number of insertions after each score; all of one length above k.
        k: Length of the list.

    Raises:
        InputError: If there is no curve, or one is not longer than k.
    """
    if not curves or min(map(len, curves.values())) <= k:
        raise InputError(
            f"{len(curves)} curves given, shortest {min(map(len, curves.values()), default=0)}; give one or more beyond k = {k}"
        )
    made, (axes,) = figure(height=3.6)
    seen = np.arange(1, 1 + max(map(len, curves.values())))
    forecast = np.where(seen < k, seen, k * (1 + np.log(np.maximum(seen / k, 1))))
    axes.plot(seen, forecast, color=MUTED, linestyle="--", linewidth=1.2, label="k (1 + ln(n / k))", zorder=3)
    for position, (name, counts) in enumerate(curves.items()):
        line = axes.plot(seen[: len(counts)], counts, color=PALETTE[position], label=name)[0]
        axes.annotate(
            f"{counts[-1]:,}", (len(counts), counts[-1]), xytext=(6, 0), textcoords="offset points", va="center", color=line.get_color()
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(1, 2.2 * len(seen))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:,.0f}"))
        axis.set_minor_formatter(NullFormatter())
    label(axes, f"Insertions into a list of the best {k}", "scores read", "insertions so far")
    axes.legend(loc="upper left")
    return made


@house_style()
def plot_bounds(shares: Mapping[str, Float[np.ndarray, " n"]], title: str = "") -> Figure:
    """Histogram of errors as shares of their bound, one panel a bound; beyond 1 the bound would be violated.

    Args:
        shares: Name of a bound to |error| / bound of each pair.
        title: Stands before the name of each bound.

    Raises:
        InputError: If there is no bound, or a bound has no pair.
    """
    if not shares or not all(map(len, shares.values())):
        raise InputError(f"{ {name: len(values) for name, values in shares.items()} } given; give a bound or more with pairs")
    made, all_axes = figure(1, len(shares), height=0.6 + 1.6 * len(shares), sharex=True)
    edges = np.linspace(0, max(1.1, *(float(np.max(values)) for values in shares.values())), 111)
    for position, (axes, (name, values)) in enumerate(zip(all_axes, shares.items(), strict=True)):
        axes.hist(values, bins=edges, weights=np.full(len(values), 1 / len(values)), color=PALETTE[position])
        largest = float(np.max(values))
        axes.axvline(1, color=ROLES["wrong"], linewidth=1.6)
        axes.axvline(largest, color=INK, linewidth=1, linestyle=":")
        axes.annotate(
            f"largest {largest:.2f}",
            (largest, 0.78),
            xycoords=("data", "axes fraction"),
            xytext=(5, 0),
            textcoords="offset points",
            fontsize=9,
        )
        axes.annotate(
            "bound",
            (1, 0.5),
            xycoords=("data", "axes fraction"),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            color=ROLES["wrong"],
            fontsize=9,
        )
        percent_axis(axes.yaxis)
        axes.set_xlim(0, edges[-1])
        label(axes, f"{title}: {name}" if title else name, "", "pairs")
    all_axes[-1].set_xlabel("error / bound")
    return made


@house_style()
def plot_crowding(
    distances: Sequence[float], remain: Mapping[str, Sequence[float]], lost: Mapping[str, Sequence[float]], *, crowd: int, k: int
) -> Figure:
    """As near-duplicates of one picture come closer: what a scan leaves to rescore, and what is lost by those that do not rescore.

    Args:
        distances: Of the near-duplicates from their picture, above zero; drawn from wide to close.
        remain: Name of a bound to rows per query that it cannot exclude, one for each distance.
        lost: Name of a shortcut to the share of the true top k that it misses.
        crowd: How many near-duplicates there are; drawn as a level.
        k: Length of the list; drawn as a level.

    Raises:
        InputError: If a line has not one value per distance.
    """
    lines = [*remain.values(), *lost.values()]
    if not lines or any(len(values) != len(distances) for values in lines):
        raise InputError(
            f"{len(distances)} distances and lines of {[len(values) for values in lines]} values given; one value per distance"
        )
    made, (left, right) = figure(2, width=8.6, height=3.6)
    for axes, panel, first in ((left, remain, 0), (right, lost, 2)):
        for position, (name, values) in enumerate(panel.items()):
            axes.plot(distances, values, color=PALETTE[first + position], marker="o", label=name)
        axes.set_xscale("log")
        axes.invert_xaxis()
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))
        axes.legend(loc="upper left")
    for level, name in ((crowd, f"all {crowd:,} near-duplicates"), (k, f"the {k} asked for")):
        left.axhline(level, color=MUTED, linestyle="--", linewidth=1.1, zorder=1)
        left.annotate(
            name,
            (0.98, level),
            xycoords=("axes fraction", "data"),
            xytext=(0, 7),
            textcoords="offset points",
            color=MUTED,
            fontsize=8,
            ha="right",
        )
    left.set_yscale("log")
    left.set_ylim(k / 2, 6 * max(crowd, *(max(values) for values in remain.values())))  # room for the legend
    left.yaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:,.0f}"))
    label(left, "Left to rescore", "distance of near-duplicates", "rows per query")
    right.set_ylim(-0.02, 1.25 * max(max(values) for values in lost.values()) + 0.05)
    right.set_yticks([tick for tick in right.get_yticks() if -1e-9 <= tick <= 1 + 1e-9])
    percent_axis(right.yaxis)
    label(right, "Lost without rescoring", "distance of near-duplicates", f"share of the true top {k}")
    return made
