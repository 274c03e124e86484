"""RMSE and MAE, summed in float64 on the host in a fixed order."""

from __future__ import annotations

import math

import numpy as np

from mfbench.core.arrays import Floats


def rmse_and_mae(values: Floats, predictions: Floats) -> tuple[float, float]:
    """Root mean squared error sqrt(Σ (r - r̂)² / n) and mean absolute error Σ |r - r̂| / n of n > 0 predictions.

    NumPy's pairwise sum depends on the length alone, so the same predictions give the same bits on any number of
    threads. Predictions that overflowed give inf or nan, which is how divergence is seen.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(np.asarray(values, dtype=np.float64) - predictions)
        return math.sqrt(np.mean(error * error)), float(np.mean(error))
