"""New users and items, folded into a model from their ratings alone: against `als`, against a training that had them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import mfbench
from mfbench.backends.als import Als
from mfbench.backends.bmf import Bmf
from mfbench.backends.registry import resolve
from mfbench.commands.cli.main import app
from mfbench.core.errors import InputError
from mfbench.core.randomness import generator
from mfbench.data.planted import planted
from mfbench.matrix.factors import Factors, HyperParams, draw_start
from mfbench.matrix.posterior import factors_of
from mfbench.matrix.ratings import Ratings
from mfbench.models.trained import TrainedModel
from mfbench.testing import small_ratings

TRAIN = small_ratings(n_users=40, n_items=30, n=600)
BETA = 0.2


def trained(backend: Any, train: Ratings, K: int, epochs: int, bias: bool) -> TrainedModel:
    start = draw_start(train, K, {"normal": 0.1}, True, generator(0, "start"))
    rng = generator(0, "order")
    arranged, schedule = backend.arrange(train, rng)
    *_, last = backend.epochs(arranged, start, HyperParams(K, 0.01, BETA, epochs, bias), schedule, rng)
    factors: Any = factors_of(last)
    samples = {name: array for name, array in last.arrays().items() if name.startswith("sample_")}
    ids = np.arange(train.n_users), np.arange(train.n_items)
    P, Q, b, c = factors.P, factors.Q, factors.user_bias, factors.item_bias
    return TrainedModel(P, Q, b, c, factors.mean, *ids, samples=samples, ridge=BETA / 2)


@pytest.mark.parametrize("bias", [False, True])
def test_a_user_is_folded_in_as_als_solves_for_that_user(bias: bool) -> None:
    model = trained(Als(dtype="float64"), TRAIN, 4, 5, bias)
    start = Factors(model.P, model.Q, model.user_bias, model.item_bias, model.mean)
    als = Als(dtype="float64")
    rng = generator(0, "order")
    *_, after = als.epochs(TRAIN, start, HyperParams(4, None, BETA, 1, bias), als.arrange(TRAIN, rng)[1], rng)
    folded = model.fold_in(TRAIN.items, TRAIN.values, TRAIN.users)
    assert folded.user_ids.tolist() == np.unique(TRAIN.users).tolist()
    np.testing.assert_allclose(folded.P, after.P[folded.user_ids], rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(folded.user_bias, after.user_bias[folded.user_ids], rtol=1e-8, atol=1e-11)
    assert folded.P.shape[1] == 4


@pytest.mark.parametrize("bias", [False, True])
def test_an_item_is_folded_in_as_als_solves_for_that_item(bias: bool) -> None:
    model = trained(Als(dtype="float64"), TRAIN, 4, 5, bias)  # an epoch ends with the items
    folded = model.fold_in_items(TRAIN.users, TRAIN.values, TRAIN.items)
    np.testing.assert_allclose(folded.Q, model.Q[folded.item_ids], rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(folded.item_bias, model.item_bias[folded.item_ids], rtol=1e-8, atol=1e-11)
    assert np.any(folded.item_bias) == bias


@pytest.mark.parametrize("backend", [Als(dtype="float64"), Bmf(burn_in=5, dtype="float64")])
def test_items_are_folded_in_likewise(backend: Any) -> None:
    model = trained(backend, TRAIN, 3, 20, True)
    names = {"sample_user_bias": "sample_item_bias", "sample_user_priors": "sample_item_priors"}
    swapped = names | {new: old for old, new in names.items()}
    mirrored = TrainedModel(
        model.Q, model.P, model.item_bias, model.user_bias, model.mean, model.item_ids, model.user_ids,
        samples={swapped.get(name, name): array for name, array in model.samples.items()},
        ridge=model.ridge,
    )  # fmt: skip
    some = slice(0, 50)
    items = model.fold_in_items(TRAIN.users[some], TRAIN.values[some], TRAIN.items[some])
    users = mirrored.fold_in(TRAIN.users[some], TRAIN.values[some], TRAIN.items[some])
    np.testing.assert_allclose(items.Q, users.P)
    np.testing.assert_allclose(items.item_bias, users.user_bias)


def test_with_a_posterior_it_is_the_mean_of_the_row_given_the_ratings_for_each_sample() -> None:
    model = trained(Bmf(burn_in=5, dtype="float64"), TRAIN, 2, 12, True)
    S = len(model.samples["sample_mean"])
    assert S == 7
    items, ratings = np.array([3, 7, 11]), np.array([5.0, 1.0, 4.0])
    folded = model.fold_in(items, ratings)
    expected = []
    for s in range(S):
        mu, weight = model.samples["sample_user_priors"][s].T
        noise = model.samples["sample_noise"][s]
        q = model.Q.reshape(len(model.Q), S, -1)[:, s] * np.sqrt(S)
        x = np.column_stack([q[items], np.ones(3)])
        rest = ratings - model.samples["sample_mean"][s] - model.samples["sample_item_bias"][items, s]
        row = np.linalg.inv(np.diag(weight) + noise * x.T @ x) @ (weight * mu + noise * x.T @ rest)
        expected.append(
            model.samples["sample_mean"][s] + model.samples["sample_item_bias"][20, s] + row[-1] + q[20] @ row[:-1]
        )
    answer = folded.predict(["new"], [20])
    assert answer.prediction[0] == pytest.approx(np.mean(expected))
    assert answer.std is not None
    assert answer.std[0] == pytest.approx(np.sqrt(np.var(expected) + np.mean(1 / model.samples["sample_noise"])))


@pytest.mark.usefixtures("workplace")
@pytest.mark.parametrize("backend", ["numba", "bmf"])
def test_a_folded_in_user_is_predicted_nearly_as_well_as_one_that_was_trained_with(backend: str) -> None:
    """Of planted ratings a fifth of the users is left out of the training; half of their ratings fold them in."""
    data = planted(600, 200, 30_000, 1, "p").ratings
    rng = np.random.default_rng(0)
    new, judged = data.users < 120, rng.random(len(data)) < 0.5
    chosen = resolve(backend, {})
    without = trained_with(chosen, data.take(np.flatnonzero(~new)))
    known, held = data.take(np.flatnonzero(new & ~judged)), data.take(np.flatnonzero(new & judged))
    folded = without.fold_in(known.items, known.values, known.users).predict(held.users, held.items).prediction
    whole = trained_with(chosen, data.take(np.flatnonzero(~(new & judged)))).predict(held.users, held.items).prediction
    rmse = [float(np.sqrt(np.mean((one - held.values) ** 2))) for one in (folded, whole)]
    assert abs(rmse[0] - rmse[1]) < 0.03
    floor = float(np.std(held.values))
    assert rmse[0] < floor - 0.05


def trained_with(backend: Any, train: Ratings) -> TrainedModel:
    return trained(backend, train, 4, 40, True)


def test_without_a_penalty_fewer_ratings_than_factors_give_the_row_of_least_norm() -> None:
    model = replace(trained(Als(dtype="float64"), TRAIN, 4, 5, False), ridge=0.0)
    items, ratings = np.array([3, 7]), np.array([5.0, 1.0])
    least = np.linalg.lstsq(model.Q[items], ratings - model.mean)[0]
    np.testing.assert_allclose(model.fold_in(items, ratings).P[0], least, rtol=1e-3)


def test_what_cannot_be_folded_in_is_one_sentence() -> None:
    model = trained(Als(), TRAIN, 2, 2, True)
    with pytest.raises(InputError, match="user new: no rating of a known item; give at least one"):
        model.fold_in([999], [4])
    with pytest.raises(InputError, match="ratings: there are none; give at least one of a known item"):
        model.fold_in([], [])
    with pytest.raises(InputError, match="ratings: give one finite number for each of the 2 items"):
        model.fold_in([1, 2], [4, float("nan")])
    assert model.fold_in([1, 999], [4, 1]).P.tobytes() == model.fold_in([1], [4]).P.tobytes()


@pytest.mark.usefixtures("stored")
def test_a_file_of_ratings_is_recommended_to(small: dict[str, Any]) -> None:
    run = mfbench.run({name: value for name, value in small.items() if name != "sweep"})
    Path("mine.csv").write_text("item,rating\n3,5\n4,1\n")
    done = CliRunner().invoke(app, ["recommend", run.record.run_key, "--ratings", "mine.csv", "-n", "4", "--json"])
    found = [item["id"] for item in json.loads(done.stdout.splitlines()[-1])["items"]]
    assert len(found) == 4
    assert not {3, 4} & set(found)
    for content, says in {
        "item,stars\n3,5\n": "the header is item, stars; it needs the columns item and rating",
        "item,rating\n3,five\n": "line 2: the rating 'five' is not a number",
        "item,rating\n": "this file has no ratings",
    }.items():
        Path("mine.csv").write_text(content)
        wrong = CliRunner().invoke(app, ["recommend", run.record.run_key, "--ratings", "mine.csv"])
        assert says in str(wrong.exception)
