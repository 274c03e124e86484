"""Minibatch SGD in JAX against the same thing written in NumPy, float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import ended, said_by, started

from mfbench.backends.jax import Jax
from mfbench.backends.on_device.sgd import CAP
from mfbench.matrix.factors import Factors, HyperParams, draw_start
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Epoch, Shuffled
from mfbench.testing import small_ratings, train_models


def minibatch(train, start, hyper, schedule, rng, cap=CAP):
    """All of a batch reads the old factors; a row seen c times steps by min(alpha, max(cap, alpha) / c) a rating."""
    P, Q, bu, bi = (t.astype(float).copy() for t in (start.P, start.Q, start.user_bias, start.item_bias))
    alpha, beta = hyper.alpha, hyper.beta
    for _ in range(hyper.epochs):
        for batch in schedule.epoch(rng).groups():
            dP, dQ, dbu, dbi = (np.zeros_like(table) for table in (P, Q, bu, bi))
            n_u = np.bincount(train.users[batch], minlength=train.n_users)
            n_i = np.bincount(train.items[batch], minlength=train.n_items)
            for n in batch:
                u, i, r = train.users[n], train.items[n], float(train.values[n])
                e = r - (start.mean + bu[u] + bi[i] + P[u] @ Q[i])
                alpha_u = min(alpha, max(cap, alpha) / n_u[u])
                alpha_i = min(alpha, max(cap, alpha) / n_i[i])
                dP[u] += alpha_u * (2 * e * Q[i] - beta * P[u])
                dQ[i] += alpha_i * (2 * e * P[u] - beta * Q[i])
                dbu[u] += alpha_u * (2 * e - beta * bu[u])
                dbi[i] += alpha_i * (2 * e - beta * bi[i])
            P, Q = P + dP, Q + dQ
            if hyper.bias:
                bu, bi = bu + dbu, bi + dbi
    return Factors(P, Q, bu, bi, start.mean)


def both(train, schedule, *, K=3, alpha=0.02, beta=0.1, epochs=4, bias=True, cap=CAP):
    start = draw_start(train, K, {"normal": 0.3}, True, np.random.default_rng(1))
    hyper = HyperParams(K, alpha, beta, epochs, bias)
    *_, ours = Jax().epochs(train, start, hyper, schedule, np.random.default_rng(2))
    return ours, minibatch(train, start, hyper, schedule, np.random.default_rng(2), cap)


def assert_close(ours, theirs, tolerance=1e-5):
    for name, array in theirs.arrays().items():
        np.testing.assert_allclose(ours.arrays()[name], array, rtol=tolerance, atol=tolerance, err_msg=name)


def differs(ours, theirs):
    return np.abs(ours.Q - theirs.Q).max() > 1e-3


@pytest.mark.parametrize("size", [1, 7, 60, 100])
@pytest.mark.parametrize("bias", [False, True])
def test_it_computes_what_numpy_computes(size, bias):
    train = small_ratings()
    assert_close(*both(train, Shuffled(len(train), size), bias=bias))


@settings(max_examples=25, deadline=None)  # a deadline would meet the compilation
@given(cells=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(1, 5)), min_size=12, max_size=12))
def test_any_ratings(cells):
    users, items, values = (np.array(part) for part in zip(*cells, strict=True))
    train = Ratings(users.astype(np.int32), items.astype(np.int32), values.astype(np.float32), 5, 3)
    assert_close(*both(train, Shuffled(12, 5), alpha=0.05))


def test_groups_of_uneven_size():
    train = small_ratings()

    class Uneven:
        def epoch(self, rng):
            return Epoch(np.array([0, 3, 3, 20, 21, 60]), rng.permutation(5), rng.permutation(len(train)))

    assert_close(*both(train, Uneven()))


@pytest.mark.parametrize("K", [1, 4, 5, 70])
def test_padding_of_k_changes_nothing(K):
    train = small_ratings()
    ours, theirs = both(train, Shuffled(len(train), 16), K=K, alpha=0.005)
    assert ours.P.shape == (train.n_users, K)
    assert_close(ours, theirs)


def one_item(n):
    return Ratings(np.arange(n, dtype=np.int32), np.zeros(n, np.int32), np.full(n, 4, np.float32), n, 1)


def test_a_row_that_meets_itself_too_often_is_damped():
    train = one_item(40)
    ours, theirs = both(train, Shuffled(40, 40), alpha=0.05)  # alpha c = 2, eight times the cap
    assert_close(ours, theirs)
    assert differs(ours, both(train, Shuffled(40, 40), alpha=0.05, cap=np.inf)[1])


def test_a_row_below_the_cap_is_not_damped():
    train = one_item(40)
    ours, undamped = both(train, Shuffled(40, 40), alpha=0.24 / 40, cap=np.inf)
    assert_close(ours, undamped)


def test_a_row_that_occurs_once_is_never_damped():
    train = one_item(4)
    assert_close(*both(train, Shuffled(4, 1), alpha=0.4, epochs=1, cap=np.inf))


def test_a_popular_item_does_not_blow_up():
    train = one_item(2000)
    ours = train_models(Jax(batch_size=2000), train, alpha=0.05, beta=0.001, epochs=50, center=False)[-1]
    assert np.abs(ours.predict(train.users, train.items) - 4).max() < 0.5


TRAINING = """
from mfbench.backends.jax import Jax
from mfbench.matrix.factors import digest_of
from mfbench.testing import small_ratings, train_models
print(digest_of(train_models(Jax(batch_size=7), small_ratings())[-1].arrays()))
"""


def test_the_compile_cache_serves_two_processes_at_once_and_changes_no_bit(tmp_path):
    def training(cached="1"):
        return started("-c", TRAINING, settings={"MFBENCH_CACHE": str(tmp_path), "JAX_ENABLE_COMPILATION_CACHE": cached})

    def finished(process):
        status, out, err = ended(process)
        assert status == 0, err
        assert "cache" not in err
        return out

    with training() as one, training() as other:
        cold = [finished(one), finished(other)]
    kept = sorted(path.name for path in (tmp_path / "jax").glob("*-cache"))
    assert kept
    with training() as process:
        warm = finished(process)
    assert sorted(path.name for path in (tmp_path / "jax").glob("*-cache")) == kept  # nothing was compiled again
    with training(cached="0") as process:
        without = finished(process)
    assert {*cold, warm, without} == {warm}


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "file").write_text("")
    assert said_by(TRAINING, settings={"MFBENCH_CACHE": str(tmp_path / "file")})
