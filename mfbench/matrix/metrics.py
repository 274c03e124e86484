"""RMSE and MAE, summed in float64 in a fixed order."""

from __future__ import annotations

import math

import numpy as np

from mfbench.core.arrays import Array, Floats


def rmse_and_mae(values: Floats, predictions: Floats) -> tuple[float, float]:
    """Root mean squared error sqrt(Σ (r - r̂)² / n) and mean absolute error Σ |r - r̂| / n of n > 0 predictions.

    The order of NumPy's pairwise sum depends only on the length, so the same predictions give the same bits on any number
    of threads. Predictions that overflowed give inf or nan: this is how divergence is detected.

    >>> rmse, mae = rmse_and_mae(np.array([4.0, 2.0, 5.0]), np.array([3.5, 2.0, 4.0]))
    >>> round(rmse, 3), mae
    (0.645, 0.5)
    """
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(np.asarray(values, dtype=np.float64) - predictions)
        return math.sqrt(np.mean(error * error)), float(np.mean(error))


def mean_or_none(values: Array) -> float | None:
    """The mean in float64; None of no values.

    >>> mean_or_none(np.array([1, 2])), mean_or_none(np.array([]))
    (1.5, None)
    """
    return float(np.mean(values, dtype=np.float64)) if len(values) else None
