"""Pictures of a search: what each trial tried, RMSE over alpha and beta, importances, RMSE against training time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mfbench.core.inert import in_picture
from mfbench.report.style import (
    COLOURS,
    best_of_each,
    colours_of,
    fit,
    legend_entry,
    legend_outside,
    limit,
    log_ticks,
    name_values,
    panel_grid,
    plain,
    points,
    sheet,
    tip,
    value_of,
    what_matters,
    words_of,
)
from mfbench.runs.records import Record
from mfbench.search.pareto import undominated
from mfbench.spec import FIRST, Value, ordered

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def sweep_picture(records: Sequence[Record], narrow: bool = False) -> Figure:
    """The best value of each trial against each searched hyperparameter: one panel each, one colour per backend."""
    trials = [record for record in records if record.stage == "trial"]
    colours = colours_of(trials)
    figure, panels = panel_grid(varied(trials), 3.4, narrow=narrow)
    first = next(iter(panels.values()))
    limit(first, [value_of(t) for t in trials if t.outcome == "completed"] or [value_of(t) for t in trials])
    top = first.get_ylim()[1]
    for name, axes in panels.items():
        having = [trial for trial in trials if name in trial.hyper]
        places = _places(axes, name, [trial.hyper[name] for trial in having])
        _marks(axes, having, [places[trial.hyper[name]] for trial in having], top, colours)
        fit(axes, [places[trial.hyper[name]] for trial in having])
        for best in best_of_each(having).values():
            if value_of(best) <= top:
                where = places[best.hyper[name]]
                (ring,) = axes.plot(where, value_of(best), "o", markersize=13, markerfacecolor="none", clip_on=False)
                ring.set(markeredgecolor=colours[best.backend], markeredgewidth=1.5)
                tip(ring, words_of(best))
        axes.set_xlabel(name)
    for axes in _row_starts(panels):
        name_values(axes.yaxis, trials, "best {} of the trial")
    searched = {trial.backend for trial in trials if trial.hyper}
    keys = [legend_entry(backend, colour) for backend, colour in colours.items() if backend in searched]
    keys.append(legend_entry("best of a backend", size=11, face="none"))
    if any(value_of(trial) > top for trial in trials):
        keys.append(legend_entry("above the range", marker="^", size=5))
    outcomes = {trial.outcome for trial in trials}
    if "pruned" in outcomes:
        keys.append(legend_entry("pruned", size=4.5, face="white"))
    if outcomes & {"diverged", "failed"}:
        keys.append(legend_entry("diverged or failed", marker="x"))
    legend_outside(figure, keys, min(len(keys), 6))
    return figure


def varied(trials: Sequence[Record]) -> list[str]:
    """The names K, alpha and beta, and those of other hyperparameters that differ between trials of one backend."""
    values: dict[tuple[str, str], set[Value]] = {}
    for trial in trials:
        for name, value in trial.hyper.items():
            values.setdefault((trial.backend, name), set()).add(value)
    return ordered({*FIRST, *(name for (_, name), found in values.items() if len(found) > 1)})


def alpha_beta_map(records: Sequence[Record], narrow: bool = False) -> Figure:
    """Each trial at its alpha and beta, one panel per backend: colour is its value, size is K, a cross has diverged."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    trials = [r for r in records if r.stage == "trial" and r.alpha is not None and r.beta is not None]
    best = best_of_each(trials)
    figure, panels = panel_grid(list(colours_of(trials)), 3.9, narrow=narrow)
    shown = what_matters([value_of(t) for t in trials if t.outcome == "completed"]) or (0.0, 1.0)
    norm, colour = Normalize(*shown), colormaps["cividis"]
    most = max((trial.K or 1 for trial in trials), default=1)
    for backend, axes in panels.items():
        mine = [trial for trial in trials if trial.backend == backend]
        usable = sorted(filter(_has_value, mine), key=value_of, reverse=True)  # draws the best on top
        firsts = [trial is best.get(backend) for trial in usable]
        points(
            axes, *_at(usable), marker="o", s=[_size(trial.K, most) ** 2 for trial in usable], c=list(map(value_of, usable)),
            norm=norm, cmap=colour, edgecolors=["#D55E00" if first else "white" for first in firsts],
            linewidths=[2.5 if first else 0.5 for first in firsts],
        )  # fmt: skip
        without = [trial for trial in mine if not _has_value(trial)]
        points(axes, *_at(without), marker="x", c="#D55E00", s=7**2, linewidths=1.6)
        for which, name in (("x", "alpha"), ("y", "beta")):
            if (values := [getattr(trial, name) for trial in mine]) and min(values) > 0:
                log_ticks(axes, which, values)
        axes.set_title(in_picture(backend), fontsize=10, loc="left")
        axes.set_xlabel("alpha, the step size")
        plain(axes)
    for axes in _row_starts(panels):
        axes.set_ylabel("beta, the L2 penalty")
    bar = figure.colorbar(ScalarMappable(norm, colour), ax=list(panels.values()), extend="max")
    name_values(bar.ax.yaxis, trials)
    sizes = sorted({min((t.K or 1 for t in trials), default=1), most})
    keys = [legend_entry(f"K={K}", size=_size(K, most)) for K in sizes]
    keys += [
        legend_entry("best of a backend", "#D55E00", size=9, face="none"),
        legend_entry("diverged or failed", "#D55E00", marker="x"),
    ]
    legend_outside(figure, keys, len(keys))
    return figure


