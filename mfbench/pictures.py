"""Pictures of records: learning curves, and what a sweep tried. The same records give the same bytes.

matplotlib is imported inside the functions, for the start-up time (about a second), and used without pyplot, whose
figures are global state that threads would share.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mfbench.records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind people too; the yellow is left out, it is too pale for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
TRAIN, VALID, GREY = "#0072B2", "#D55E00", "#666666"
DPI = 120


def learning_curves(records: Sequence[Record]) -> Figure:
    """RMSE by epoch. Of one record: its train and valid parts. Of many: a backend's trials faint, its best strong."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7.2, 4.3 if len(records) == 1 else 5.0), layout="constrained")
    axes = figure.add_subplot()
    if len(records) == 1:
        _one_run(axes, records[0])
    else:
        _many_runs(axes, records)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _plain(axes)
    if axes.get_legend_handles_labels()[1]:
        if len(records) == 1:
            axes.legend(frameon=False, fontsize=9)
        else:  # Above the axes, for many curves leave no free corner.
            figure.legend(loc="outside upper left", frameon=False, fontsize=9)
    return figure


def sweep_picture(records: Sequence[Record]) -> Figure:
    """The best valid RMSE of each trial against its K, its alpha and its beta: a panel each, a colour a backend."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    trials = [record for record in records if record.stage == "trial"]
    colours = _colours(trials)
    figure = Figure(figsize=(10.5, 4.0), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, 3, sharey=True)
    _limit(panels[0], [_value(t) for t in trials if t.outcome == "completed"] or [_value(t) for t in trials])
    for axes, name in zip(panels, ("K", "alpha", "beta"), strict=True):
        for trial in trials:
            where = getattr(trial, name)
            if where is not None:
                _mark(axes, trial, where, colours[trial.backend])
        for best in _best(trials).values():
            if getattr(best, name) is not None:
                axes.plot(
                    getattr(best, name), _value(best), "o", markersize=13, markerfacecolor="none",
                    markeredgecolor=colours[best.backend], markeredgewidth=1.5, clip_on=False,
                )  # fmt: skip
        _scale(axes, name, [getattr(trial, name) for trial in trials if getattr(trial, name) is not None])
        axes.set_xlabel(name)
        _plain(axes)
    panels[0].set_ylabel("best valid RMSE of the trial")

    def key(label: str, marker: str = "o", size: float = 6, colour: str = GREY, face: str | None = None) -> Line2D:
        face = face or colour
        return Line2D([], [], linestyle="", marker=marker, markersize=size, color=colour, markerfacecolor=face, label=label)

    outcomes = {trial.outcome for trial in trials}
    keys = [key(backend, colour=colour) for backend, colour in colours.items()]
    keys.append(key("best of a backend", size=11, face="none"))
    if any(_value(trial) > panels[0].get_ylim()[1] for trial in trials):
        keys.append(key("above the range", marker="^", size=5))
    if "pruned" in outcomes:
        keys.append(key("pruned", size=4.5, face="white"))
    if outcomes & {"diverged", "failed"}:
        keys.append(key("diverged or failed", marker="x"))
    figure.legend(handles=keys, loc="outside upper center", ncols=min(len(keys), 8), frameon=False, fontsize=9)
    return figure


def race_picture(laps: Sequence[Mapping[str, Any]]) -> Figure:
    """Updates a second of each lap of a race (see `races.Lap`), a bar from the median, a whisker from least to most."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.2 + 0.38 * len(laps)), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip(dict.fromkeys(lap["backend"] for lap in laps), COLOURS, strict=False))
    for place, lap in enumerate(laps):
        least, middle, most = (lap[f"updates_per_second{end}"] / 1e6 for end in ("_min", "", "_max"))
        axes.barh(place, middle, color=colours[lap["backend"]], alpha=0.85, height=0.7)
        axes.plot([least, most], [place, place], color="black", linewidth=1.2)
        axes.text(most, place, f"  {middle:.1f}", va="center", fontsize=8)
    axes.set_yticks(range(len(laps)), [f"{lap['backend']}  K={lap['K']}  {lap['threads']} threads" for lap in laps])
    axes.invert_yaxis()
    axes.set_xlabel("million updates a second, training alone")
    return figure


