"""Bayesian matrix factorization: the sampler against a plain transcription and an exact posterior; the model it leaves."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

import mfbench
from mfbench.backends.bmf import Bmf
from mfbench.backends.on_device.als import ABREAST, DEPTH
from mfbench.core.randomness import generator
from mfbench.matrix.factors import Factors, HyperParams, draw_start
from mfbench.matrix.metrics import rmse_and_mae
from mfbench.matrix.posterior import Posterior, Sample
from mfbench.matrix.ratings import Ratings
from mfbench.models.scoring import Scorer, score
from mfbench.testing import BackendContract, small_ratings

TRAIN = small_ratings(n_users=30, n_items=20, n=250)
NO_PRIORS = (np.zeros((2, 2)), np.zeros((2, 2)))


class TestBmf(BackendContract):
    backend = Bmf(dtype="float64")


class TestBmfInJax(BackendContract):
    backend = Bmf(dtype="float64", device="cpu")


def posteriors(backend: Bmf, train: Ratings, K: int, epochs: int, bias: bool = True, center: bool = True) -> list[Posterior]:
    start = draw_start(train, K, {"normal": 0.1}, center, generator(3, "start"))
    arranged, schedule = backend.arrange(train, generator(3, "order"))
    return list(backend.epochs(arranged, start, HyperParams(K, None, None, epochs, bias), schedule, generator(3, "order")))


# --- the sampler -----------------------------------------------------------------------------------------------------


def transcribed(train: Ratings, start: Factors, bias: bool, rng: np.random.Generator, epochs: int) -> list[Factors]:
    """The same draws one rating at a time, as the formulas have them: users, then items, each row's bias, then its factors."""
    P, Q, b, c, w = start.P.copy(), start.Q.copy(), start.user_bias.copy(), start.item_bias.copy(), start.mean
    ratings: list[Any] = list(zip(train.users.tolist(), train.items.tolist(), train.values.tolist(), strict=True))

    def errors() -> dict[tuple[int, int], float]:
        return {(u, i): w + b[u] + c[i] + P[u] @ Q[i] - r for u, i, r in ratings}

    def prior(values: np.ndarray) -> tuple[float, float]:
        m, mean = len(values), sum(values) / (1 + len(values))
        rate = (1 + sum((value - mean) ** 2 for value in values) + mean**2) / 2
        weight = rng.gamma((1 + m) / 2, 1 / rate)
        return rng.normal(mean, 1 / np.sqrt(weight * (1 + m))), weight

    drawn = []
    for _ in range(epochs):
        e = errors()
        a = rng.gamma((1 + len(e)) / 2, 2 / (1 + sum(x * x for x in e.values())))
        if start.mean:
            s = a * len(e) + 1
            w = rng.normal(a * sum(w - x for x in e.values()) / s, 1 / np.sqrt(s))
        for table, own, other, side in ((P, b, Q, 0), (Q, c, P, 1)):
            of_row: dict[int, list[Any]] = {}
            for rating in ratings:
                of_row.setdefault(rating[side], []).append(rating)
            rated = sorted(of_row, key=lambda row: (-len(of_row[row]), row))
            families = [*(table[rated, k] for k in range(table.shape[1])), own[rated]]
            priors = [prior(family) for family in families]
            normal = rng.standard_normal((len(rated), table.shape[1] + 1))
            for row, z in zip(rated, normal, strict=True):
                mine = of_row[row]
                if bias:
                    mu, weight = priors[-1]
                    s = weight + a * len(mine)
                    total = sum(w + b[u] + c[i] + P[u] @ Q[i] - r - own[row] for u, i, r in mine)
                    own[row] = (weight * mu - a * total) / s + z[-1] / np.sqrt(s)
                for k in range(table.shape[1]):
                    mu, weight = priors[k]
                    h = [other[rating[1 - side], k] for rating in mine]
                    rest = [
                        w + b[u] + c[i] + P[u] @ Q[i] - r - table[row, k] * x for (u, i, r), x in zip(mine, h, strict=True)
                    ]
                    s = weight + a * sum(x * x for x in h)
                    table[row, k] = (weight * mu - a * sum(x * y for x, y in zip(h, rest, strict=True))) / s + z[k] / np.sqrt(
                        s
                    )
        drawn.append(Factors(P.copy(), Q.copy(), b.copy(), c.copy(), w))
    return drawn


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize(("K", "bias", "center"), [(3, True, True), (1, False, False), (4, False, True)])
def test_it_draws_what_a_plain_transcription_draws(K: int, bias: bool, center: bool, device: str | None) -> None:
    start = draw_start(TRAIN, K, {"normal": 0.1}, center, generator(3, "start"))
    found = posteriors(Bmf(dtype="float64", device=device), TRAIN, K, 4, bias, center)[1:]
    for one, expected in zip(found, transcribed(TRAIN, start, bias, generator(3, "order"), 4), strict=True):
        for name, array in expected.arrays().items():
            np.testing.assert_allclose(one.latest.factors.arrays()[name], array, rtol=1e-9, atol=1e-10, err_msg=name)