def _at(trials: Sequence[Record]) -> tuple[list[float], list[float], list[str]]:
    """The alpha and beta of trials that have both, and the tooltips."""
    return [trial.alpha or 0.0 for trial in trials], [trial.beta or 0.0 for trial in trials], list(map(words_of, trials))


def importance_bars(importances: Mapping[str, Mapping[str, float]], narrow: bool = False) -> Figure:
    """The importance of each hyperparameter, one group of bars per backend; the shares of a backend add up to 1."""
    names = ordered({name for shares in importances.values() for name in shares})
    figure = sheet(7.2, 1.3 + 0.75 * max(1, len(importances)), narrow)
    axes, height = figure.subplots(), 0.8 / max(1, len(names))
    for k, name in enumerate(names):
        having = [(place, backend) for place, backend in enumerate(importances) if name in importances[backend]]
        for place, backend in having:
            share, at = importances[backend][name], place + (k - (len(names) - 1) / 2) * height
            label = name if place == having[0][0] else None
            (bar,) = axes.barh(at, share, height=0.9 * height, color=COLOURS[k % len(COLOURS)], label=label)
            axes.text(share, at, f" {share:.2f}", va="center", fontsize=8.5)
            tip(bar, f"{backend}: {name} {share:.3f}")
    axes.set_yticks(range(len(importances)), list(map(in_picture, importances)))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.05)
    of = "importance for reaching the best 10 % of trials"
    axes.set_xlabel(f"{of}\n(PED-ANOVA), as a share" if narrow else f"{of} (PED-ANOVA), as a share")
    plain(axes)
    if names:
        legend_outside(figure, axes.get_legend_handles_labels()[0], len(names))
    return figure


def _row_starts(panels: Mapping[str, Axes]) -> list[Axes]:
    """The first panel of each row, whose value axis is labelled."""
    return [axes for axes in panels.values() if (place := axes.get_subplotspec()) and place.is_first_col()]


def _size(K: int | None, most: int) -> float:
    """The diameter of a marker in points; its area grows linearly with K."""
    return 4.0 + 9.0 * math.sqrt((K or 1) / most)


