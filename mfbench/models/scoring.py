"""Predict and score in one compiled pass: RMSE and MAE of a model over a part of the ratings."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from mfbench.backends.base import Model, Spread
from mfbench.core.arrays import Array, Floats64
from mfbench.core.machine import core_list
from mfbench.matrix.compiled import compiled, unsigned
from mfbench.matrix.factors import Factors
from mfbench.matrix.metrics import rmse_and_mae
from mfbench.matrix.posterior import Posterior, factors_of
from mfbench.matrix.ratings import Ratings

CHUNK = 1 << 14


def score(model: Model, ratings: Ratings, threads: int | None = None) -> tuple[float, float]:
    """RMSE and MAE of the model over n > 0 ratings; inf or nan if predictions overflowed.

    Factors are scored by compiled code on all cores that the process may use (or on `threads`), without an array of
    predictions: in float64, summed in chunks of 16,384 ratings, so that the number of threads does not change a bit. A model
    that is `Spread` scores itself, and any other is scored by its `predict`.

    >>> model = Factors(np.array([[1.0], [2.0]]), np.array([[0.5]]), np.zeros(2), np.zeros(1), mean=3.0)
    >>> indices = np.array([0, 1], np.int32), np.array([0, 0], np.int32)
    >>> rmse, mae = score(model, Ratings(*indices, np.array([4.0, 4.0]), n_users=2, n_items=1))  # predictions 3.5 and 4.0
    >>> round(rmse, 3), mae
    (0.354, 0.25)
    """
    if isinstance(model, Spread):
        return model.score(ratings)
    factors = factors_of(model)
    if factors is None:
        return rmse_and_mae(ratings.values, model.predict(ratings.users, ratings.items))
    with np.errstate(over="ignore", invalid="ignore"):
        squared, absolute = _sums(factors, ratings, threads or len(core_list())).sum(axis=0) / len(ratings)
    return math.sqrt(squared), float(absolute)


class Scorer:
    """Scores the models of one training on a part of the ratings (n > 0), epoch after epoch.

    A posterior is scored by the mean prediction over all samples drawn, including those that thinning drops: the scorer
    keeps a running sum of their predictions, so an epoch costs the predictions of one sample.
    """

    def __init__(self, ratings: Ratings):
        self._ratings = ratings
        self._sum: Floats64 | None = None

    def see(self, model: Model) -> None:
        """Update the running sum; call this after each epoch, even if it is not scored."""
        if isinstance(model, Posterior) and model.count:
            if self._sum is None or model.count == 1:
                self._sum = np.zeros(len(self._ratings))
            _add_predictions(self._sum, model.latest.factors, self._ratings)

    def score(self, model: Model) -> tuple[float, float]:
        """RMSE and MAE of the model that was last passed to `see`."""
        if isinstance(model, Posterior) and self._sum is not None:
            return rmse_and_mae(self._ratings.values, self._sum / model.count)
        return score(model, self._ratings)


def _add_predictions(sums: Floats64, model: Factors, ratings: Ratings) -> None:
    """Add the prediction for each rating to `sums`, float64 [n]."""
    n, threads = len(ratings), len(core_list())
    columns: tuple[Any, ...] = unsigned(ratings.users, ratings.items)
    tables: tuple[Any, ...] = (model.P, model.Q, model.user_bias, model.item_bias, float(model.mean))
    bounds = [n * thread // threads for thread in range(threads + 1)]
    others = [_pool().submit(_add, sums, *bound, *columns, *tables) for bound in pairwise(bounds)]
    for other in others:
        other.result()


def _sums(model: Factors, ratings: Ratings, threads: int) -> Floats64:
    """float64 [chunks, 2]: Σ e² and Σ |e| of each chunk."""
    n = len(ratings)
    sums = np.zeros((-(-n // CHUNK), 2))
    columns: tuple[Any, ...] = (*unsigned(ratings.users, ratings.items), ratings.values)
    tables: tuple[Any, ...] = (model.P, model.Q, model.user_bias, model.item_bias, float(model.mean))

    def work(thread: int) -> None:
        for chunk in range(thread, len(sums), threads):
            _sum_errors(sums[chunk], chunk * CHUNK, min(n, (chunk + 1) * CHUNK), *columns, *tables)

    others = [_pool().submit(work, thread) for thread in range(1, min(threads, len(sums)))]
    work(0)
    for other in others:
        other.result()
    return sums


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads that are reused by later calls, as starting them takes longer than scoring a small part."""
    return ThreadPoolExecutor(os.cpu_count())


@compiled(reordered=True)
def _sum_errors(
    sums: Floats64, first: int, end: int, users: Array, items: Array, values: Array,
    P: Array, Q: Array, user_bias: Array, item_bias: Array, mean: float,
) -> None:  # fmt: skip
    """Write Σ e² and Σ |e| over the ratings from `first` up to `end` into `sums`."""
    K = np.uint32(P.shape[1])
    squared, absolute = 0.0, 0.0
    for n in range(first, end):
        u, i = users[n], items[n]
        prediction = mean + user_bias[u] + item_bias[i]
        for k in range(K):
            prediction += np.float64(P[u, k]) * np.float64(Q[i, k])
        e = values[n] - prediction
        squared += e * e
        absolute += abs(e)
    sums[0], sums[1] = squared, absolute


@compiled(reordered=True)
def _add(
    sums: Floats64, first: int, end: int, users: Array, items: Array,
    P: Array, Q: Array, user_bias: Array, item_bias: Array, mean: float,
) -> None:  # fmt: skip
    """Add the prediction for each rating from `first` up to `end` to `sums`."""
    K = np.uint32(P.shape[1])
    for n in range(first, end):
        u, i = users[n], items[n]
        prediction = mean + user_bias[u] + item_bias[i]
        for k in range(K):
            prediction += np.float64(P[u, k]) * np.float64(Q[i, k])
        sums[n] += prediction
