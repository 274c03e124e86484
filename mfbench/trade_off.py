"""RMSE against training time: what the time of each trial bought."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mfbench.pictures import colours_of, limit, log_ticks, plain, tip, value_of, words_of
from mfbench.records import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def best_for_time(records: Sequence[Record]) -> list[Record]:
    """Those with a lower valid RMSE than any that trained for less time, quickest first: the Pareto front."""
    front: list[Record] = []
    for record in sorted(records, key=lambda one: (one.clocks.train_seconds, value_of(one))):
        if not front or value_of(record) < value_of(front[-1]):
            front.append(record)
    return front


def trade_off_picture(records: Sequence[Record]) -> Figure:
    """The valid RMSE of each completed run against its seconds of training, a colour a backend; the Pareto front as a line."""
    from matplotlib.figure import Figure

    shown = [
        one for one in records if one.outcome == "completed" and math.isfinite(value_of(one)) and one.clocks.train_seconds
    ]
    figure = Figure(figsize=(8.5, 4.6), layout="constrained")
    axes = figure.subplots()
    for backend, colour in colours_of(shown).items():
        for place, one in enumerate(own := [one for one in shown if one.backend == backend]):
            label = f"{backend} ({len(own)})" if place == 0 else None
            (mark,) = axes.plot(one.clocks.train_seconds, value_of(one), "o", color=colour, markersize=5, label=label)
            tip(mark, words_of(one))
    front = best_for_time(shown)
    seconds = [one.clocks.train_seconds for one in shown]
    axes.step(
        [one.clocks.train_seconds for one in front], list(map(value_of, front)), "k-", where="post", linewidth=1, zorder=1
    )
    if seconds:
        log_ticks(axes, "x", seconds)
        limit(axes, [value_of(one) for one in shown])
    axes.set_xlabel("seconds of training")
    axes.set_ylabel("valid RMSE")
    axes.legend(frameon=False)
    plain(axes)
    return figure