def test_its_mean_and_spread_are_those_of_an_exact_posterior() -> None:
    """Two users and two items without factors: given the three precisions all is normal; these are integrated on a grid."""
    users, items = np.array([0, 0, 1], np.int32), np.array([0, 1, 0], np.int32)
    train = Ratings(users, items, np.array([1.0, 2.5, -0.5]), 2, 2)
    cells = [(0, 0), (0, 1), (1, 0), (1, 1)]
    Zu = np.array([[u == k for k in range(2)] for u, _ in cells], float)
    Zi = np.array([[i == k for k in range(2)] for _, i in cells], float)
    seen, r = [0, 1, 2], train.values
    grid = np.exp(np.linspace(-7, 5, 25))
    total: Any = 0.0
    mean, second = np.zeros(4), np.zeros(4)
    for a, lu, li in product(grid, grid, grid):
        # Once its mean, of weight 1, is integrated out, a family has covariance (I + J) / precision; the mean has variance 1.
        C = 1 + Zu @ (np.eye(2) + 1) @ Zu.T / lu + Zi @ (np.eye(2) + 1) @ Zi.T / li
        S = C[np.ix_(seen, seen)] + np.eye(3) / a
        gain = np.linalg.solve(S, C[seen]).T
        density = np.exp(-0.5 * r @ np.linalg.solve(S, r)) / np.sqrt(np.linalg.det(S))
        weight = density * np.prod(
            [x**0.5 * np.exp(-x / 2) for x in (a, lu, li)]
        )  # Gamma(1/2, 1/2), per step of its logarithm
        m = gain @ r
        total, mean = total + weight, mean + weight * m
        second += weight * (m * m + np.diag(C - gain @ C[seen]))
    mean /= total
    std = np.sqrt(second / total - mean**2)

    start = Factors(np.zeros((2, 0)), np.zeros((2, 0)), np.zeros(2), np.zeros(2), float(r.mean()))
    backend = Bmf(burn_in=100, kept=10_000, dtype="float64", threads=1)
    *_, last = backend.epochs(
        train, start, HyperParams(0, None, None, 10_000, True), backend.arrange(train, None)[1], generator(1, "order")
    )
    drawn = np.array([one.factors.predict(*np.array(cells, np.int32).T) for one in last.samples])
    np.testing.assert_allclose(drawn.mean(axis=0), mean, atol=0.04)
    np.testing.assert_allclose(drawn.std(axis=0), std, rtol=0.06)


def test_no_number_of_threads_changes_a_bit() -> None:
    train = small_ratings(n_users=400, n_items=300, n=6000)
    one, two, most = (posteriors(Bmf(threads=threads), train, 5, 3)[-1] for threads in (1, 2, 10**9))
    for name, array in one.arrays().items():
        assert array.tobytes() == two.arrays()[name].tobytes() == most.arrays()[name].tobytes(), name


@pytest.mark.parametrize("device", [None, "cpu"])
def test_users_and_items_without_ratings_have_no_effect(device: str | None) -> None:
    """The ids that come first have none."""
    more = Ratings(TRAIN.users + 1, TRAIN.items + 1, TRAIN.values, TRAIN.n_users + 1, TRAIN.n_items + 1)
    start = draw_start(TRAIN, 2, {"normal": 0.1}, True, generator(3, "start"))
    P, Q, user_bias, item_bias = (
        np.concatenate([one[:1] * 0, one]) for one in (start.P, start.Q, start.user_bias, start.item_bias)
    )
    wider = Factors(P, Q, user_bias, item_bias, start.mean)
    backend, hyper = Bmf(dtype="float64", device=device), HyperParams(2, None, None, 4, True)
    without, with_them = (
        list(backend.epochs(train, one, hyper, backend.arrange(train, generator(3, "order"))[1], generator(3, "order")))[-1]
        for train, one in ((TRAIN, start), (more, wider))
    )
    for one, other in zip(without.samples, with_them.samples, strict=True):
        np.testing.assert_allclose(other.factors.P[1:], one.factors.P, rtol=1e-9, atol=1e-10)
        assert other.noise == pytest.approx(one.noise)


@pytest.mark.parametrize(("dtype", "close"), [("float64", 1e-9), ("float32", 1e-3)])
def test_on_a_device_it_draws_the_same_samples_to_rounding(dtype: Any, close: float) -> None:
    train = small_ratings(n_users=ABREAST + 20, n_items=3 * ABREAST, n=6000)
    assert np.bincount(train.users).max() > DEPTH
    compiled, on_device = (posteriors(Bmf(dtype=dtype, device=device), train, 6, 5)[-1] for device in (None, "cpu"))
    for name, array in compiled.arrays().items():
        np.testing.assert_allclose(on_device.arrays()[name], array, rtol=close, atol=close, err_msg=name)


