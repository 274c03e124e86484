"""Surprise in our terms: the rule of its SVD written down a second time, and Surprise itself where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mfbench.backends import registry
from mfbench.backends.base import Backend
from mfbench.backends.loop import Loop
from mfbench.backends.numba import Numba
from mfbench.data.planted import planted
from mfbench.matrix.factors import Factors, HyperParams, draw_start
from mfbench.matrix.ratings import Ratings
from mfbench.testing import BackendContract, small_ratings, train_models

OURS: dict[str, Backend] = {
    "loop": Loop(order="rows", simultaneous=True),
    "numba": Numba(schedule="rows", simultaneous=True, dtype="float64"),
}


def surprise_svd(ratings: Ratings, start: Factors, lr: float, reg: float, n_epochs: int, biased: bool) -> Factors:
    """Surprise's documentation of SVD, and the order of its code: user by user, p_u and q_i both from their old values."""
    bu, bi, pu, qi = np.zeros(ratings.n_users), np.zeros(ratings.n_items), start.P.copy(), start.Q.copy()
    for _ in range(n_epochs):
        for u, i, r in zip(ratings.users, ratings.items, ratings.values.astype(float), strict=True):
            err = r - (start.mean + bu[u] + bi[i] + qi[i] @ pu[u])
            if biased:
                bu[u] += lr * (err - reg * bu[u])
                bi[i] += lr * (err - reg * bi[i])
            puf, qif = pu[u].copy(), qi[i].copy()
            pu[u] += lr * (err * qif - reg * puf)
            qi[i] += lr * (err * puf - reg * qif)
    return Factors(pu, qi, bu, bi, start.mean)


def predictions(model: Any, ratings: Ratings) -> Any:
    users, items = np.divmod(np.arange(ratings.n_users * ratings.n_items, dtype=np.int32), ratings.n_items)
    return model.predict(users, items)


def trained(backend: Backend, ratings: Ratings, epochs: int, K: int = 5, bias: bool = True, center: bool = True) -> Any:
    start = draw_start(ratings, K, {"normal": 0.1}, center, np.random.default_rng(1))
    train, schedule = backend.arrange(ratings, np.random.default_rng(2))
    hyper = HyperParams(K, 0.01, 0.05, epochs, bias)
    return list(backend.epochs(train, start, hyper, schedule, np.random.default_rng(3)))[-1]


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize(("bias", "center"), [(True, True), (False, False)])
def test_the_rule_of_surprise(name: str, bias: bool, center: bool) -> None:
    ratings = planted(60, 80, 2000, 1, "planted").ratings
    start = draw_start(ratings, 5, {"normal": 0.1}, center, np.random.default_rng(1))
    theirs = predictions(surprise_svd(ratings, start, lr=0.02, reg=0.025, n_epochs=4, biased=bias), ratings)
    ours = predictions(trained(OURS[name], ratings, 4, bias=bias, center=center), ratings)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
    in_turn = predictions(trained(Loop(order="rows"), ratings, 4, bias=bias, center=center), ratings)
    assert np.abs(in_turn - theirs).max() > 1e-4  # else nothing would be shown


class TestLoopInThatDialect(BackendContract):
    """Updated from the old values."""

    backend = Loop(simultaneous=True)


class TestNumbaInThatDialect(BackendContract):
    """In blocks, in float32."""

    backend = Numba(simultaneous=True)


# --- Surprise itself -------------------------------------------------------------------------------------------------


@pytest.fixture
def surprise() -> Any:
    if registry.backend_class("surprise").environment().state != "ready":
        pytest.skip("Surprise is not installed: run `mfbench peers get surprise`")
    return lambda name: registry.resolve(name, {})


@pytest.mark.parametrize(("bias", "center"), [(True, True), (True, False), (False, True), (False, False)])
def test_surprise_predicts_the_same(surprise: Any, bias: bool, center: bool) -> None:
    ratings = planted(943, 1682, 20_000, 0, "planted").ratings
    theirs = predictions(trained(surprise("surprise"), ratings, 5, K=8, bias=bias, center=center), ratings)
    ours = predictions(trained(OURS["numba"], ratings, 5, K=8, bias=bias, center=center), ratings)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


def test_svdpp_without_implicit_items_starts_as_svd(surprise: Any) -> None:
    ratings = small_ratings()
    plain, implicit = (train_models(surprise(name), ratings, epochs=20)[-1] for name in ("surprise", "surprise-svdpp"))
    assert np.abs(predictions(plain, ratings) - predictions(implicit, ratings)).max() > 1e-3
    error = [np.sqrt(np.mean((ratings.values - one.predict(ratings.users, ratings.items)) ** 2)) for one in (plain, implicit)]
    assert error[1] < error[0] + 0.05


def test_the_baseline_is_that_of_its_documentation(surprise: Any) -> None:
    ratings = small_ratings()
    model: Any = train_models(surprise("surprise-baseline"), ratings, epochs=1)[-1]
    bu, bi, mean = np.zeros(12), np.zeros(9), ratings.values.mean()
    for _ in range(10):
        for bias, other, rows, others, reg in (
            (bi, bu, ratings.items, ratings.users, 10),
            (bu, bi, ratings.users, ratings.items, 15),
        ):
            for row in range(len(bias)):
                mine = rows == row
                bias[row] = (ratings.values[mine] - mean - other[others[mine]]).sum() / (reg + mine.sum())
    np.testing.assert_allclose(model.user_bias, bu, atol=1e-6)
    np.testing.assert_allclose(model.item_bias, bi, atol=1e-6)
