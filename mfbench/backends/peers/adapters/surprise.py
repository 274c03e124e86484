"""Surprise (scikit-surprise): SVD, SVD++ and the baseline, in its own compiled code, an epoch at a time.

Its rule, p += lr (e q - reg p), is ours with lr = 2 alpha and reg = beta / 2, but p and q are both updated from the old values
(`simultaneous` of `numba` and `loop`). float64, one thread, always in the order of users and of their items, not shuffled.
The start is the one that the spec draws. bias: false keeps its biases at zero, center: false its mean.

Surprise cannot go on with a model, so each epoch is a `fit` of one epoch that is given the factors and biases of the epoch
before as its start: its code takes factors from `random_state`, and biases from `np.zeros`, both of which are replaced here.
The result has the same bits as one `fit` of all epochs.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np


def train(given: SimpleNamespace) -> Iterator[dict[str, Any]]:
    """SVD, or what the knob `algorithm` says."""
    from surprise import Trainset

    users: dict[int, list[Any]] = {u: [] for u in range(given.n_users)}
    items: dict[int, list[Any]] = {i: [] for i in range(given.n_items)}
    for u, i, r in zip(given.users.tolist(), given.items.tolist(), given.values.tolist(), strict=True):
        users[u].append((i, r))
        items[i].append((u, r))
    scale = given.values.min(), given.values.max()
    ratings = Trainset(users, items, given.n_users, given.n_items, len(given.values), scale, {}, {})
    ratings._global_mean = given.mean
    yield from {"svd": _svd, "svdpp": _svdpp, "baseline": _baseline}[given.algorithm](given, ratings)


def _svd(given: SimpleNamespace, ratings: Any) -> Iterator[dict[str, Any]]:
    from surprise import SVD

    bu, bi, P, Q = given.user_bias, given.item_bias, given.P, given.Q
    one = SVD(n_factors=given.K, n_epochs=1, **_rates(given))
    yield {}
    for _ in range(given.epochs):
        _epoch(one, ratings, zeros=[bu, bi], normal=[P, Q])
        yield {"P": P, "Q": Q, "user_bias": bu, "item_bias": bi, "mean": np.float64(given.mean)}


def _svdpp(given: SimpleNamespace, ratings: Any) -> Iterator[dict[str, Any]]:
    """P is p_u + Σ y_j / √|I_u|, which is what SVD++ predicts with; y starts normal, with the standard deviation of Q."""
    from surprise import SVDpp

    bu, bi, P, Q = given.user_bias, given.item_bias, given.P, given.Q
    rated = np.unique(given.items)
    Y = np.random.default_rng(given.seed).normal(0, Q[rated].std(), Q.shape)
    one = SVDpp(n_factors=given.K, n_epochs=1, cache_ratings=True, **_rates(given))
    n = np.bincount(given.users, minlength=given.n_users)
    yield {}
    for _ in range(given.epochs):
        _epoch(one, ratings, zeros=[bu, bi, np.zeros(given.K)], normal=[P, Q, Y])
        implicit = np.zeros_like(P)
        np.add.at(implicit, given.users, Y[given.items])
        seen = P + implicit / np.sqrt(np.maximum(n, 1))[:, None]
        yield {"P": seen, "Q": Q, "user_bias": bu, "item_bias": bi, "mean": np.float64(given.mean)}


def _baseline(given: SimpleNamespace, ratings: Any) -> Iterator[dict[str, Any]]:
    from surprise import BaselineOnly

    options = {name: getattr(given, name) for name in ("method", "n_epochs", "reg_u", "reg_i", "reg", "learning_rate")}
    one = BaselineOnly({name: value for name, value in options.items() if value is not None}, verbose=False)
    ratings._global_mean = None  # it always has the mean
    yield {}
    one.fit(ratings)
    P, Q = np.zeros((given.n_users, 0)), np.zeros((given.n_items, 0))
    yield {"P": P, "Q": Q, "user_bias": one.bu, "item_bias": one.bi, "mean": np.float64(ratings.global_mean)}


def _rates(given: SimpleNamespace) -> dict[str, float]:
    rate = 2 * given.alpha
    of_bias = rate if given.bias else 0.0
    return {"lr_all": rate, "lr_bu": of_bias, "lr_bi": of_bias, "reg_all": given.beta / 2}


def _epoch(algorithm: Any, ratings: Any, zeros: list[Any], normal: list[Any]) -> None:
    """One epoch, in these arrays in place: those that the algorithm would start from zero, and those it would draw."""
    from surprise.prediction_algorithms import matrix_factorization as theirs

    class Start(np.random.RandomState):
        def normal(self, *_: Any, **__: Any) -> Any:
            return next(drawn)

    class Numpy:
        double, asarray = np.double, staticmethod(np.asarray)

        @staticmethod
        def zeros(*_: Any, **__: Any) -> Any:
            return next(zero)

    drawn, zero = iter(normal), iter(zeros)
    algorithm.random_state = Start(0)
    theirs.np, before = Numpy, theirs.np
    try:
        algorithm.fit(ratings)
    finally:
        theirs.np = before
    used = (algorithm.bu, algorithm.bi, algorithm.pu, algorithm.qi)
    if not all(np.shares_memory(one, other) for one, other in zip(used, (*zeros[:2], *normal[:2]), strict=True) if one.size):
        raise RuntimeError("this version of Surprise does not take a start; get the pinned one")
