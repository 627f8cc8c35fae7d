"""Figures about data: how often values occur, what the queries are like, how long the texts are."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cirlib.types import Benchmark, InputError
from cirlib.viz.style import INK, MUTED, PALETTE, color_of, figure, house_style, label, percent_axis


def count_values(labels: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """How often each attribute value occurs.

    Args:
        labels: Attribute values per image; a missing key means that the attribute does not apply.

    Returns:
        One row per attribute and value that occurs: attributes in order of first appearance, values by falling count. Columns `attribute`,
        `value`, `count`, and `share` of the pictures to which the attribute applies, in [0, 1].
    """
    counts: dict[str, Counter[str]] = {}
    for values in labels.values():
        for name, value in values.items():
            counts.setdefault(name, Counter())[value] += 1
    rows = [
        {"attribute": name, "value": value, "count": count, "share": count / found.total()}
        for name, found in counts.items()
        for value, count in found.most_common()
    ]
    return pd.DataFrame(rows, columns=["attribute", "value", "count", "share"])


def count_changes(benchmark: Benchmark) -> pd.DataFrame:
    """How often the edits change each attribute in each way: attributes down, kinds of change across, counts in the cells.

    Raises:
        InputError: If the benchmark has no structured edits.
    """
    changes = [change for query in benchmark.queries if query.edit for change in query.edit.changes]
    if not changes:
        raise InputError(f"benchmark {benchmark.name} has no structured edits to count; atelier has")
    found = Counter((change.attribute, change.kind) for change in changes)
    kinds = [kind for kind in ("set", "add", "remove", "relative", "open") if any(k == kind for _, k in found)]
    names = sorted({name for name, _ in found}, key=lambda name: -sum(found[name, kind] for kind in kinds))
    return pd.DataFrame([[found[name, kind] for kind in kinds] for name in names], pd.Index(names, name="attribute"), kinds)


@house_style()
def plot_values(labels: Mapping[str, Mapping[str, str]], columns: int = 3) -> Figure:
    """Shares of every value among the pictures to which its attribute applies, a small panel each; yes/no attributes share the last one."""
    table = count_values(labels)
    if table.empty:
        raise InputError("no labels to count; give at least one picture with attribute values")
    groups = dict(list(table.groupby("attribute", sort=False)))
    binary = [name for name, part in groups.items() if set(part["value"]) <= {"yes", "no"}]
    panels = {name.replace("_", " "): part.set_index("value")["share"] for name, part in groups.items() if name not in binary}
    if binary:
        panels["details (share of yes)"] = pd.Series({n: groups[n].set_index("value")["share"].get("yes", 0.0) for n in binary})
    rows = -(-len(panels) // columns)
    made, axes = figure(columns, rows, width=2.4 * columns, height=2.3 * rows)
    for place, (axis, (name, shares)) in enumerate(zip(axes, panels.items(), strict=False)):
        axis.barh(list(shares.index), shares.to_numpy(), color=PALETTE[0], height=0.72)
        axis.invert_yaxis()
        axis.grid(visible=False, axis="y")
        axis.tick_params(axis="y", labelsize=7.5, length=0)
        percent_axis(axis.xaxis)
        last_of_column = place + columns >= len(panels)
        label(axis, name, "share of pictures" if last_of_column else "")
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    return made


@house_style()
def plot_queries(benchmark: Benchmark) -> Figure:
    """Two panels about queries with structured edits: positives per query, and attributes changed, by kind of change."""
    table = count_changes(benchmark)
    made, (left, right) = figure(2, 1, width=9.0, height=3.8, width_ratios=(1, 1.5))
    found = Counter(len(query.positives) for query in benchmark.queries)
    bars = left.bar(list(found), [count / len(benchmark.queries) for count in found.values()], color=PALETTE[0], width=0.7)
    left.bar_label(bars, [f"{count:,}" for count in found.values()], fontsize=8, color=INK)
    left.set_xticks(range(min(found), max(found) + 1))
    left.grid(visible=False, axis="x")
    percent_axis(left.yaxis)
    label(left, "Correct pictures", "positives in the gallery", "share of the queries")
    start = np.zeros(len(table))
    for place, kind in enumerate(table.columns):
        right.barh([name.replace("_", " ") for name in table.index], table[kind], left=start, color=PALETTE[place], height=0.72, label=kind)
        start += table[kind].to_numpy()
    right.invert_yaxis()
    right.grid(visible=False, axis="y")
    right.legend(title="the text says", title_fontsize=9, loc="lower right")
    label(right, "What the texts change", "changes, over all queries")
    return made


@house_style()
def plot_text_lengths(lengths: Mapping[str, Sequence[int]]) -> Figure:
    """Words per text, one line a benchmark: the dot is the median, the thick line holds half of the texts, the thin one nine in ten.

    Args:
        lengths: Name to words per text, at least one text each. Atelier's own line is drawn in another colour.
    """
    if not lengths or not all(len(counts) for counts in lengths.values()):
        raise InputError("a set without texts was given; give at least one text of each benchmark")
    made, (axis,) = figure(width=7.5, height=0.9 + 0.34 * len(lengths))
    for row, (name, counts) in enumerate(lengths.items()):
        p5, p25, p50, p75, p95 = np.percentile(counts, (5, 25, 50, 75, 95))
        color = color_of("text only") if name.startswith("atelier") else PALETTE[0]
        axis.plot((p5, p95), (row, row), color=color, linewidth=1.4)
        axis.plot((p25, p75), (row, row), color=color, linewidth=6, solid_capstyle="butt")
        axis.plot(p50, row, "o", color="white", markeredgecolor=color, markersize=7, markeredgewidth=1.6)
        axis.annotate(f"{p50:g}", (p95, row), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8, color=MUTED)
    axis.set_yticks(range(len(lengths)), list(lengths))
    axis.set_ylim(len(lengths) - 0.5, -0.5)
    axis.set_xlim(left=0)
    axis.grid(visible=False, axis="y")
    label(axis, "", "words in a modification text (median at the right end)")
    return made
