"""One update rule, three executors: the same schedule gives the same factors, and no number of threads changes a bit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfbench.backends.jax import Jax
from mfbench.backends.loop import Loop
from mfbench.backends.numba import Numba
from mfbench.data.planted import planted
from mfbench.matrix.factors import HyperParams, draw_start
from mfbench.matrix.ratings import Ratings
from mfbench.testing import small_ratings, train_models

EXECUTORS = {
    "blocks on one thread": Numba(blocks=3, threads=1, dtype="float64"),
    "blocks on two threads": Numba(blocks=3, threads=2, dtype="float64"),
    "one block": Numba(blocks=1, dtype="float64"),
    "waves compiled": Numba(schedule="waves", dtype="float64"),
    "waves in JAX": Jax(schedule="waves", dtype="float64"),
}
each_executor = pytest.mark.parametrize("backend", EXECUTORS.values(), ids=EXECUTORS)


def ratings_of(cells, n_users, n_items):
    users, items = np.array(sorted(cells), np.int32).T
    return Ratings(users.copy(), items.copy(), (1 + (users + 2 * items) % 5).astype(np.float32), n_users, n_items)


def assert_one_algorithm(backend, train, *, K=3, bias=True, center=True, alpha=0.02, epochs=3, step="constant"):
    """The executor and `loop` over the ratings as it arranged them, with its schedule, from the same start."""
    start = draw_start(train, K, {"normal": 0.3}, center, np.random.default_rng(1))
    hyper = HyperParams(K, alpha, 0.1, epochs, bias, step, decay=0.3)
    arranged, schedule = backend.arrange(train, np.random.default_rng(2))
    ours, theirs = (
        list(executor.epochs(arranged, start, hyper, schedule, np.random.default_rng(3))) for executor in (backend, Loop())
    )
    assert len(ours) == len(theirs) == epochs + 1
    for one, other in zip(ours, theirs, strict=True):
        for name, array in other.arrays().items():
            assert one.arrays()[name].dtype == np.float64
            assert np.linalg.norm(one.arrays()[name] - array) <= 1e-10 * max(1.0, float(np.linalg.norm(array))), name


@each_executor
@settings(max_examples=20, deadline=None)  # a deadline would meet the compilation
@given(
    cells=st.sets(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1),
    K=st.integers(1, 4),
    bias=st.booleans(),
    center=st.booleans(),
    step=st.sampled_from(["constant", "adagrad", "decay"]),
)
def test_any_ratings(backend, cells, K, bias, center, step):
    assert_one_algorithm(backend, ratings_of(cells, 7, 6), K=K, bias=bias, center=center, step=step)


@each_executor
@pytest.mark.parametrize(
    "cells",
    [[(0, 0)], [(0, i) for i in range(5)], [(u, 0) for u in range(5)], [(2, i) for i in range(6)] + [(0, 1), (4, 1), (4, 5)]],
    ids=["one rating", "one user", "one item", "a user who rated everything"],
)
def test_the_smallest_ratings(backend, cells):
    users, items = (max(part) + 1 for part in zip(*cells, strict=True))
    assert_one_algorithm(backend, ratings_of(cells, users, items))
    assert_one_algorithm(backend, ratings_of(cells, users + 3, items + 3), bias=False, center=False)  # empty rows, too


@pytest.fixture(scope="module")
def planted_100k():
    return planted(943, 1682, 100_000, 0, "planted-100k").ratings


@each_executor
@pytest.mark.parametrize(("step", "K", "alpha"), [("constant", 8, 0.005), ("adagrad", 13, 0.05), ("decay", 3, 0.01)])
def test_planted_100k(backend, planted_100k, step, K, alpha):
    fewer = slice(25_000 if step == "adagrad" else None)  # the loop takes seconds for each epoch of it
    assert_one_algorithm(backend, planted_100k.take(fewer), K=K, alpha=alpha, step=step)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("K", "step"), [(1, "constant"), (8, "decay"), (20, "constant"), (20, "adagrad")])
def test_no_number_of_threads_changes_a_bit(planted_100k, dtype, K, step):
    one, *others = (
        train_models(Numba(threads=threads, dtype=dtype), planted_100k, K=K, step=step)[-1].arrays()
        for threads in (1, 2, 3, 20)
    )
    for other in others:
        for name, array in one.items():
            assert array.tobytes() == other[name].tobytes(), name


def test_float32_is_float64_rounded(planted_100k):
    narrow: Any
    wide: Any
    narrow, wide = (train_models(Numba(dtype=dtype), planted_100k)[-1] for dtype in ("float32", "float64"))
    assert narrow.P.dtype == np.float32
    np.testing.assert_allclose(narrow.P, wide.P, atol=1e-4)


def test_a_schedule_that_draws_its_order_anew():
    train = small_ratings()
    start = draw_start(train, 3, {"normal": 0.3}, True, np.random.default_rng(1))
    schedule = Loop().arrange(train, np.random.default_rng(0))[1]
    models: Any = (
        list(backend.epochs(train, start, HyperParams(3, 0.02, 0.1, 3, True), schedule, np.random.default_rng(3)))[-1]
        for backend in (Numba(dtype="float64"), Jax(schedule="waves", dtype="float64"), Loop())
    )
    compiled, jitted, looped = (np.concatenate([model.P.ravel(), model.Q.ravel()]) for model in models)
    np.testing.assert_allclose(compiled, looped, rtol=1e-12)
    np.testing.assert_allclose(jitted, looped, rtol=1e-12)


def test_float64_in_jax_leaves_float32_alone():
    train = small_ratings()
    before: Any = train_models(Jax(), train)[-1]
    wide: Any = train_models(Jax(dtype="float64"), train)[-1]
    after: Any = train_models(Jax(), train)[-1]
    assert (before.P.dtype, wide.P.dtype) == (np.float32, np.float64)
    assert before.P.tobytes() == after.P.tobytes()
    np.testing.assert_allclose(before.P, wide.P, atol=1e-5)


def test_a_thread_that_fails_does_not_leave_the_others_waiting(monkeypatch):
    from mfbench.backends import numba

    train, sweep = small_ratings(), numba._sweep

    def broken(sequence, offsets, first, *rest):
        if len(sequence) > 1 and first % 2:
            raise MemoryError
        sweep(sequence, offsets, first, *rest)

    monkeypatch.setattr(numba, "_sweep", broken)
    with pytest.raises((MemoryError, RuntimeError)):
        train_models(Numba(blocks=4, threads=2), train)
