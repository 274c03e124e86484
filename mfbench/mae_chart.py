"""The mean absolute error by epoch of all backends of a sweep in one chart, as the Keras example has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mfbench.pictures import GREY, best_of_each, colours_of, hyperparameters, limit, numbers, plain
from mfbench.records import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def mae_curves(records: Sequence[Record]) -> Figure:
    """MAE by epoch of each backend's best trial, on valid and on train; that of a floor on valid as a level line."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7.2, 5.0), layout="constrained")
    axes = figure.add_subplot()
    floors = [record for record in records if record.stage == "floor" and record.valid_mae is not None]
    level = {floor.backend for floor in floors}
    trials = [record for record in records if record.stage == "trial" and record.backend not in level]
    best, colours = best_of_each(trials), colours_of(trials)
    drawn: list[float] = []

    def draw(part: str, style: str) -> None:
        for backend, record in best.items():
            values = numbers(getattr(record.scores, f"{part}_mae"))
            drawn.extend(values)
            epochs = record.scores.epoch[: len(values)]
            label = f"{backend} on {part}   {hyperparameters(record)}"
            axes.plot(epochs, values, style, color=colours[backend], linewidth=1.8, label=label)

    draw("valid", "-")
    for floor in floors:
        assert floor.valid_mae is not None
        drawn.append(floor.valid_mae)
        told = floor.spec.get("model", {}).get("options", {}).get(floor.backend, {})
        label = f"{floor.backend} on valid   " + "  ".join(f"{name}={value}" for name, value in told.items())
        axes.axhline(floor.valid_mae, color=GREY, linewidth=1.2, linestyle="-.", label=label)
    draw("train", "--")
    limit(axes, drawn)
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean absolute error")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain(axes)
    if records:
        figure.suptitle(f"{records[0].spec['name']}: mean absolute error by epoch", fontsize=11)
    if axes.get_legend_handles_labels()[1]:
        figure.legend(loc="outside lower center", frameon=False, fontsize=9, ncols=2)
    return figure