# --- the model it leaves ---------------------------------------------------------------------------------------------


def test_the_mean_over_the_samples_is_one_factor_model() -> None:
    last = posteriors(Bmf(burn_in=2, dtype="float64"), TRAIN, 3, 9)[-1]
    assert last.count == len(last.samples) == 7
    each = np.array([one.factors.predict(TRAIN.users, TRAIN.items) for one in last.samples])
    np.testing.assert_allclose(last.predict(TRAIN.users, TRAIN.items), each.mean(axis=0), rtol=1e-12)
    noise = np.mean([1 / one.noise for one in last.samples])
    np.testing.assert_allclose(last.spread(TRAIN.users, TRAIN.items), np.sqrt(each.var(axis=0) + noise), rtol=1e-10)
    assert last.factors.P.shape == (30, 21)


def test_what_is_kept_is_evenly_spaced_and_never_more_than_the_limit() -> None:
    nothing = Factors(np.zeros((1, 1)), np.zeros((1, 1)), np.zeros(1), np.zeros(1), 0.0)
    posterior = Posterior((), Sample(nothing, 1.0, *NO_PRIORS), limit=5)
    for n in range(1, 43):
        posterior = posterior.after(Sample(nothing, float(n), *NO_PRIORS))
        kept = [one.noise for one in posterior.samples]
        assert len(kept) <= 5
        assert kept == list(np.arange(1, len(kept) + 1) * posterior.stride)
        assert posterior.count == n
    assert len(posterior.samples) == 5


def test_a_scorer_has_the_mean_over_all_samples_whatever_is_kept() -> None:
    found = posteriors(Bmf(burn_in=3, kept=2), TRAIN, 3, 10)
    scorer = Scorer(TRAIN)
    since: list[Posterior] = []
    for epoch, one in enumerate(found):
        scorer.see(one)
        since = [one] if one.count <= 1 else [*since, one]
        mean = np.mean([model.latest.factors.predict(TRAIN.users, TRAIN.items) for model in since], axis=0)
        np.testing.assert_allclose(scorer.score(one), rmse_and_mae(TRAIN.values, mean), rtol=1e-12)
        assert one.count == (epoch if epoch < 4 else epoch - 3)
    assert score(found[-1], TRAIN) == pytest.approx(rmse_and_mae(TRAIN.values, found[-1].predict(TRAIN.users, TRAIN.items)))


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Any:
    """A folder in which bmf has searched K on planted ratings, and its final run."""
    folder = tmp_path_factory.mktemp("bmf")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MFBENCH_DATA", str(shared / "data"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        spec = {
            "name": "bayes",
            "data": {"dataset": "planted-10k"},
            "split": {"kind": "random", "valid": 0.1, "test": 0.2, "seed": 7},
            "model": {"epochs": 60, "center": True, "bias": True, "init": {"normal": 0.1}},
            "sweep": {"trials": 3, "pruner": "none", "backends": ["bmf"], "space": {"K": {"int": [2, 8]}}},
        }
        yield mfbench.sweep(spec).summary()


def test_it_is_searched_and_its_intervals_hold_what_they_should(swept: Any) -> None:
    (final,) = swept["finals"]
    assert (final["alpha"], final["beta"]) == (None, None)
    assert final["test_rmse"] < 0.95  # the floor has 1.01, tuned SGD .938
    assert 0.93 <= final["evaluation"]["test_inside_95"] <= 0.97
    assert 0.45 <= final["evaluation"]["test_inside_50"] <= 0.55
    assert mfbench.reproduce(final["run_key"]).verdict == "to the bit"


def test_it_is_loaded_recommended_with_and_served_with_its_spread(swept: Any) -> None:
    (final,) = swept["finals"]
    model = mfbench.load_model(final["run_key"])
    users, items = model.user_ids[:4], model.item_ids[:4]
    answer = model.predict(users, items)
    assert answer.std is not None
    assert np.all(answer.std > 0.3)
    unknown = model.predict([10**6], items[:1])
    assert unknown.known.tolist() == ["item only"]
    served = mlflow.pyfunc.load_model(f"runs:/{final['run_id']}/model").predict(pd.DataFrame({"user": users, "item": items}))
    np.testing.assert_allclose(served["prediction"], answer.prediction)
    np.testing.assert_allclose(served["std"], answer.std)
    table = pd.DataFrame({"user": 10**6, "item": items[:3], "rating": [5.0, 2.0, None]})
    of_new = mlflow.pyfunc.load_model(f"runs:/{final['run_id']}/model").predict(table)
    folded = model.fold_in(items[:2], [5, 2]).predict(["new"], items[2:3])
    assert folded.std is not None
    assert (of_new["prediction"][2], of_new["std"][2]) == pytest.approx((folded.prediction[0], folded.std[0]))
    assert len(mfbench.recommender(final["run_key"]).recommend([users[0].item()], 3)[users[0].item()]) == 3
