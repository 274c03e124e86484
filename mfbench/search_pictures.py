"""Pictures of a search: the curves of its trials, what each tried, where the good alphas and betas are, what mattered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mfbench.pictures import (
    COLOURS,
    GREY,
    TRAIN,
    VALID,
    best_of_each,
    colours_of,
    hyperparameters,
    limit,
    log_ticks,
    numbers,
    plain,
    tip,
    value_of,
    what_matters,
    words_of,
)  # fmt: skip
from mfbench.records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

ABREAST = 3


def trial_curves(records: Sequence[Record]) -> Figure:
    """RMSE by epoch on train and valid, a panel a backend: all trials faint, the best strong; and the floor."""
    from matplotlib.ticker import MaxNLocator

    trials = [record for record in records if record.stage == "trial"]
    best = best_of_each(trials)
    floors = [record for record in records if record.stage == "floor" and record.valid_rmse is not None]
    searched = [name for name in colours_of(trials) if any(len(t.scores.epoch) > 1 for t in trials if t.backend == name)]
    figure, panels = _panels(searched or list(colours_of(trials)), 3.6)
    drawn = [value_of(floor) for floor in floors]
    for backend, axes in panels.items():
        for trial in sorted((t for t in trials if t.backend == backend), key=lambda t: t is best.get(backend)):
            strong = trial is best.get(backend)
            for part, colour in (("train", TRAIN), ("valid", VALID)):
                values = numbers(getattr(trial.scores, f"{part}_rmse"))
                drawn += list(values) if trial.outcome == "completed" else []
                epochs = trial.scores.epoch[: len(values)]
                if strong:
                    axes.plot(epochs, values, color="white", linewidth=4.5, zorder=3)  # parts it from the faint ones
                (line,) = axes.plot(epochs, values, color=colour, marker="o" if len(values) == 1 else "")
                line.set(linewidth=2.2 if strong else 0.8, alpha=1.0 if strong else 0.3, zorder=4 if strong else 2)
                tip(line, f"{words_of(trial)}  ({part})")
        for floor in floors:
            line = axes.axhline(value_of(floor), color=GREY, linewidth=1.2, linestyle="--")
            tip(line, words_of(floor))
        chosen = best.get(backend)
        named = (
            f"{chosen.title}, the best: {value_of(chosen):.4f}\n{hyperparameters(chosen)}"
            if chosen
            else f"{backend}: none completed\n"
        )
        axes.set_title(named, fontsize=9.5, loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in panels.values():
        limit(axes, drawn)
    keys = [_key("train", TRAIN, line=2.2), _key("valid", VALID, line=2.2), _key("other trials, faint", GREY, line=0.8)]
    keys += [_key(f"{floor.title}: {value_of(floor):.4f}", GREY, line=1.2, dash=True) for floor in floors]
    figure.legend(handles=keys, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel("RMSE", fontsize=10)
    return figure


def sweep_picture(records: Sequence[Record]) -> Figure:
    """The best valid RMSE of each trial against its K, its alpha and its beta: a panel each, a colour a backend."""
    from matplotlib.figure import Figure

    trials = [record for record in records if record.stage == "trial"]
    colours = colours_of(trials)
    figure = Figure(figsize=(10.5, 4.0), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, 3, sharey=True)
    limit(panels[0], [value_of(t) for t in trials if t.outcome == "completed"] or [value_of(t) for t in trials])
    for axes, name in zip(panels, ("K", "alpha", "beta"), strict=True):
        for trial in trials:
            where = getattr(trial, name)
            if where is not None:
                tip(_mark(axes, trial, where, colours[trial.backend]), words_of(trial))
        for best in best_of_each(trials).values():
            if getattr(best, name) is not None and value_of(best) <= panels[0].get_ylim()[1]:
                (ring,) = axes.plot(
                    getattr(best, name), value_of(best), "o", markersize=13, markerfacecolor="none", clip_on=False
                )
                ring.set(markeredgecolor=colours[best.backend], markeredgewidth=1.5)
                tip(ring, words_of(best))
        _scale(axes, name, [getattr(trial, name) for trial in trials if getattr(trial, name) is not None])
        axes.set_xlabel(name)
        plain(axes)
    panels[0].set_ylabel("best valid RMSE of the trial")
    searched = {trial.backend for trial in trials if (trial.K, trial.alpha, trial.beta) != (None, None, None)}
    keys = [_key(backend, colour) for backend, colour in colours.items() if backend in searched]
    keys.append(_key("best of a backend", size=11, face="none"))
    if any(value_of(trial) > panels[0].get_ylim()[1] for trial in trials):
        keys.append(_key("above the range", marker="^", size=5))
    outcomes = {trial.outcome for trial in trials}
    if "pruned" in outcomes:
        keys.append(_key("pruned", size=4.5, face="white"))
    if outcomes & {"diverged", "failed"}:
        keys.append(_key("diverged or failed", marker="x"))
    figure.legend(handles=keys, loc="outside upper center", ncols=min(len(keys), 6), frameon=False, fontsize=9)
    return figure


def alpha_beta_map(records: Sequence[Record]) -> Figure:
    """Each trial at its alpha and beta, a panel a backend: the colour is its valid RMSE, the size its K, a cross diverged."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    trials = [r for r in records if r.stage == "trial" and r.alpha is not None and r.beta is not None]
    best = best_of_each(trials)
    figure, panels = _panels(list(colours_of(trials)), 3.9)
    shown = what_matters([value_of(t) for t in trials if t.outcome == "completed"]) or (0.0, 1.0)
    norm, colour = Normalize(*shown), colormaps["cividis"]
    most = max((trial.K or 1 for trial in trials), default=1)
    for backend, axes in panels.items():
        mine = [trial for trial in trials if trial.backend == backend]
        for trial in sorted(mine, key=value_of, reverse=True):  # the good ones on top
            assert trial.alpha is not None
            assert trial.beta is not None
            if trial.outcome in ("completed", "pruned") and math.isfinite(value_of(trial)):
                edge = "#D55E00" if trial is best.get(backend) else "white"
                (mark,) = axes.plot(trial.alpha, trial.beta, "o", markersize=_size(trial.K, most), markeredgecolor=edge)
                mark.set(color=colour(norm(value_of(trial))), markeredgewidth=2.5 if trial is best.get(backend) else 0.5)
            else:
                (mark,) = axes.plot(trial.alpha, trial.beta, "x", color="#D55E00", markersize=7, markeredgewidth=1.6)
            tip(mark, words_of(trial))
        for which, name in (("x", "alpha"), ("y", "beta")):
            if (values := [getattr(trial, name) for trial in mine]) and min(values) > 0:
                log_ticks(axes, which, values)
        axes.set_title(backend, fontsize=10, loc="left")
        axes.set_xlabel("alpha, the step size")
        plain(axes)
    for axes in list(panels.values())[::ABREAST]:
        axes.set_ylabel("beta, the L2 penalty")
    figure.colorbar(ScalarMappable(norm, colour), ax=list(panels.values()), label="valid RMSE", extend="max")
    sizes = sorted({min((t.K or 1 for t in trials), default=1), most})
    keys = [_key(f"K={K}", size=_size(K, most)) for K in sizes]
    keys += [_key("best of a backend", "#D55E00", size=9, face="none"), _key("diverged or failed", "#D55E00", marker="x")]
    figure.legend(handles=keys, loc="outside upper center", ncols=len(keys), frameon=False, fontsize=9)
    return figure


