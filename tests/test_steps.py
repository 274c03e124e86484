"""Steps that change: the rule of LIBMF in its own terms, decay by hand, starts that scale with K, steps that are searched."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import mfbench
from mfbench.backends.adam import Adam
from mfbench.backends.loop import Loop
from mfbench.backends.mlp import Mlp
from mfbench.backends.numba import Numba
from mfbench.core.randomness import generator
from mfbench.matrix.factors import Factors, HyperParams, draw_start
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Rows
from mfbench.spec import load_spec, study_key
from mfbench.testing import small_ratings

TRAIN = small_ratings(n=60)


def libmf(train: Ratings, start: Factors, eta: float, penalty: float, passes: int) -> tuple[np.ndarray, np.ndarray]:
    """P and Q as LIBMF trains them, transcribed from the formulas: ratings in units of their standard deviation, update by
    update, one number at a time; afterwards back in units of the ratings.
    """
    s = float(np.std(train.values, dtype=np.float64))
    K = start.P.shape[1]
    P, Q = (start.P / math.sqrt(s)).tolist(), (start.Q / math.sqrt(s)).tolist()
    G, H = [[1.0, 1.0] for _ in P], [[1.0, 1.0] for _ in Q]
    for number in range(passes):
        for u, i, r in zip(
            train.users.tolist(), train.items.tolist(), (train.values.astype(np.float64) / s).tolist(), strict=True
        ):
            p, q = P[u], Q[i]
            error = r - sum(x * y for x, y in zip(p, q, strict=True))
            for half, (low, high) in enumerate([(0, min(8, K)), (8, K)][: 1 if number == 0 or K <= 8 else 2]):
                rate_p, rate_q = eta / math.sqrt(G[u][half]), eta / math.sqrt(H[i][half])
                sum_p = sum_q = 0.0
                for k in range(low, high):
                    g_p, g_q = -error * q[k] + penalty / s * p[k], -error * p[k] + penalty / s * q[k]
                    sum_p, sum_q = sum_p + g_p * g_p, sum_q + g_q * g_q
                    p[k], q[k] = p[k] - rate_p * g_p, q[k] - rate_q * g_q
                G[u][half] += sum_p / (high - low)
                H[i][half] += sum_q / (high - low)
    return np.array(P) * math.sqrt(s), np.array(Q) * math.sqrt(s)


@pytest.mark.parametrize("K", [3, 8, 19])
def test_adagrad_is_the_rule_of_libmf(K: int) -> None:
    start = draw_start(TRAIN, K, {"positive": 1.0}, False, generator(0, "start"))
    for passes in (1, 2, 5):
        P, Q = libmf(TRAIN, start, eta=0.2, penalty=0.1, passes=passes)
        hyper = HyperParams(K, alpha=0.1, beta=0.2, epochs=passes, bias=False, step="adagrad")
        rng = generator(0, "order")
        for backend in (Loop(order="rows"), Numba(dtype="float64")):
            *_, last = backend.epochs(TRAIN, start, hyper, Rows(len(TRAIN)), rng)
            np.testing.assert_allclose(last.P, P, rtol=1e-11, atol=1e-13)
            np.testing.assert_allclose(last.Q, Q, rtol=1e-11, atol=1e-13)


def test_in_the_first_epoch_the_first_eight_factors_move_alone() -> None:
    start = draw_start(TRAIN, 12, {"positive": 1.0}, False, generator(0, "start"))
    hyper = HyperParams(12, 0.1, 0.1, 2, False, "adagrad")
    _, first, second = Loop(order="rows").epochs(TRAIN, start, hyper, Rows(len(TRAIN)), generator(0, "order"))
    assert np.array_equal(first.P[:, 8:], start.P[:, 8:])
    assert not np.array_equal(first.P[:, :8], start.P[:, :8])
    assert not np.array_equal(second.P[:, 8:], start.P[:, 8:])


def test_decay_is_an_epoch_with_another_alpha_each_time() -> None:
    start = draw_start(TRAIN, 4, {"normal": 0.1}, True, generator(0, "start"))
    hyper = HyperParams(4, 0.1, 0.1, 4, True, "decay", decay=0.5)
    rows, rng = Rows(len(TRAIN)), generator(0, "order")
    *_, found = Loop(order="rows").epochs(TRAIN, start, hyper, rows, rng)
    model: Any = start
    for t in range(4):
        *_, model = Loop(order="rows").epochs(TRAIN, model, HyperParams(4, 0.1 / (1 + 0.5 * t**1.5), 0.1, 1, True), rows, rng)
    np.testing.assert_allclose(found.P, model.P, rtol=1e-13)


@pytest.mark.parametrize("backend", [Adam(), Adam(device="cpu"), Mlp(), Mlp(device="cpu")], ids=str)
def test_the_learning_rate_of_adam_is_its_own(backend: Any) -> None:
    assert not {"step", "decay"} & backend.tunable
    train, schedule = backend.arrange(TRAIN, generator(0, "order"))
    start = draw_start(train, 4, {"normal": 0.1}, True, generator(0, "start"))
    plain, decayed = (
        list(backend.epochs(train, start, HyperParams(4, 0.1, 0.1, 3, True, step, 0.5), schedule, generator(0, "order")))[-1]
        for step in ("constant", "decay")
    )
    assert all(np.array_equal(values, decayed.arrays()[name]) for name, values in plain.arrays().items())


def test_a_positive_start_scales_with_the_number_of_factors() -> None:
    train = small_ratings(n_users=200, n_items=150, n=5000)
    for K in (4, 64):
        start = draw_start(train, K, {"positive": 2.0}, False, generator(0, "start"))
        assert start.P[:-1].min() >= 0
        assert start.P.max() == pytest.approx(2 / math.sqrt(K), rel=0.01)
        assert np.mean(start.predict(train.users, train.items)) == pytest.approx(1.0, abs=0.1)  # 2² / 4, whatever K is


@pytest.mark.usefixtures("stored")
def test_steps_are_searched_like_any_other_and_are_another_study_only_if_named(small: dict[str, Any]) -> None:
    assert study_key(load_spec(small, ["model.step=constant", "model.decay=0.1"])) == study_key(load_spec(small))
    keys = {study_key(load_spec(small, [change])) for change in ("model.seed=3", "model.step=adagrad", "model.decay=0.2")}
    assert len(keys) == 3
    small["sweep"] |= {"backends": ["numba", "jax", "als"], "trials": 6}
    steps = {"step": {"choice": ["constant", "adagrad", "decay"]}, "decay": {"float": [0.0, 1.0]}}
    small["sweep"]["spaces"] = {"numba": steps, "jax": steps}
    result = mfbench.sweep(small)
    tried = {trial.hyper["step"] for name in ("numba", "jax") for trial in result.swept.trials[name]}
    assert len(tried) > 1
    assert all("step" not in trial.hyper for trial in result.swept.trials["als"])
    for final in result.summary()["finals"]:
        assert mfbench.reproduce(final["run_key"]).verdict == "to the bit"


def test_a_step_too_long_is_an_outcome_and_no_error(workplace: Any, small: dict[str, Any]) -> None:  # noqa: ARG001
    small["model"] |= {"backend": "numba", "step": "adagrad", "alpha": 1e6, "epochs": 8}
    result = mfbench.run(small)
    assert result.record.outcome in ("completed", "diverged")
    assert result.record.outcome == "diverged" or result.record.valid_rmse is not None