def save(figure: Figure) -> bytes:
    """The figure as PNG, without date or version of the software in it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


# --- learning curves -------------------------------------------------------------------------------------------------


def _one_run(axes: Axes, record: Record) -> None:
    scores = record.scores
    drawn: list[float] = []
    for part, colour, curve in (("train", TRAIN, scores.train_rmse), ("valid", VALID, scores.valid_rmse)):
        values = _numbers(curve)
        if len(values):
            drawn += list(values)
            marker = "o" if len(values) == 1 else ""
            axes.plot(scores.epoch, values, color=colour, linewidth=1.8, marker=marker, label=part)
    if record.stage != "final" and record.best_epoch in scores.epoch and scores.valid_rmse:
        best = scores.valid_rmse[scores.epoch.index(record.best_epoch)]
        if best is not None:
            axes.plot(record.best_epoch, best, "o", color=VALID, label=f"best epoch {record.best_epoch}: {best:.4f}")
    _limit(axes, drawn)
    axes.set_ylabel("RMSE")
    outcome = "" if record.outcome == "completed" else f"   {record.outcome}"
    axes.set_title(f"{record.title}   {_hyperparameters(record)}{outcome}", fontsize=10, loc="left")


def _many_runs(axes: Axes, records: Sequence[Record]) -> None:
    trials = [record for record in records if record.stage == "trial"] or list(records)
    best = _best(trials)
    drawn: list[float] = []
    for backend, colour in _colours(trials).items():
        for trial in trials:
            if trial.backend == backend and trial is not best.get(backend):
                values = _numbers(trial.scores.valid_rmse)
                drawn += list(values) if trial.outcome == "completed" else []
                axes.plot(trial.scores.epoch[: len(values)], values, color=colour, linewidth=0.8, alpha=0.25)
        if backend in best:
            record = best[backend]
            values = _numbers(record.scores.valid_rmse)
            drawn += list(values)
            label = f"{record.title}, the best: {_value(record):.4f}   {_hyperparameters(record)}"
            epochs = record.scores.epoch[: len(values)]
            axes.plot(epochs, values, color="white", linewidth=4.5, zorder=3)  # parts it from the faint ones
            axes.plot(epochs, values, color=colour, linewidth=2.2, zorder=4, label=label)
    for floor in records:
        if floor.stage == "floor" and floor.valid_rmse is not None:
            drawn.append(floor.valid_rmse)
            label = f"{floor.title}: {floor.valid_rmse:.4f}"
            axes.axhline(floor.valid_rmse, color=GREY, linewidth=1.2, linestyle="--", label=label)
    _limit(axes, drawn)
    axes.set_ylabel("valid RMSE")


def _hyperparameters(record: Record) -> str:
    values = {"K": record.K, "alpha": record.alpha, "beta": record.beta}
    return " ".join(f"{name}={value:.3g}" for name, value in values.items() if value is not None)


# --- sweeps ----------------------------------------------------------------------------------------------------------


def _mark(axes: Axes, trial: Record, where: float, colour: str) -> None:
    value = _value(trial)
    edge = axes.get_xaxis_transform()  # up the panel in fractions of its height, for what has no place by its value
    face = "white" if trial.outcome == "pruned" else colour
    if trial.outcome not in ("completed", "pruned") or not math.isfinite(value):
        axes.plot(where, 0.98, "x", markersize=6, color=colour, transform=edge, markeredgewidth=1.5)
    elif value > axes.get_ylim()[1]:
        axes.plot(where, 0.93, "^", markersize=5, color=colour, markerfacecolor=face, transform=edge, alpha=0.75)
    elif trial.outcome == "completed":
        axes.plot(where, value, "o", markersize=6, color=colour, alpha=0.75, markeredgewidth=0)
    else:
        axes.plot(where, value, "o", markersize=4.5, markerfacecolor=face, markeredgecolor=colour, alpha=0.8)


def _scale(axes: Axes, name: str, values: Sequence[float]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator, ScalarFormatter

    if not values or min(values) <= 0 or (name == "K" and max(values) < 8 * min(values)):
        return
    if name != "K":
        axes.set_xscale("log")
        if max(values) < 100 * min(values):  # powers of ten alone would leave one label or none
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        return
    axes.set_xscale("log", base=2)
    powers = [2.0**k for k in range(math.floor(math.log2(min(values))), math.ceil(math.log2(max(values))) + 1)]
    axes.xaxis.set_major_locator(FixedLocator(powers))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())


def _value(record: Record) -> float:
    return math.nan if record.valid_rmse is None else record.valid_rmse


def _best(records: Iterable[Record]) -> Mapping[str, Record]:
    """The completed record with the lowest valid RMSE of each backend that has one."""
    best: dict[str, Record] = {}
    for record in records:
        if record.outcome == "completed" and math.isfinite(_value(record)):
            rival = best.get(record.backend)
            if rival is None or (_value(record), record.number) < (_value(rival), rival.number):
                best[record.backend] = record
    return best


# --- common ----------------------------------------------------------------------------------------------------------


def _colours(records: Iterable[Record]) -> dict[str, str]:
    """A colour for each backend, by the order of the names, so that all pictures of a study agree."""
    names = sorted({record.backend for record in records})
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def _numbers(values: Sequence[float | None]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _limit(axes: Axes, values: Sequence[float]) -> None:
    """Show what matters: a few values far above the others, of a bad start or a run that blew up, are cut off."""
    finite = np.array([value for value in values if math.isfinite(value)])
    if len(finite) == 0:
        return
    low, middle, high = np.quantile(finite, [0, 0.5, 1])
    high = min(high, low + 4 * max(middle - low, 1e-12)) if high > middle else high
    margin = 0.06 * (high - low) or 0.01 * abs(high) or 0.01
    axes.set_ylim(low - margin, high + 2 * margin)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
