"""Scoring: what NumPy computes in float64, with the same bits on any number of threads."""

import numpy as np
import pytest

from mfbench.matrix.factors import Factors, draw_start
from mfbench.matrix.metrics import rmse_and_mae
from mfbench.matrix.ratings import Ratings
from mfbench.models.scoring import CHUNK, score
from mfbench.testing import small_ratings


def many(n):
    rng = np.random.default_rng(n)
    users, items = rng.integers(0, 300, n).astype(np.int32), rng.integers(0, 200, n).astype(np.int32)
    return Ratings(users, items, rng.integers(1, 6, n).astype(np.float32), 300, 200)


def model_of(K, dtype, train):
    start = draw_start(train, K, {"normal": 0.3}, True, np.random.default_rng(K))
    rng = np.random.default_rng(0)
    biases = rng.normal(size=train.n_users), rng.normal(size=train.n_items)
    P, Q, user_bias, item_bias = (table.astype(dtype) for table in (start.P, start.Q, *biases))
    return Factors(P, Q, user_bias, item_bias, start.mean)


@pytest.mark.parametrize("n", [1, 100, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
@pytest.mark.parametrize("K", [0, 1, 19, 32])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_what_numpy_computes(n, K, dtype):
    part = many(n)
    model = model_of(K, dtype, part)
    scores = score(model, part)
    np.testing.assert_allclose(scores, rmse_and_mae(part.values, model.predict(part.users, part.items)), rtol=1e-12)
    assert all(score(model, part, threads) == scores for threads in (1, 2, 3, 9))


def test_values_in_float64():
    part = many(50)
    part = Ratings(part.users, part.items, part.values + 1e-9, part.n_users, part.n_items)
    model = model_of(3, "float32", part)
    np.testing.assert_allclose(
        score(model, part), rmse_and_mae(part.values, model.predict(part.users, part.items)), rtol=1e-12
    )


def test_a_model_of_another_kind_predicts():
    class Always:
        def predict(self, users, items):  # noqa: ARG002
            return np.full(len(users), 3.0)

        def arrays(self):
            return {}

    part = small_ratings()
    assert score(Always(), part) == rmse_and_mae(part.values, np.full(len(part), 3.0))


@pytest.mark.parametrize("bad", [np.inf, np.nan, 1e200])
def test_what_overflowed_is_not_finite(bad):
    part = small_ratings()
    model = model_of(3, "float64", part)
    model.P[part.users[5]] = bad
    assert not np.isfinite(score(model, part)[0])
