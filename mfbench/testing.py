"""What a backend, and a metric of your own, must do, as tests: subclass `BackendContract` or `MetricContract`."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from mfbench.backends.base import Backend, Model
from mfbench.matrix.factors import Factors, HyperParams, draw_start
from mfbench.matrix.ratings import Ratings
from mfbench.models.own_metrics import OwnMetric, example

EPOCHS = 3


def small_ratings(seed: int = 0, n_users: int = 12, n_items: int = 9, n: int = 60) -> Ratings:
    """`n` ratings from 1 to 5 of distinct cells; the last user and the last item have none.

    >>> ratings = small_ratings()
    >>> len(ratings), ratings.n_users, ratings.n_items
    (60, 12, 9)
    """
    rng = np.random.default_rng(seed)
    cells = np.sort(rng.choice((n_users - 1) * (n_items - 1), n, replace=False))
    users, items = (part.astype(np.int32) for part in np.divmod(cells, n_items - 1))
    return Ratings(users, items, rng.integers(1, 6, n).astype(np.float32), n_users, n_items)


def train_models(
    backend: Backend,
    train: Ratings,
    *,
    K: int = 3,
    alpha: float = 0.01,
    beta: float = 0.05,
    epochs: int = EPOCHS,
    bias: bool = True,
    center: bool = True,
    normal: float = 0.1,
    seed: int = 0,
    step: str = "constant",
) -> list[Model]:
    """Everything that the backend yields: the start, then a model after each epoch.

    >>> from mfbench.backends.loop import Loop
    >>> [type(model).__name__ for model in train_models(Loop(), small_ratings(), epochs=2)]
    ['Factors', 'Factors', 'Factors']
    """
    rng = np.random.default_rng(seed)
    start = draw_start(train, K, {"normal": normal}, center, rng)
    hyper = _used_by(backend, HyperParams(K, alpha, beta, epochs, bias, step))
    arranged, schedule = backend.arrange(train, rng)
    return list(backend.epochs(arranged, start, hyper, schedule, rng))


def _used_by(backend: Backend, hyper: HyperParams) -> HyperParams:
    """The hyperparameters, with None for those that the backend does not use."""
    return replace(hyper, **dict.fromkeys({"K", "alpha", "beta"} - backend.tunable))  # type: ignore[arg-type]


class BackendContract:
    """Tests of everything that the training loop relies on; pytest collects them from your subclass.

    In `test_mine.py`, for a backend in `mine.py`:

        from mfbench.testing import BackendContract
        from mine import Mine

        class TestMine(BackendContract):
            backend = Mine()
    """

    backend: ClassVar[Backend]
    train: ClassVar[Ratings] = small_ratings()

    def test_tunable_names_hyperparameters(self) -> None:
        """`tunable` is a subset of what a model has: K, alpha, beta, step and decay."""
        assert isinstance(self.backend.tunable, frozenset)
        assert self.backend.tunable <= {"K", "alpha", "beta", "step", "decay"}

    def test_schedule_visits_every_rating_once(self) -> None:
        """`arrange` returns the same ratings, and an epoch visits each of them once, in groups that cover all of them."""
        rng = np.random.default_rng(0)
        arranged, schedule = self.backend.arrange(self.train, rng)
        assert sorted(_cells(arranged)) == sorted(_cells(self.train))
        epoch = schedule.epoch(rng)
        assert sorted(epoch.positions().tolist()) == list(range(len(self.train)))
        assert len(epoch) % epoch.lanes == 0
        assert epoch.offsets[0] == 0
        assert epoch.offsets[-1] == len(self.train)
        assert np.all(np.diff(epoch.offsets) >= 0)

    def test_yields_the_start_and_a_model_an_epoch(self) -> None:
        """There are 1 + epochs models; a floor, with nothing to iterate, may stop early."""
        models = train_models(self.backend, self.train)
        if self.backend.tunable:
            assert len(models) == 1 + EPOCHS
        assert 2 <= len(models) <= 1 + EPOCHS

    def test_the_first_yield_is_the_start(self) -> None:
        """A backend with K factors first yields the given start; no backend's first model depends on the number of epochs."""
        rng = np.random.default_rng(0)
        start = draw_start(self.train, 3, {"normal": 0.1}, True, rng)
        first = train_models(self.backend, self.train)[0]
        if isinstance(first, Factors) and "K" in self.backend.tunable:
            for name, array in start.arrays().items():
                np.testing.assert_allclose(first.arrays()[name], array, rtol=1e-6)
        again = train_models(self.backend, self.train, epochs=1)[0]
        _assert_same_bits(first, again)

    def test_does_not_change_what_it_is_given(self) -> None:
        """Training does not write into the ratings or the start."""
        rng = np.random.default_rng(0)
        start = draw_start(self.train, 3, {"normal": 0.1}, True, rng)
        given = [*start.arrays().values(), self.train.users, self.train.items, self.train.values]
        before = [array.copy() for array in given]
        hyper = _used_by(self.backend, HyperParams(3, 0.01, 0.05, EPOCHS, True))
        arranged, schedule = self.backend.arrange(self.train, rng)
        for _ in self.backend.epochs(arranged, start, hyper, schedule, rng):
            pass
        for was, array in zip(before, given, strict=True):
            np.testing.assert_array_equal(was, array)

    def test_a_yielded_model_stays_what_it_was(self) -> None:
        """Later epochs do not change a model that was yielded before."""
        rng = np.random.default_rng(0)
        start = draw_start(self.train, 3, {"normal": 0.1}, True, rng)
        hyper = _used_by(self.backend, HyperParams(3, 0.01, 0.05, EPOCHS, True))
        kept: list[tuple[Model, dict[str, np.ndarray]]] = []
        arranged, schedule = self.backend.arrange(self.train, rng)
        for model in self.backend.epochs(arranged, start, hyper, schedule, rng):
            kept.append((model, {name: array.copy() for name, array in model.arrays().items()}))
        for model, arrays in kept:
            for name, array in model.arrays().items():
                np.testing.assert_array_equal(array, arrays[name])

    def test_training_learns(self) -> None:
        """The last model fits the training ratings better than the start."""
        first, *_, last = train_models(self.backend, self.train, epochs=20)
        assert self._rmse(last) < self._rmse(first)

    def test_the_same_inputs_give_the_same_bits(self) -> None:
        """The result depends on the arguments alone."""
        for one, other in zip(train_models(self.backend, self.train), train_models(self.backend, self.train), strict=True):
            _assert_same_bits(one, other)

    def test_every_hyperparameter_changes_the_result(self) -> None:
        """Each one in `tunable` does and, if there are any, so does the seed."""
        changed = {"K": 4, "alpha": 0.02, "beta": 0.2}
        base = self._all_predictions(train_models(self.backend, self.train)[-1])
        for name in self.backend.tunable & changed.keys():
            other = train_models(self.backend, self.train, **{name: changed[name]})[-1]  # type: ignore[arg-type]
            assert not np.array_equal(base, self._all_predictions(other)), name
        if self.backend.tunable:
            other = train_models(self.backend, self.train, seed=1)[-1]
            assert not np.array_equal(base, self._all_predictions(other)), "seed"

    def test_predictions(self) -> None:
        """`predict` gives float64 [n], finite, for known and unknown users and items, and for an empty input."""
        for model in train_models(self.backend, self.train):
            predictions = self._all_predictions(model)
            assert predictions.dtype == np.float64
            assert predictions.shape == (self.train.n_users * self.train.n_items,)
            assert np.all(np.isfinite(predictions))
            none = np.zeros(0, np.int32)
            assert model.predict(none, none).shape == (0,)

    def test_rows_without_ratings_stay_zero(self) -> None:
        """In a factor model, a user or item without a training rating adds nothing to a prediction."""
        for model in train_models(self.backend, self.train):
            if isinstance(model, Factors):
                user, item = self.train.n_users - 1, self.train.n_items - 1
                for row in (model.P[user], model.Q[item], model.user_bias[user], model.item_bias[item]):
                    assert not np.any(row)

    def test_arrays_can_be_saved_without_pickle(self) -> None:
        """They are plain arrays of numbers."""
        arrays = train_models(self.backend, self.train)[-1].arrays()
        assert arrays
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        file.seek(0)
        with np.load(file, allow_pickle=False) as saved:
            for name, array in arrays.items():
                np.testing.assert_array_equal(saved[name], array)

    def _all_predictions(self, model: Model) -> np.ndarray:
        users, items = np.divmod(np.arange(self.train.n_users * self.train.n_items, dtype=np.int32), self.train.n_items)
        return model.predict(users, items)

    def _rmse(self, model: Model) -> float:
        error = self.train.values - model.predict(self.train.users, self.train.items)
        return float(np.sqrt(np.mean(error * error)))


