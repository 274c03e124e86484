"""The pictures of a suite, as PNG and PDF."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mfbench.report.gallery import Picture
from mfbench.report.style import COLOURS, legend_entry, legend_outside, log_ticks, plain, points, sheet
from mfbench.report.suites.cells import Cell
from mfbench.report.suites.ranks import Ranks, can_be_drawn, rank_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "osD^vP*X<>"


def pictures(cells: Sequence[Cell], found: Ranks | None) -> dict[str, Picture]:
    """The pictures by file name without suffix; that of the ranks is left out if it cannot be drawn."""
    drawn: dict[str, Picture] = {}
    if found is not None and can_be_drawn():
        says = f"By test RMSE, over {found.n} data sets; a bar joins backends whose ranks cannot be told apart (Nemenyi, 5 %)."
        drawn["ranks"] = Picture("Average ranks", says, partial(rank_picture, found))
    if any(cell.rmse and _cost(cell) for cell in cells):
        says = "By how much each test RMSE is above the lowest of its data set; a large point is the mean of a backend."
        drawn["seconds"] = Picture("Error against seconds", says, partial(seconds_picture, cells))
    return drawn


def _cost(cell: Cell) -> float:
    """Seconds of the search and of the final runs."""
    return cell.search_seconds + cell.train_seconds


def seconds_picture(cells: Sequence[Cell], narrow: bool = False) -> Figure:
    """Test RMSE, in per cent above the lowest of its data set, against the seconds of the search and the final run.

    A colour for each backend, a marker for each data set; a large point is at the mean, of seconds the geometric one.
    """
    lowest: dict[str, float] = {}
    for cell in cells:
        if cell.rmse is not None:
            lowest[cell.dataset] = min(lowest.get(cell.dataset, math.inf), cell.rmse)
    backends = sorted({cell.backend for cell in cells})
    colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(backends)}
    markers = {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(lowest)}
    figure = sheet(7.2, 4.6 if not narrow else 5.4, narrow)
    axes = figure.add_subplot()
    drawn: dict[str, list[tuple[float, float]]] = {}
    for cell in cells:
        if not cell.rmse or not lowest[cell.dataset] or not _cost(cell):
            continue
        x, y = _cost(cell), 100 * (cell.rmse / lowest[cell.dataset] - 1)
        drawn.setdefault(cell.backend, []).append((x, y))
        tips = [f"{cell.backend} on {cell.dataset}: {cell.rmse:.4f} after {x:.1f} s"]
        points(axes, [x], [y], tips, c=colours[cell.backend], marker=markers[cell.dataset], s=22, alpha=0.55, linewidths=0)
    for name, each in drawn.items():
        x, y = float(np.exp(np.mean([np.log(x) for x, _ in each]))), float(np.mean([y for _, y in each]))
        points(axes, [x], [y], [f"{name}: the mean"], c=colours[name], s=130, edgecolors="white")
    log_ticks(axes, "x", [x for each in drawn.values() for x, _ in each])
    axes.set_xlabel("seconds of the search and the final run")
    axes.set_ylabel("test RMSE above the lowest, %")
    plain(axes)
    entries = [legend_entry(name, colours[name], size=8) for name in backends if name in drawn]
    entries += [legend_entry(name, marker=markers[name], size=5) for name in lowest]
    legend_outside(figure, entries, len(entries))
    return figure
