"""Adam in compiled code against the dense rule in NumPy: a row that is brought up late is where it would have been."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfbench.backends.adam import Adam
from mfbench.backends.embeddings.rows import AdamRows, Steps
from mfbench.backends.mlp import Mlp
from mfbench.matrix.factors import Factors, HyperParams, draw_start
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Epoch, Shuffled
from mfbench.testing import small_ratings, train_models


def dense(train, start, hyper, schedule, rng):
    """Keras's Adam in float64, as its definition has it: all rows at every step."""
    tables = [table.astype(float) for table in (start.P, start.Q, start.user_bias, start.item_bias)]
    m, v = ([np.zeros_like(table) for table in tables] for _ in range(2))
    t = 0
    for _ in range(hyper.epochs):
        for batch in schedule.epoch(rng).groups():
            P, Q, bu, bi = tables
            u, i, r, n = train.users[batch], train.items[batch], train.values[batch], max(1, len(batch))
            e = start.mean + bu[u] + bi[i] + (P[u] * Q[i]).sum(1) - r
            gradients = [np.zeros_like(table) for table in tables]
            np.add.at(gradients[0], u, (2 * e[:, None] * Q[i] + hyper.beta * P[u]) / n)
            np.add.at(gradients[1], i, (2 * e[:, None] * P[u] + hyper.beta * Q[i]) / n)
            if hyper.bias:
                np.add.at(gradients[2], u, (2 * e + hyper.beta * bu[u]) / n)
                np.add.at(gradients[3], i, (2 * e + hyper.beta * bi[i]) / n)
            t += 1
            for k, g in enumerate(gradients):
                m[k] += 0.1 * (g - m[k])
                v[k] += 0.001 * (g * g - v[k])
                tables[k] = tables[k] - hyper.alpha * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m[k] / (np.sqrt(v[k]) + 1e-7)
    P, Q, user_bias, item_bias = tables
    return Factors(P, Q, user_bias, item_bias, start.mean)


def assert_dense(train, schedule, *, K=3, alpha=0.01, beta=0.1, epochs=4, bias=True, tolerance=1e-5):
    start = draw_start(train, K, {"normal": 0.3}, True, np.random.default_rng(1))
    hyper = HyperParams(K, alpha, beta, epochs, bias)
    *_, ours = Adam().epochs(train, start, hyper, schedule, np.random.default_rng(2))
    theirs = dense(train, start, hyper, schedule, np.random.default_rng(2))
    for name, array in theirs.arrays().items():
        np.testing.assert_allclose(ours.arrays()[name], array, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("size", [1, 7, 60, 100])
@pytest.mark.parametrize("bias", [False, True])
def test_it_computes_what_numpy_computes(size, bias):
    train = small_ratings()
    assert_dense(train, Shuffled(len(train), size), bias=bias)


@settings(max_examples=25, deadline=None)  # a deadline would meet the compilation
@given(cells=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(1, 5)), min_size=12, max_size=12))
def test_any_ratings(cells):
    users, items, values = (np.array(part) for part in zip(*cells, strict=True))
    train = Ratings(users.astype(np.int32), items.astype(np.int32), values.astype(np.float32), 5, 3)
    assert_dense(train, Shuffled(12, 5))


@pytest.mark.parametrize("K", [1, 7, 8, 15, 16, 33])
def test_any_number_of_factors(K):
    train = small_ratings()
    assert_dense(train, Shuffled(len(train), 16), K=K)


def test_groups_of_uneven_size_and_none():
    train = small_ratings()

    class Uneven:
        def epoch(self, rng):
            return Epoch(np.array([0, 3, 3, 20, 21, 60]), rng.permutation(5), rng.permutation(len(train)))

    assert_dense(train, Uneven())


@pytest.mark.parametrize("gap", [1, 2, 9, 60, 1500])
@pytest.mark.parametrize("before", [1, 700])
def test_the_closed_form_of_steps_without_ratings_is_exact_to_the_rounding_of_float32(before, gap):
    size = 10.0 ** -np.arange(10)  # of √v: from much more than epsilon to much less
    steps, rows, alpha = Steps(), AdamRows(np.zeros((3, 10)), None, 4), 0.003
    steps.begin(alpha, before + gap)
    steps.number = before
    rows.catch_up(steps)
    rows.state[1, 1:, :10] = 0.1 * size, size**2
    w, m, v = rows.state[1].astype(float)
    for t in range(before + 1, before + gap + 1):
        m, v = 0.9 * m, 0.999 * v
        w = w - alpha * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-7)
        steps.next()
    rows.catch_up(steps)
    np.testing.assert_allclose(rows.state[1, 0, :10], w[:10], rtol=4e-7)
    np.testing.assert_allclose(rows.state[1, 1, :10], m[:10], rtol=2e-7, atol=1e-37)
    np.testing.assert_allclose(rows.state[1, 2, :10], v[:10], rtol=2e-7, atol=1e-37)
    assert not rows.state[0].any()


@pytest.mark.parametrize("backend", [Adam, Mlp])
@pytest.mark.parametrize("bias", [False, True])
def test_compiled_code_and_jax_train_the_same_model(backend, bias):
    train = small_ratings(n_users=80, n_items=70, n=900)
    ours: Any
    theirs: Any
    ours, theirs = (train_models(backend(32, device), train, K=9, bias=bias)[-1].arrays() for device in (None, "cpu"))
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert array.dtype == ours[name].dtype
        np.testing.assert_allclose(ours[name], array, rtol=1e-4, atol=2e-5, err_msg=name)


def test_biases_that_are_not_learned_count_in_the_error():
    train = small_ratings()
    rng = np.random.default_rng(1)
    start = draw_start(train, 3, {"normal": 0.3}, True, rng)
    start = Factors(start.P, start.Q, rng.normal(size=train.n_users), rng.normal(size=train.n_items), start.mean)
    hyper, schedule = HyperParams(3, 0.01, 0.1, 4, False), Shuffled(len(train), 16)
    *_, ours = Adam().epochs(train, start, hyper, schedule, np.random.default_rng(2))
    theirs = dense(train, start, hyper, schedule, np.random.default_rng(2))
    np.testing.assert_allclose(ours.arrays()["P"], theirs.P, atol=1e-5)
    np.testing.assert_array_equal(ours.arrays()["user_bias"], start.user_bias.astype(np.float32))
