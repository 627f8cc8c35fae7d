"""Figures of V-Dict-AE: how its losses fall, what its slots hold, and where in a picture they look."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from cirlib.evaluation.intervals import Interval
from cirlib.types import InputError
from cirlib.viz.pictures import GAP, Picture, board, place_picture
from cirlib.viz.style import INK, MUTED, PALETTE, SEQUENTIAL, figure, house_style, label, percent_axis

LOSS_NAMES = {
    "v": "L_v (squared error of v)",
    "guard": "guard (nats a token)",
    "pixel": "L_pixel (of full scale)",
}


@house_style()
def plot_training(histories: Mapping[str, Sequence[Mapping[str, float]]], *, smooth: int = 25) -> Figure:
    """Losses over the steps of several trainings: a panel per loss, a running mean over faint single steps.

    Args:
        histories: Name of a training to its history, as `train_v_dict_ae` returns it.
        smooth: Steps that a mean covers; fewer at the start.

    Raises:
        InputError: If there is no history.
    """
    if not any(histories.values()):
        raise InputError("no history to plot; give at least one training with at least one step")
    shown = [name for name in LOSS_NAMES if any(name in row for rows in histories.values() for row in rows)]
    made, panels = figure(len(shown), width=3.4 * len(shown) + 0.6, height=3.0)
    for axes, name in zip(panels, shown, strict=True):
        for position, (training, rows) in enumerate(histories.items()):
            kept = [(row["step"] + 1, row[name]) for row in rows if name in row]
            if not kept:
                continue
            steps, values = np.array(kept).T
            color = PALETTE[position % len(PALETTE)]
            means = [values[max(0, i + 1 - smooth) : i + 1].mean() for i in range(len(values))]
            axes.plot(steps, values, color=color, alpha=0.15, linewidth=0.8)
            axes.plot(steps, means, color=color, label=training)
        label(axes, x="steps", y=LOSS_NAMES[name])
    panels[-1].legend(loc="upper right")
    return made


@house_style()
def plot_gap(stages: Mapping[int, Mapping[str, Interval]]) -> Figure:
    """Loss with a picture's own slots, with those of another picture and with none, at several stages of a training.

    Args:
        stages: Steps done to the name of a context ("own slots", ...) to the interval of the mean loss.
    """
    made, (axes,) = figure(width=5.2, height=3.0)
    for position, name in enumerate(dict.fromkeys(name for table in stages.values() for name in table)):
        steps = [step for step, table in stages.items() if name in table]
        kept = [stages[step][name] for step in steps]
        color = PALETTE[position % len(PALETTE)]
        axes.fill_between(steps, [i.low for i in kept], [i.high for i in kept], color=color, alpha=0.18, linewidth=0)
        axes.plot(steps, [i.mean for i in kept], color=color, marker="o", label=name)
    label(axes, x="steps", y=LOSS_NAMES["v"])
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return made


@house_style()
def plot_probes(accuracy: Mapping[str, Mapping[str, float]], majority: Mapping[str, float]) -> Figure:
    """How well linear probes read each attribute from several sources; a grey tick is what guessing the commonest value gives.

    Args:
        accuracy: Source ("patches", "slots", ...) to attribute to accuracy, as a fraction.
        majority: Attribute to the accuracy of guessing.
    """
    names = list(majority)
    made, (axes,) = figure(width=6.6, height=0.9 + 0.27 * len(names))
    for row, name in enumerate(names):
        axes.plot([majority[name]] * 2, [row - 0.3, row + 0.3], color=MUTED, linewidth=2, label=None if row else "commonest value")
    for position, (source, values) in enumerate(accuracy.items()):
        rows = [row for row, name in enumerate(names) if name in values]
        places = [values[names[row]] for row in rows]
        color, marker = PALETTE[position % len(PALETTE)], "osD^v"[position % 5]
        axes.scatter(places, rows, color=color, marker=marker, s=34, label=source, zorder=3)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.invert_yaxis()
    percent_axis(axes.xaxis)
    label(axes, x="read right by a linear probe (%)")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return made


@house_style()
def slot_attention(
    images: Sequence[Picture], weights: Float[np.ndarray, "b q n"], slots: Sequence[int], *, grid: tuple[int, int], cell: float = 0.96
) -> Figure:
    """Pictures, and beside each where some of its slots look: bright patches get more than an even share of the attention.

    Args:
        images: One row each.
        weights: Attention of every slot over the patches, rows sum to 1.
        slots: Which slots to show, one column each.
        grid: Rows and columns of patches; their product is the number of patches.
        cell: Side of a picture in inches.

    Raises:
        InputError: If the numbers of pictures, weights or patches do not fit each other.
    """
    if len(images) != len(weights) or not len(images) or grid[0] * grid[1] != weights.shape[-1]:
        raise InputError(f"{len(images)} pictures with attention of shape {weights.shape} on a grid of {grid} given; they must fit")
    head = 0.2
    made, axes = board((1 + len(slots)) * (cell + GAP) - GAP, head + len(images) * (cell + GAP) - GAP)
    top_share = float(weights[:, list(slots)].max())
    for column, slot in enumerate(slots):
        axes.text((1 + column) * (cell + GAP) + cell / 2, head / 2, f"slot {slot}", ha="center", va="center", fontsize=8, color=INK)
    for row, image in enumerate(images):
        top = head + row * (cell + GAP)
        place_picture(axes, image, 0, top, cell)
        for column, slot in enumerate(slots):
            left = (1 + column) * (cell + GAP)
            shares = np.asarray(weights[row, slot]).reshape(grid)
            box = (left, left + cell, top + cell, top)
            axes.imshow(shares, extent=box, cmap=SEQUENTIAL, vmin=0, vmax=top_share, interpolation="nearest", aspect="auto", zorder=1)
            axes.imshow(np.asarray(image), extent=box, alpha=0.35, interpolation="antialiased", aspect="auto", zorder=2)
    return made
