"""Metrics of the user's own: functions of predictions or of top-k lists, named in a spec under `evaluation.extra`.

A function takes its arrays by name, and which names it takes says what it is a function of:

    def within_half(users, items, ratings, predicted): ...   # of the predictions for the n ratings of a part
    def first_hit(users, items, hits, n_relevant): ...       # of the lists of its m users

Predictions: users and items int64 [n], row numbers of the user and the item; ratings and predicted float64 [n]. Lists: as
`mfbench.models.lists.Lists` defines them, with k the largest of `evaluation.k`; users without a relevant item are included,
and have n_relevant 0. The arrays are read-only. The function returns one finite number, or None (or NaN) if it is undefined,
and depends on its arguments alone. Its attribute `higher_is_better`, True or False, is its direction; a metric without one
cannot be the objective of a sweep, nor order a leaderboard.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfbench.core.arrays import Array, Floats64
from mfbench.core.errors import InputError, SpecError
from mfbench.core.objective import Objective, higher_is_better, is_built_in
from mfbench.core.own_code import own_digest, own_object
from mfbench.matrix.ratings import Ratings
from mfbench.models.lists import Lists
from mfbench.spec import Evaluation, Spec
from mfbench.spec.fields import own_name

OF_PREDICTIONS = ("users", "items", "ratings", "predicted")
OF_LISTS = ("users", "items", "hits", "n_relevant")
KEY = "evaluation.extra"


@dataclass(frozen=True)
class OwnMetric:
    """A function and its name in a spec. takes: its arguments, `OF_PREDICTIONS` or `OF_LISTS`."""

    target: str
    function: Callable[..., Any]
    takes: tuple[str, ...]
    higher_is_better: bool | None

    @staticmethod
    def load(target: str, key: str = KEY) -> OwnMetric:
        """The metric with that name, such as `mine.py:first_hit`; SpecError if it does not keep to the contract."""
        return OwnMetric.of_function(own_object(target, key, "function"), target, key)

    @staticmethod
    def of_function(function: Any, target: str, key: str = KEY) -> OwnMetric:
        """The function as a metric; SpecError if its arguments, its name or its direction are not as they must be."""
        try:
            takes = tuple(inspect.signature(function).parameters)
        except (TypeError, ValueError):
            raise SpecError(
                f"{key}: {target} is not a function; give the name of a function of predictions or lists"
            ) from None
        if set(takes) not in (set(OF_PREDICTIONS), set(OF_LISTS)):
            raise SpecError(
                f"{key}: {target} takes ({', '.join(takes)}), but a metric takes ({', '.join(OF_PREDICTIONS)}) or"
                f" ({', '.join(OF_LISTS)}); rename its arguments"
            )
        name = own_name(target)
        if is_built_in(name) or not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise SpecError(f"{key}: {name} is the name of a built-in metric; rename the function in {target}")
        direction = getattr(function, "higher_is_better", None)
        if direction not in (True, False, None):
            raise SpecError(f"{key}: {target} has higher_is_better = {direction!r}; make it True or False")
        return OwnMetric(target, function, takes, direction)

    @property
    def name(self) -> str:
        """The name of its function, by which it is known, with the name of the part before it."""
        return own_name(self.target)

    @property
    def takes_lists(self) -> bool:
        """Whether it is a function of lists."""
        return set(self.takes) == set(OF_LISTS)

    @property
    def digest(self) -> str:
        """16 hex digits of a digest of its file."""
        return own_digest(self.target)

    def of(self, arrays: Mapping[str, Array]) -> float | None:
        """Its value for these arrays; None if it is undefined, InputError if it is not a number."""
        value = self.function(**{name: _read_only(arrays[name]) for name in self.takes})
        try:
            number = math.nan if value is None else float(value)
        except (TypeError, ValueError):
            raise InputError(f"{self.target}: it returned {value!r}; return one number, or None if it is undefined") from None
        return number if math.isfinite(number) else None

    def check(self) -> None:
        """SpecError if it fails on a small example: better now than after hours of training."""
        try:
            self.of(example()[self.takes_lists])
        except InputError as error:
            raise SpecError(f"{KEY}: {error}") from None
        except Exception as error:  # a user's function can raise anything
            raise SpecError(
                f"{KEY}: {self.target} failed on a small example ({type(error).__name__}: {error}); mend the function"
            ) from error


def own_metrics(asked: Evaluation, check: bool = False) -> list[OwnMetric]:
    """The user's own metrics of a spec, in its order; SpecError if one of them does not keep to the contract.

    check: also run each on a small example.
    """
    found = [OwnMetric.load(target) for target in asked.extra]
    for metric in found:
        if metric.takes_lists and not asked.k:
            raise SpecError(f"{KEY}: {metric.target} is a function of lists, but evaluation.k is empty; give it a length")
        if check:
            metric.check()
    return found


def objective_of(spec: Spec) -> Objective:
    """The objective of the spec's sweep; SpecError if it is a metric of the user's own that lacks a direction."""
    name = spec.objective
    target = spec.evaluation.own.get(name.removeprefix("valid_"))
    if target is None:
        return Objective(name=name, higher_is_better=bool(higher_is_better(name.removeprefix("valid_"))))
    direction = OwnMetric.load(target).higher_is_better
    if direction is None:
        raise SpecError(
            f"sweep.objectives: {target} does not say which direction is better; add a line"
            f" `{own_name(target)}.higher_is_better = True` (or False) below it"
        )
    return Objective(name=name, higher_is_better=direction)


def of_predictions(part: Ratings, predicted: Floats64) -> dict[str, Array]:
    """The arrays of a function of predictions."""
    return {
        "users": part.users.astype(np.int64), "items": part.items.astype(np.int64),
        "ratings": part.values.astype(np.float64), "predicted": predicted,
    }  # fmt: skip


def values_of(metrics: Sequence[OwnMetric], predictions: Mapping[str, Array], lists: Lists | None) -> dict[str, float | None]:
    """The values of these metrics by name. lists: None only if none of them takes lists."""
    return {metric.name: metric.of(vars(lists) if metric.takes_lists else predictions) for metric in metrics}


def example(seed: int = 0) -> tuple[dict[str, Array], dict[str, Array]]:
    """Small arrays for a function of predictions, and for one of lists; their last user has no relevant item."""
    rng = np.random.default_rng(seed)
    n, m, k = 30, 5, 4
    predictions: dict[str, Array] = {
        "users": np.sort(rng.integers(0, m, n)), "items": rng.integers(0, 12, n),
        "ratings": rng.integers(1, 6, n).astype(np.float64), "predicted": rng.normal(3.0, 1.0, n),
    }  # fmt: skip
    items = np.argsort(rng.random((m, 12)), axis=1)[:, :k].astype(np.int64)
    hits = rng.random((m, k)) < 0.4
    hits[-1], items[0, -1], hits[0, -1] = False, -1, False
    n_relevant = hits.sum(axis=1) + np.array([1, 0, 2, 0, 0])
    lists: dict[str, Array] = {"users": np.arange(m), "items": items, "hits": hits, "n_relevant": n_relevant}
    return predictions, lists


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view
