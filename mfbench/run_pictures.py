"""Pictures of one run: its learning curves, and where it errs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mfbench.pictures import TRAIN, VALID, hyperparameters, limit, numbers, plain, tip
from mfbench.records import ErrorGroup, Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def run_curves(record: Record) -> Figure:
    """RMSE by epoch, on train and, where it was scored, on valid, with its best epoch."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7.2, 4.3), layout="constrained")
    axes, scores = figure.add_subplot(), record.scores
    drawn: list[float] = []
    for part, colour, curve in (("train", TRAIN, scores.train_rmse), ("valid", VALID, scores.valid_rmse)):
        values = numbers(curve)
        if len(values):
            drawn += list(values)
            marker = "o" if len(values) == 1 else ""
            axes.plot(scores.epoch, values, color=colour, linewidth=1.8, marker=marker, label=part)
    if record.stage != "final" and record.best_epoch in scores.epoch and scores.valid_rmse:
        best = scores.valid_rmse[scores.epoch.index(record.best_epoch)]
        if best is not None:
            axes.plot(record.best_epoch, best, "o", color=VALID, label=f"best epoch {record.best_epoch}: {best:.4f}")
    limit(axes, drawn)
    axes.set_xlabel("epoch")
    axes.set_ylabel("RMSE")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    outcome = "" if record.outcome == "completed" else f"   {record.outcome}"
    axes.set_title(f"{record.title}   {hyperparameters(record)}{outcome}", fontsize=10, loc="left")
    plain(axes)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=9)
    return figure


def residual_picture(record: Record) -> Figure:
    """The mean residual and the RMSE on the test part: by the value of the rating, and by how popular the item is."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, 2, sharey=True)
    names = {"rating": "rating", "popularity": "ratings of the item in training, a tenth of the test ratings each"}
    for axes, (by, name) in zip(panels, names.items(), strict=True):
        groups = record.residuals.get(by, [])
        for what, colour, marker in (("rmse", TRAIN, "o"), ("bias", VALID, "s")):
            label = {"rmse": "RMSE", "bias": "mean residual r − r̂"}[what]
            values = [getattr(group, what) for group in groups]
            axes.plot(range(len(groups)), values, color=colour, linewidth=1.0, alpha=0.5)
            for place, (group, value) in enumerate(zip(groups, values, strict=True)):
                (point,) = axes.plot(place, value, marker, color=colour, markersize=7, label=label if place == 0 else None)
                tip(point, f"{by} {_range(group)}: {label} {value:.4f}, {group.n:,} test ratings")
        axes.axhline(0.0, color="black", linewidth=0.8)
        labels = [_range(group) for group in groups]
        long = max(map(len, labels), default=0) > 3
        axes.set_xticks(range(len(groups)), labels, rotation=35 if long else 0, ha="right" if long else "center")
        axes.set_xlabel(name)
        plain(axes)
    panels[0].set_ylabel("error on test, in units of the ratings")
    figure.suptitle(f"{record.title}   {hyperparameters(record)}", fontsize=10, x=0.01, ha="left")
    panels[0].legend(frameon=False, fontsize=9)
    return figure


def _range(group: ErrorGroup) -> str:
    low, high = (f"{edge:.4g}" for edge in (group.low, group.high))
    return low if low == high else f"{low}–{high}"