def importance_bars(importances: Mapping[str, Mapping[str, float]]) -> Figure:
    """How much each hyperparameter mattered, a group of bars a backend; the shares of a backend add up to 1."""
    from matplotlib.figure import Figure

    names = [name for name in ("K", "alpha", "beta") if any(name in shares for shares in importances.values())]
    figure = Figure(figsize=(7.2, 1.3 + 0.75 * max(1, len(importances))), layout="constrained")
    axes, height = figure.subplots(), 0.8 / max(1, len(names))
    for k, name in enumerate(names):
        for place, (backend, shares) in enumerate(importances.items()):
            share, at = shares.get(name, 0.0), place + (k - (len(names) - 1) / 2) * height
            (bar,) = axes.barh(at, share, height=0.9 * height, color=COLOURS[k], label=name if place == 0 else None)
            axes.text(share, at, f" {share:.2f}", va="center", fontsize=8.5)
            tip(bar, f"{backend}: {name} {share:.3f}")
    axes.set_yticks(range(len(importances)), list(importances))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.05)
    axes.set_xlabel("share of the importance for being among the best tenth of the trials (PED-ANOVA)")
    plain(axes)
    if names:
        figure.legend(loc="outside upper right", ncols=len(names), frameon=False, fontsize=9)
    return figure


