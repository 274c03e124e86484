"""Alternating least squares: each half of an epoch is the closed form, and together they only ever come down."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfbench.backends.als import Als
from mfbench.backends.loop import Loop
from mfbench.backends.on_device.als import ABREAST, DEPTH
from mfbench.matrix.factors import Factors, HyperParams, draw_start
from mfbench.matrix.ratings import Ratings
from mfbench.testing import small_ratings, train_models


def by_hand(rows, others, values, n, other, other_bias, beta, bias):
    """Each row's factors and bias by NumPy's solver, from the equations as the docstring has them."""
    K = other.shape[1]
    table, biases = np.zeros((n, K)), np.zeros(n)
    for row in range(n):
        mine = rows == row
        if mine.any():
            q = other[others[mine]]
            q = np.column_stack([q, np.ones(len(q))]) if bias else q
            rest = values[mine] - other_bias[others[mine]]
            solved = np.linalg.solve(q.T @ q + beta * mine.sum() / 2 * np.eye(q.shape[1]), q.T @ rest)
            table[row], biases[row] = solved[:K], solved[K] if bias else 0
    return table, biases


def check_one_epoch(train, K, beta, bias, seed=0):
    start = draw_start(train, K, {"normal": 0.5}, True, np.random.default_rng(seed))
    hyper = HyperParams(K, None, beta, 1, bias)
    rng = np.random.default_rng(seed)
    schedule = Als().arrange(train, rng)[1]
    for device in (None, "cpu"):
        *_, model = Als(device, "float64").epochs(train, start, hyper, schedule, rng)
        # JAX is given the ratings less the mean as the ratings' own type, the compiled code as float64.
        values = (train.values if device else train.values.astype(np.float64)) - start.mean
        P, user_bias = by_hand(train.users, train.items, values, train.n_users, start.Q, start.item_bias, beta, bias)
        Q, item_bias = by_hand(train.items, train.users, values, train.n_items, P, user_bias, beta, bias)
        for ours, theirs in [(model.P, P), (model.user_bias, user_bias), (model.Q, Q), (model.item_bias, item_bias)]:
            np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)


def test_no_number_of_threads_changes_a_bit():
    train = small_ratings(n_users=300, n_items=200, n=4000)
    one, two, most = (train_models(Als(threads=threads), train, K=9)[-1].arrays() for threads in (1, 2, 10**9))
    for name, array in one.items():
        assert array.tobytes() == two[name].tobytes() == most[name].tobytes(), name


@given(
    cells=st.permutations(range(20)),
    values=st.lists(st.integers(1, 5), min_size=11, max_size=11),
    K=st.integers(1, 4),
    beta=st.floats(0.01, 10),
    bias=st.booleans(),
)
@settings(deadline=None)
def test_an_epoch_is_the_closed_form_for_users_then_for_items(cells, values, K, beta, bias):
    users, items = np.divmod(np.array(cells[:11], np.int32), 4)  # of 5 users and 4 items; some may have none
    check_one_epoch(Ratings(users, items, np.array(values, np.float32), 5, 4), K, beta, bias)


@pytest.mark.parametrize("bias", [False, True])
def test_also_for_more_rows_than_stand_abreast_and_more_ratings_than_are_summed_at_once(bias):
    train = small_ratings(n_users=ABREAST + 20, n_items=3 * ABREAST, n=4000)
    assert np.bincount(train.users).max() > DEPTH
    check_one_epoch(train, 6, 0.3, bias)


@pytest.mark.parametrize("K", [7, 8, 14, 15, 16, 17, 40])
@pytest.mark.parametrize("bias", [False, True])
def test_also_for_more_factors_than_are_eliminated_at_once(K, bias):
    check_one_epoch(small_ratings(n_users=30, n_items=20, n=300), K, 0.3, bias)


def test_equations_without_a_solution_are_no_error():
    train = Ratings(np.zeros(1, np.int32), np.zeros(1, np.int32), np.ones(1, np.float32), 1, 1)
    start = Factors(np.ones((1, 2)), np.ones((1, 2)), np.zeros(1), np.zeros(1), 0.0)
    *_, model = Als(dtype="float64").epochs(
        train, start, HyperParams(2, None, 0.0, 1, False), Als().arrange(train, None)[1], None
    )
    assert not np.isfinite(model.P).all()


def objective(train: Ratings, model: Factors, beta: float) -> float:
    """The SGD rule's: Σ e² + beta/2 (|p|² + |q|² + the biases squared), over the ratings."""
    u, i = train.users, train.items
    e = train.values - model.predict(u, i)
    penalty = (model.P[u] ** 2).sum(1) + (model.Q[i] ** 2).sum(1) + model.user_bias[u] ** 2 + model.item_bias[i] ** 2
    return float(np.sum(e * e + beta / 2 * penalty))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("beta", [0.02, 0.3])
def test_the_objective_never_rises(beta, bias):
    train = small_ratings(n_users=30, n_items=20, n=300)
    models: list[Any] = train_models(Als(dtype="float64"), train, K=5, beta=beta, bias=bias, epochs=30)
    course = [objective(train, model, beta) for model in models]
    assert all(after <= before * (1 + 1e-12) for before, after in pairwise(course))
    assert course[-1] < 0.9 * course[0]


def test_sgd_finds_no_better_objective_from_there():
    train = small_ratings(n_users=20, n_items=15, n=150)
    found: Any = train_models(Als(dtype="float64"), train, K=2, beta=0.5, epochs=500)[-1]
    after: Any
    *_, after = Loop().epochs(
        train, found, HyperParams(2, 1e-5, 0.5, 20, True), Loop().arrange(train, None)[1], np.random.default_rng(0)
    )
    assert np.abs(after.P - found.P).max() < 1e-5  # its steps cancel: the two have one objective
    assert objective(train, after, 0.5) == pytest.approx(objective(train, found, 0.5), rel=1e-8)


def test_float32_is_near_float64():
    train = small_ratings(n_users=30, n_items=20, n=300)
    single: Any
    single, double = (train_models(Als(dtype=dtype), train, epochs=5)[-1] for dtype in ("float32", "float64"))
    assert single.P.dtype == np.float32
    np.testing.assert_allclose(
        single.predict(train.users, train.items), double.predict(train.users, train.items), rtol=1e-3, atol=1e-3
    )