def _marks(axes: Axes, trials: Sequence[Record], x: Sequence[float], top: float, colours: Mapping[str, str]) -> None:
    """Mark the trials at these x; those without a value, or with one above `top`, at the upper edge of the panel."""
    alike: dict[tuple[str, bool, str], list[int]] = {}  # a page with tooltips is much smaller if an artist has one size
    for k, trial in enumerate(trials):
        marker = "x" if not _has_value(trial) else "^" if value_of(trial) > top else "o"
        alike.setdefault((marker, trial.outcome == "pruned", colours[trial.backend]), []).append(k)
    for (marker, pruned, colour), which in alike.items():
        style: dict[str, Any] = {"marker": marker, "c": "white" if pruned and marker != "x" else colour}
        if marker == "x":
            style |= {"s": 6**2, "linewidths": 1.5}
        elif marker == "^":
            style |= {"s": 5**2, "linewidths": 1.0, "edgecolors": colour, "alpha": 0.75}
        elif pruned:
            style |= {"s": 4.5**2, "linewidths": 1.0, "edgecolors": colour, "alpha": 0.8}
        else:
            style |= {"s": 6**2, "linewidths": 0.0, "alpha": 0.75}
        y = [{"x": 0.98, "^": 0.93}.get(marker) or value_of(trials[k]) for k in which]
        if marker != "o":
            style["transform"] = axes.get_xaxis_transform()  # y as a fraction of the panel's height
        points(axes, [x[k] for k in which], y, [words_of(trials[k]) for k in which], **style)


def _has_value(trial: Record) -> bool:
    return trial.outcome in ("completed", "pruned") and math.isfinite(value_of(trial))


def _places(axes: Axes, name: str, values: Sequence[Value]) -> dict[Value, float]:
    """The position of each value on the x axis, which gets a scale and labels to suit: words and booleans are categories."""
    if any(isinstance(value, bool | str) for value in values):
        names = sorted({str(value) for value in values})
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
        return {value: names.index(str(value)) for value in values}
    places = {value: float(value) for value in values}
    _scale(axes, name, list(places.values()))
    return places


def _scale(axes: Axes, name: str, values: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

    near = bool(values) and max(values) < 8 * min(values)
    if not values or min(values) <= 0 or (name not in ("alpha", "beta") and near):
        return
    if name != "K":
        log_ticks(axes, "x", values)
        return
    axes.set_xscale("log", base=2)
    powers = [2.0**k for k in range(math.floor(math.log2(min(values))), math.ceil(math.log2(max(values))) + 1)]
    axes.xaxis.set_major_locator(FixedLocator(powers))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())


def best_for_time(records: Sequence[Record]) -> list[Record]:
    """The Pareto front of training time and the objective: the records that no other beats in both, fastest first."""
    return undominated(records, lambda one: (one.clocks.train_seconds, value_of(one)))


def trade_off_picture(records: Sequence[Record], narrow: bool = False) -> Figure:
    """The objective of each completed run against its training time, one colour per backend; a line is the Pareto front."""
    shown = [
        one for one in records if one.outcome == "completed" and math.isfinite(value_of(one)) and one.clocks.train_seconds
    ]
    figure = sheet(8.5, 4.6, narrow)
    axes = figure.subplots()
    for backend, colour in colours_of(records).items():
        if not (own := [one for one in shown if one.backend == backend]):
            continue
        seconds, values = [one.clocks.train_seconds for one in own], list(map(value_of, own))
        points(axes, seconds, values, list(map(words_of, own)), c=colour, s=5**2, label=in_picture(f"{backend} ({len(own)})"))
    front = best_for_time(shown)
    axes.step(
        [one.clocks.train_seconds for one in front], list(map(value_of, front)), "k-", where="post", linewidth=1, zorder=0.9
    )
    if shown:
        log_ticks(axes, "x", [one.clocks.train_seconds for one in shown])
        limit(axes, [value_of(one) for one in shown])
    axes.set_xlabel("training time, seconds")
    name_values(axes.yaxis, shown)
    axes.legend(frameon=False)
    plain(axes)
    return figure
