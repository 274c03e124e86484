"""Adam: its penalty is the one that is stated, and a sweep compiles few programs."""

import numpy as np
import pytest

from mfbench.backends import adam as adam_backend
from mfbench.backends.adam import Adam
from mfbench.matrix.factors import Factors, HyperParams, draw_start
from mfbench.matrix.schedule import Shuffled
from mfbench.testing import small_ratings, train_models

BATCH = 16  # of 60 ratings: the last batch holds 12


def trained(train, start, *, K, alpha, beta, epochs, bias):
    """Our last model, and the order of each of its epochs."""
    hyper, schedule = HyperParams(K, alpha, beta, epochs, bias), Shuffled(len(train), BATCH)
    *_, model = Adam(BATCH).epochs(train, start, hyper, schedule, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    return model, [schedule.epoch(rng).positions() for _ in range(epochs)]


def adam_in_numpy(train, start, orders, alpha, beta, bias):
    """Keras's Adam in float64: dense moments of all rows, epsilon beside √v before the bias correction."""
    tables = {name: np.array(table, dtype=float) for name, table in start.arrays().items() if name != "mean"}
    m = {name: np.zeros_like(table) for name, table in tables.items()}
    v = {name: np.zeros_like(table) for name, table in tables.items()}
    t = 0
    for order in orders:
        for lo in range(0, len(order), BATCH):
            at, t = order[lo : lo + BATCH], t + 1
            gradient = {name: np.zeros_like(table) for name, table in tables.items()}
            P, Q, bu, bi = (tables[name] for name in ("P", "Q", "user_bias", "item_bias"))
            for n in at:
                u, i = train.users[n], train.items[n]
                e = train.values[n] - (start.mean + bu[u] + bi[i] + P[u] @ Q[i])
                gradient["P"][u] += (-2 * e * Q[i] + beta * P[u]) / len(at)
                gradient["Q"][i] += (-2 * e * P[u] + beta * Q[i]) / len(at)
                gradient["user_bias"][u] += (-2 * e + beta * bu[u]) / len(at) * bias
                gradient["item_bias"][i] += (-2 * e + beta * bi[i]) / len(at) * bias
            for name, g in gradient.items():
                m[name] += 0.1 * (g - m[name])
                v[name] += 0.001 * (g * g - v[name])
                step = alpha * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
                tables[name] = tables[name] - step * m[name] / (np.sqrt(v[name]) + 1e-7)
    return Factors(**tables, mean=start.mean)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("K", [1, 5])
def test_penalty_and_biases_are_those_stated(bias, K):
    train = small_ratings()
    start = draw_start(train, K, {"normal": 0.3}, True, np.random.default_rng(1))
    ours, orders = trained(train, start, K=K, alpha=0.01, beta=0.3, epochs=5, bias=bias)
    theirs = adam_in_numpy(train, start, orders, 0.01, 0.3, bias)
    for name, array in theirs.arrays().items():
        np.testing.assert_allclose(ours.arrays()[name], array, rtol=1e-4, atol=2e-5, err_msg=name)


def test_a_sweep_compiles_one_program_a_padded_size():
    train = small_ratings(n=50)
    before = adam_backend._epochs._cache_size()
    for K, alpha, beta in [(5, 0.01, 0.1), (8, 0.02, 0.1), (6, 0.03, 0.0)]:
        train_models(Adam(batch_size=8), train, K=K, alpha=alpha, beta=beta)
    assert adam_backend._epochs._cache_size() == before + 1
