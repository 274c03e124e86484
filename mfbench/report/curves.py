"""Learning curves of a run or of all trials, and the errors of a run by group of ratings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mfbench.core.arrays import Floats64
from mfbench.core.inert import in_picture
from mfbench.report.style import (
    GREY,
    PANEL,
    TRAIN,
    VALID,
    best_of_each,
    colours_of,
    curves,
    fit,
    hyperparameters,
    in_lines,
    legend_entry,
    legend_outside,
    limit,
    numbers,
    panel_grid,
    plain,
    sheet,
    tip,
    words_of,
)
from mfbench.runs.records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def run_curves(record: Record, narrow: bool = False) -> Figure:
    """RMSE by epoch, on train and, if the split has that part, on valid, with the best epoch marked."""
    from matplotlib.ticker import MaxNLocator

    figure = sheet(7.2, 4.3, narrow)
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
    axes.set_title(
        in_lines(f"{record.title}   {hyperparameters(record)}{outcome}", figure.get_figwidth()), fontsize=10, loc="left"
    )
    plain(axes)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=9)
    return figure


def residual_picture(record: Record, narrow: bool = False) -> Figure | None:
    """RMSE and mean error by rating value and by popularity of the item; None if the run has no such metrics.

    They are those on test for a final run or a floor, on valid for a plain run. Groups without ratings are left out.
    """
    kinds = {kind: groups for kind in ("rating", "popularity") if (groups := _groups(record, kind))}
    if not kinds:
        return None
    rows, columns = (len(kinds), 1) if narrow else (1, len(kinds))
    figure = sheet(5.2 * columns + 0.3, 4.2 if not narrow else 3.4 * rows, narrow)
    panels: Sequence[Axes] = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    for axes, (kind, groups) in zip(panels, kinds.items(), strict=True):
        for what, colour, marker, label in (("rmse", TRAIN, "o", "RMSE"), ("bias", VALID, "s", "mean error r̂ − r")):
            values = [group[what] for group in groups.values()]
            axes.plot(range(len(groups)), values, color=colour, linewidth=1.0, marker=marker, markersize=7, label=label)
        axes.axhline(0.0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(groups)), [POPULARITY.get(name, name) if kind == "popularity" else name for name in groups])
        axes.set_xlabel({"rating": "rating", "popularity": "item popularity: quintile by number of train ratings"}[kind])
        plain(axes)
    for axes in panels[:rows]:
        axes.set_ylabel(f"error on {_part(record)}, in units of the ratings")
    figure.suptitle(
        in_lines(f"{record.title}   {hyperparameters(record)}", figure.get_figwidth()), fontsize=10, x=0.01, ha="left"
    )
    panels[0].legend(frameon=False, fontsize=9)
    return figure


POPULARITY = {"0": "unknown", "1": "1, least", "5": "5, most"}


def _part(record: Record) -> str:
    return "valid" if record.stage == "run" else "test"


def _groups(record: Record, kind: str) -> dict[str, dict[str, float]]:
    """`rmse` and `bias` of each group of that kind, lowest group first; groups without ratings are left out."""
    found: dict[str, dict[str, float]] = {}
    for metric, value in record.evaluation.items():
        words = re.fullmatch(f"{_part(record)}_(rmse|bias)_{kind}_(.+)", metric)
        if words and value is not None:
            found.setdefault(words[2], {})[words[1]] = value
    whole = {name: group for name, group in found.items() if len(group) == 2}
    return dict(sorted(whole.items(), key=lambda group: float(group[0])))


def trial_curves(records: Sequence[Record], narrow: bool = False) -> Figure:
    """RMSE by epoch on train and valid, one panel per backend: all trials faint, the best one strong, floors dashed."""
    from matplotlib.ticker import MaxNLocator

    trials = [record for record in records if record.stage == "trial"]
    best = best_of_each(trials)
    floors = [record for record in records if record.stage == "floor" and record.valid_rmse is not None]
    searched = [name for name in colours_of(trials) if any(len(t.scores.epoch) > 1 for t in trials if t.backend == name)]
    figure, panels = panel_grid(searched or list(colours_of(trials)), 3.6, narrow=narrow)
    drawn = [floor.valid_rmse or 0.0 for floor in floors]
    for backend, axes in panels.items():
        faint: list[tuple[list[int], Floats64, str, str]] = []
        for trial in (t for t in trials if t.backend == backend):
            for part, colour in (("train", TRAIN), ("valid", VALID)):
                values = numbers(getattr(trial.scores, f"{part}_rmse"))
                drawn += list(values) if trial.outcome == "completed" else []
                epochs, words = trial.scores.epoch[: len(values)], f"{words_of(trial)}  ({part})"
                if trial is not best.get(backend):
                    faint.append((epochs, values, words, colour))
                    continue
                axes.plot(epochs, values, color="white", linewidth=4.5, zorder=3)  # a halo
                marker = "o" if len(values) == 1 else ""
                (line,) = axes.plot(epochs, values, color=colour, linewidth=2.2, zorder=4, marker=marker)
                tip(line, words)
        lines, tips, shades = [one[:2] for one in faint], [one[2] for one in faint], [one[3] for one in faint]
        curves(axes, lines, tips, shades, linewidths=0.8, alpha=0.3, zorder=2)
        fit(axes, [epoch for trial in trials if trial.backend == backend for epoch in trial.scores.epoch])
        for floor in floors:
            line = axes.axhline(floor.valid_rmse or 0.0, color=GREY, linewidth=1.2, linestyle="--")
            tip(line, words_of(floor))
        chosen = best.get(backend)
        named = f"{in_picture(backend)}: none completed\n"
        if chosen:
            first = f"{in_picture(chosen.title)}, the best{_by(chosen)}: {chosen.judged:.4f}"
            named = f"{first}\n{in_lines(hyperparameters(chosen), PANEL)}"
        axes.set_title(named, fontsize=9.5, loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in panels.values():
        limit(axes, drawn)
    keys = [
        legend_entry("train", TRAIN, line=2.2),
        legend_entry("valid", VALID, line=2.2),
        legend_entry("other trials, faint", GREY, line=0.8),
    ]
    keys += [legend_entry(f"{floor.title}: {floor.valid_rmse:.4f}", GREY, line=1.2, dash=True) for floor in floors]
    legend_outside(figure, keys, 4)
    if narrow:  # where one panel fills the screen
        for axes in panels.values():
            axes.set(xlabel="epoch", ylabel="RMSE")
    else:
        figure.supxlabel("epoch", fontsize=10)
        figure.supylabel("RMSE", fontsize=10)
    return figure


def _by(record: Record) -> str:
    return "" if record.objective.name == "valid_rmse" else f" by {record.objective.title}"


def mae_curves(records: Sequence[Record], narrow: bool = False) -> Figure:
    """MAE by epoch of each backend's best trial, on valid and on train; the valid MAE of a floor is a horizontal line."""
    from matplotlib.ticker import MaxNLocator

    figure = sheet(7.2, 5.0, narrow)
    axes = figure.add_subplot()
    floors = [record for record in records if record.stage == "floor" and record.valid_mae is not None]
    level = {floor.backend for floor in floors}
    trials = [record for record in records if record.stage == "trial"]
    best, colours = best_of_each(trial for trial in trials if trial.backend not in level), colours_of(trials)
    drawn: list[float] = []

    def draw(part: str, style: str) -> None:
        for backend, record in best.items():
            values = numbers(getattr(record.scores, f"{part}_mae"))
            drawn.extend(values)
            epochs = record.scores.epoch[: len(values)]
            label = in_lines(f"{backend} on {part}   {hyperparameters(record)}", figure.get_figwidth())
            axes.plot(epochs, values, style, color=colours[backend], linewidth=1.8, label=label)

    draw("valid", "-")
    for floor in floors:
        assert floor.valid_mae is not None
        drawn.append(floor.valid_mae)
        options = floor.spec.model.options.get(floor.backend, {})
        label = f"{floor.backend} on valid   " + "  ".join(f"{name}={value}" for name, value in options.items())
        axes.axhline(floor.valid_mae, color=GREY, linewidth=1.2, linestyle="-.", label=in_lines(label, figure.get_figwidth()))
    draw("train", "--")
    limit(axes, drawn)
    axes.set_xlabel("epoch")
    axes.set_ylabel("mean absolute error")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    plain(axes)
    if records:
        figure.suptitle(f"{records[0].spec.name}: mean absolute error by epoch", fontsize=11)
    if entries := axes.get_legend_handles_labels()[0]:
        legend_outside(figure, entries, 2, below=True)
    return figure
