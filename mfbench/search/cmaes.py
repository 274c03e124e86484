"""CMA-ES as a pure function of the finished trials. The only home of the package cmaes.

Optuna's own CmaEsSampler keeps its state in the trials of a running study, where a search that is rebuilt batch by batch
loses it. But the state follows from the finished trials alone: drawing only reads it.
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
    """`size` proposals after the finished trials, each given as its hyperparameters and its value, inf for a bad one.

    batch: the trials of a whole batch; the finished ones are whole batches. A generation is as many batches as hold the
    population that CMA-ES needs (Hansen 2016, arXiv:1604.00772, eq. 48), so no trial is lost to it. The search starts in
    the middle of the ranges with a sixth of each as standard deviation, as Optuna does.
    """
    from cmaes import CMA

    scales = {name: _Scale(given) for name, given in space.items()}
    n = len(scales)
    population = batch * math.ceil((4 + math.floor(3 * math.log(n))) / batch)
    state = CMA(np.full(n, 0.5), 1 / 6, np.tile([0.0, 1.0], (n, 1)), seed=seed, population_size=population)
    for first in range(0, len(finished) - population + 1, population):
        generation = finished[first : first + population]
        state.tell([(np.array([scale.place(params[name]) for name, scale in scales.items()]), v) for params, v in generation])
    drawn = [state.ask() for _ in range(size)]
    return [{name: scale.value(float(x)) for (name, scale), x in zip(scales.items(), one, strict=True)} for one in drawn]


class _Scale:
    """A range as the unit interval: logarithmic where it is log."""

    def __init__(self, given: NumberRange):
        self._log = given.log
        self._whole = isinstance(given, IntRange)
        ends: tuple[float, float] = given.bounds
        self._lowest, self._highest = ends
        # A whole number has half a step to both sides, so that the outer ones are not rarer than the others.
        step = 0.5 if self._whole else 0.0
        self._low, self._high = self._at(self._lowest - step), self._at(self._highest + step)

    def place(self, value: float) -> float:
        """Where in [0, 1] a value stands."""
        return (self._at(value) - self._low) / (self._high - self._low)

    def value(self, place: float) -> int | float:
        """The value that stands there."""
        at = self._low + place * (self._high - self._low)
        value = math.exp(at) if self._log else at
        return min(max(round(value) if self._whole else value, self._lowest), self._highest)

    def _at(self, value: float) -> float:
        return math.log(value) if self._log else float(value)
