"""Trials side by side: each is, to the bit on a CPU, what it is alone; none disturbs another."""

from __future__ import annotations

import copy
import shutil
from typing import Any

import numpy as np
import pytest
from sweeping import bits, swept

from mfbench.backends.adam import Adam
from mfbench.backends.base import SideBySide, Training
from mfbench.backends.jax import Jax
from mfbench.core.randomness import generator
from mfbench.matrix.factors import Factors, HyperParams, draw_start
from mfbench.matrix.ratings import Ratings
from mfbench.testing import small_ratings

BACKENDS = {
    "jax": Jax(batch_size=16),
    "jax waves": Jax(schedule="waves"),
    "jax float64": Jax(schedule="waves", dtype="float64"),
    "adam": Adam(batch_size=16),
    "adam in JAX": Adam(batch_size=16, device="cpu"),
}
HYPERS = [(3, 0.01, 0.05), (20, 0.05, 0.1), (8, 0.002, 0.0), (4, 0.02, 0.3)]
TRAIN = small_ratings(n_users=40, n_items=30, n=500)


def alone(
    backend: Any, train: Ratings, K: int, alpha: float, beta: float, bias: bool, epochs: int, step: str = "constant"
) -> list[Any]:
    rng = generator(5, "order")
    arranged, schedule = backend.arrange(train, rng)
    start = draw_start(train, K, {"normal": 0.1}, True, generator(5, "start"))
    return list(backend.epochs(arranged, start, HyperParams(K, alpha, beta, epochs, bias, step, 0.2), schedule, rng))


def together(
    backend: Any, train: Ratings, hypers: list[Any], bias: bool, epochs: int, stop: dict[int, int], step: str = "constant"
) -> list[Any]:
    """All models by epoch; stop: the epoch after which a trial ends, by trial."""
    rng = generator(5, "order")
    arranged, schedule = backend.arrange(train, rng)
    trainings = [
        Training(
            draw_start(train, K, {"normal": 0.1}, True, generator(5, "start")),
            HyperParams(K, alpha, beta, epochs, bias, step, 0.2),
            schedule,
            copy.deepcopy(rng),
        )
        for K, alpha, beta in hypers
    ]
    training = backend.epochs_many(arranged, trainings)
    models = [next(training)]
    for epoch in range(epochs):
        models.append(training.send(np.array([epoch < stop.get(j, epochs) for j in range(len(hypers))])))
    return models


def same(a: Factors, b: Factors) -> bool:
    return all(np.array_equal(a.arrays()[name], b.arrays()[name], equal_nan=True) for name in a.arrays())


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("step", ["constant", "adagrad", "decay"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", BACKENDS)
def test_each_trial_is_to_the_bit_what_it_is_alone(name: str, bias: bool, step: str) -> None:
    many = together(BACKENDS[name], TRAIN, HYPERS, bias, 4, {}, step)
    for j, hyper in enumerate(HYPERS):
        one = alone(BACKENDS[name], TRAIN, *hyper, bias, 4, step)
        assert all(same(model, models[j]) for model, models in zip(one, many, strict=True))


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("name", BACKENDS)
def test_a_trial_that_diverges_and_one_that_ends_do_not_disturb_the_others(name: str) -> None:
    hypers = [HYPERS[0], (4, 1e30, 0.1), HYPERS[2]]
    many = together(BACKENDS[name], TRAIN, hypers, True, 5, {0: 2, 1: 1})
    assert not np.isfinite(many[5][1].predict(TRAIN.users, TRAIN.items)).all()
    assert same(many[5][0], many[2][0])
    assert same(many[5][2], alone(BACKENDS[name], TRAIN, *HYPERS[2], True, 5)[5])


def test_who_can_train_side_by_side() -> None:
    from mfbench.backends.registry import BUILT_IN, resolve

    able = {name for name in BUILT_IN if isinstance(resolve(name, {}), SideBySide)}
    assert able == {"jax", "adam"}


@pytest.mark.usefixtures("served")
@pytest.mark.parametrize("backend", ["jax", "adam"])
def test_a_sweep_side_by_side_has_the_bits_of_one_trial_after_another(small: dict[str, Any], backend: str) -> None:
    small["sweep"] |= {"backends": [backend], "sampler": "cmaes", "pruner": "hyperband", "trials": 9}
    small["model"]["epochs"] = 8
    one_by_one = swept(small, "sweep.side_by_side=false")
    assert {trial.outcome for trial in one_by_one.trials[backend]} == {"completed", "pruned"}
    for workers in (1, 2):
        shutil.rmtree("runs")
        assert bits(swept(small, "sweep.side_by_side=true", workers=workers)) == bits(one_by_one)