class MetricContract:
    """Tests of what `mfbench.models.own_metrics` asks of a function; in `test_mine.py`, for one in `mine.py`:

    class TestFirstHit(MetricContract):
        metric = first_hit
    """

    metric: ClassVar[Callable[..., Any]]

    def test_takes_predictions_or_lists(self) -> None:
        """Its arguments are those of a metric, its name is no built-in one, and its direction is True, False or not given."""
        self._metric()

    def test_gives_a_number_and_changes_nothing(self) -> None:
        """It gives a float or None, the same bits each time, and does not write into its arrays."""
        metric = self._metric()
        for seed in range(5):
            arrays = example(seed)[metric.takes_lists]
            value = metric.of(arrays)
            assert value is None or isinstance(value, float)
            assert metric.of(arrays) == value

    def test_the_order_of_ratings_and_users_does_not_matter(self) -> None:
        """Only rounding may differ when the ratings, or the users of the lists, are in another order."""
        metric = self._metric()
        arrays = example()[metric.takes_lists]
        first, other = metric.of(arrays), metric.of({name: array[::-1] for name, array in arrays.items()})
        np.testing.assert_allclose(np.array([first], float), np.array([other], float))

    def test_users_without_relevant_items_are_no_error(self) -> None:
        """Lists of users none of whom has a relevant item give None, NaN or a number."""
        if (metric := self._metric()).takes_lists:
            lists = example()[1]
            metric.of({**lists, "hits": np.zeros_like(lists["hits"]), "n_relevant": np.zeros_like(lists["n_relevant"])})

    def _metric(self) -> OwnMetric:
        function = type(self).metric
        return OwnMetric.of_function(function, f"{function.__module__}:{function.__name__}")


def _cells(ratings: Ratings) -> list[tuple[int, int, float]]:
    return list(zip(ratings.users.tolist(), ratings.items.tolist(), ratings.values.tolist(), strict=True))


def _assert_same_bits(one: Model, other: Model) -> None:
    first, second = one.arrays(), other.arrays()
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.dtype == second[name].dtype
        assert array.tobytes() == second[name].tobytes(), name