def _panels(names: Sequence[str], height: float) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a panel for each name, at least one, three abreast, all with the same axis of values."""
    from matplotlib.figure import Figure

    names = names or [""]
    columns = min(ABREAST, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(max(6.0, 3.5 * columns + 0.6), height * rows + 0.6), layout="constrained")
    grid = list(figure.subplots(rows, columns, sharey=True, squeeze=False).flat)
    panels = dict(zip(names, grid, strict=False))
    for unused in grid[len(names) :]:
        unused.remove()
    for axes in panels.values():
        plain(axes)
    return figure, panels


def _key(
    label: str,
    colour: str = GREY,
    marker: str = "o",
    size: float = 6,
    face: str | None = None,
    line: float = 0,
    dash: bool = False,
) -> Line2D:
    """An entry of a legend: a mark, or with a width a line."""
    from matplotlib.lines import Line2D

    if line:
        return Line2D([], [], linestyle="--" if dash else "-", linewidth=line, color=colour, label=label)
    return Line2D(
        [], [], linestyle="", marker=marker, markersize=size, color=colour, markerfacecolor=face or colour, label=label
    )


def _size(K: int | None, most: int) -> float:
    """The diameter of a mark in points, so that its area is as K."""
    return 4.0 + 9.0 * math.sqrt((K or 1) / most)


def _mark(axes: Axes, trial: Record, where: float, colour: str) -> Line2D:
    value = value_of(trial)
    edge = axes.get_xaxis_transform()  # up the panel in fractions of its height, for what has no place by its value
    face = "white" if trial.outcome == "pruned" else colour
    if trial.outcome not in ("completed", "pruned") or not math.isfinite(value):
        (mark,) = axes.plot(where, 0.98, "x", markersize=6, color=colour, transform=edge, markeredgewidth=1.5)
    elif value > axes.get_ylim()[1]:
        (mark,) = axes.plot(where, 0.93, "^", markersize=5, color=colour, markerfacecolor=face, transform=edge, alpha=0.75)
    elif trial.outcome == "completed":
        (mark,) = axes.plot(where, value, "o", markersize=6, color=colour, alpha=0.75, markeredgewidth=0)
    else:
        (mark,) = axes.plot(where, value, "o", markersize=4.5, markerfacecolor=face, markeredgecolor=colour, alpha=0.8)
    return mark


def _scale(axes: Axes, name: str, values: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    if not values or min(values) <= 0 or (name == "K" and max(values) < 8 * min(values)):
        return
    if name != "K":
        log_ticks(axes, "x", values)
        return
    axes.set_xscale("log", base=2)
    powers = [2.0**k for k in range(math.floor(math.log2(min(values))), math.ceil(math.log2(max(values))) + 1)]
    axes.xaxis.set_major_locator(FixedLocator(powers))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
