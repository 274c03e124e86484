"""CMA-ES as a pure function of the finished trials. The package cmaes is used in this module only.

Optuna's own CmaEsSampler keeps its state in the trials of a running study, so a study that is rebuilt for each batch loses
it. Here the state is recomputed from the finished trials; sampling does not change it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mfbench.spec import IntRange, NumberRange


def evolve(
    space: Mapping[str, NumberRange], batch: int, size: int, finished: Sequence[tuple[dict[str, Any], float]], seed: int
) -> list[dict[str, Any]]:
    """Sample `size` candidates, given the finished trials.

    batch: the number of trials in a full batch. finished: the hyperparameters and value of each trial of the earlier
    batches, which are all full; value inf for a trial that diverged or failed. A generation is the smallest number of full
    batches that holds the population CMA-ES needs (Hansen 2016, arXiv:1604.00772, eq. 48), so every trial belongs to one.
    The search starts in the middle of the ranges with a standard deviation of a sixth of each range, as Optuna does.
    """
    from cmaes import CMA

    scales = {name: _Scale(interval) for name, interval in space.items()}
    n = len(scales)
    population = batch * math.ceil((4 + math.floor(3 * math.log(n))) / batch)
    state = CMA(np.full(n, 0.5), 1 / 6, np.tile([0.0, 1.0], (n, 1)), seed=seed, population_size=population)
    for first in range(0, len(finished) - population + 1, population):
        generation = finished[first : first + population]
        state.tell([(np.array([scale.place(params[name]) for name, scale in scales.items()]), v) for params, v in generation])
    points = [state.ask() for _ in range(size)]
    return [{name: scale.value(float(x)) for (name, scale), x in zip(scales.items(), point, strict=True)} for point in points]


class _Scale:
    """Maps a range to the unit interval and back, on a log scale if the range is log."""

    def __init__(self, interval: NumberRange):
        self._log = interval.log
        self._whole = isinstance(interval, IntRange)
        bounds: tuple[float, float] = interval.bounds
        self._lowest, self._highest = bounds
        # An integer range is extended by half a step on both sides: rounding would else make its bounds half as likely.
        step = 0.5 if self._whole else 0.0
        self._low, self._high = self._at(self._lowest - step), self._at(self._highest + step)

    def place(self, value: float) -> float:
        """Map a value to [0, 1]."""
        return (self._at(value) - self._low) / (self._high - self._low)

    def value(self, place: float) -> int | float:
        """Map a point in [0, 1] to the value, rounded for an integer range."""
        at = self._low + place * (self._high - self._low)
        value = math.exp(at) if self._log else at
        return min(max(round(value) if self._whole else value, self._lowest), self._highest)

    def _at(self, value: float) -> float:
        return math.log(value) if self._log else float(value)
