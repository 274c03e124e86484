"""Pictures of one run: its learning curves, and where it errs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mfbench.pictures import TRAIN, VALID, hyperparameters, limit, numbers, plain
from mfbench.records import Record

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


def residual_picture(record: Record) -> Figure | None:
    """RMSE and mean error by the value of the rating and by how popular the item is; None where that was not evaluated.

    On test of a final run or a floor, on valid of a plain run. Groups without ratings are left out.
    """
    from matplotlib.figure import Figure

    kinds = {kind: groups for kind in ("rating", "popularity") if (groups := _groups(record, kind))}
    if not kinds:
        return None
    figure = Figure(figsize=(5.2 * len(kinds) + 0.3, 4.2), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, (kind, groups) in zip(panels, kinds.items(), strict=True):
        for what, colour, marker, label in (("rmse", TRAIN, "o", "RMSE"), ("bias", VALID, "s", "mean error r̂ − r")):
            values = [group[what] for group in groups.values()]
            axes.plot(range(len(groups)), values, color=colour, linewidth=1.0, marker=marker, markersize=7, label=label)
        axes.axhline(0.0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(groups)), [POPULARITY.get(name, name) if kind == "popularity" else name for name in groups])
        axes.set_xlabel({"rating": "rating", "popularity": "popularity of the item: quintile by its ratings in train"}[kind])
        plain(axes)
    panels[0].set_ylabel(f"error on {_part(record)}, in units of the ratings")
    figure.suptitle(f"{record.title}   {hyperparameters(record)}", fontsize=10, x=0.01, ha="left")
    panels[0].legend(frameon=False, fontsize=9)
    return figure


POPULARITY = {"0": "unknown", "1": "1, least", "5": "5, most"}


def _part(record: Record) -> str:
    return "valid" if record.stage == "run" else "test"


def _groups(record: Record, kind: str) -> dict[str, dict[str, float]]:
    """By group of that kind its `rmse` and `bias`, lowest first, of those that have ratings."""
    found: dict[str, dict[str, float]] = {}
    for metric, value in record.evaluation.items():
        words = re.fullmatch(f"{_part(record)}_(rmse|bias)_{kind}_(.+)", metric)
        if words and value is not None:
            found.setdefault(words[2], {})[words[1]] = value
    whole = {name: group for name, group in found.items() if len(group) == 2}
    return dict(sorted(whole.items(), key=lambda group: float(group[0])))
