"""The evaluation metrics of a model on a part of the ratings, in addition to its overall RMSE and MAE.

`docs/metrics.md` defines each of them. All sums are float64 in a fixed order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mfbench.backends.base import Model
from mfbench.core.arrays import Array, Floats64, Ints, Positions
from mfbench.core.errors import SpecError
from mfbench.core.objective import list_length
from mfbench.matrix.metrics import mean_or_none
from mfbench.matrix.ratings import Ratings
from mfbench.models.lists import Lists, ranking_metrics
from mfbench.models.own_metrics import OwnMetric, objective_of, of_predictions, own_metrics, values_of
from mfbench.spec import Evaluation, Spec

Metrics = dict[str, float | int | None]
"""Values by name; None if the value is not finite, or a mean of nothing, as of a group without ratings."""

MOST_VALUES = 20
"""With more distinct rating values than this, there are no metrics by rating value."""


@runtime_checkable
class HasSpread(Protocol):
    """A model that says how far ratings lie from its predictions, as a posterior does."""

    def spread(self, users: Ints, items: Ints) -> Floats64 | None:
        """float64 [n]: the standard deviation of a rating around its prediction; None if it is not known."""


def evaluate(model: Model, train: Ratings, part: Ratings, name: str, asked: Evaluation) -> Metrics:
    """All evaluation metrics on a part called `name` (n > 0) of a model that was trained on `train`, given in any order.

    RMSE and MAE over the whole part are not included: a record has fields of its own for them.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        metrics = _metrics(model, train, part, asked)
    finite = {metric: value if value is not None and math.isfinite(value) else None for metric, value in metrics.items()}
    return {_in_part(metric, name): value for metric, value in finite.items() if metric not in ("rmse", "mae")}


def objective_measure(
    objective: str, asked: Evaluation, train: Ratings, part: Ratings
) -> Callable[[Model], float | int | None] | None:
    """A function that computes that metric of a model on the valid part, and no other where these take time.

    None for the metrics of the curves, which are computed anyway.
    """
    if objective in ("valid_rmse", "valid_mae"):
        return None
    name = objective.removeprefix("valid_")
    length, target = list_length(name), asked.own.get(name)
    lists_wanted = target is not None and OwnMetric.load(target).takes_lists
    k = [length] if length else asked.k if lists_wanted else []
    alone = Evaluation(k=k, relevant=asked.relevant, extra=[target] if target else [])
    return lambda model: evaluate(model, train, part, "valid", alone)[objective]


def none_relevant(asked: Evaluation, highest: float) -> list[str]:
    """A warning if lists are asked for and the highest rating of train and valid is below `relevant`, else an empty list."""
    if not asked.k or highest >= asked.relevant:
        return []
    fault = f"no rating of train and valid is {_named(asked.relevant)} or more"
    effect = "so precision, recall, NDCG, MAP, MRR and hit rate are undefined"
    return [f"evaluation.relevant: {fault}, {effect}; set it to {_named(highest)}, the highest rating, or less"]


def check_metrics(spec: Spec, highest: float) -> None:
    """SpecError if a metric of the user's own fails on a small example, or the objective of the sweep cannot be computed.

    highest: the highest rating of train and valid.
    """
    own_metrics(spec.evaluation, check=True)
    objective = objective_of(spec)
    if list_length(objective.name.removeprefix("valid_")):
        for sentence in none_relevant(spec.evaluation, highest):
            raise SpecError(f"{sentence} (the sweep's objective is {objective.name})")


def user_errors(model: Model, part: Ratings) -> dict[str, Array]:
    """Σ e² and the number of ratings of each user in the part: `user_squared_error` float64, `user_count` int64 [n_users].

    Runs are compared by them, see `mfbench.report.significance`. They may be stored beside a record even of the sealed test
    part, as they hold none of its ratings and items, only the model's total error on each user's ratings.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        squared, _, count = _sums(
            model.predict(part.users, part.items) - part.values, part.users.astype(np.int64), part.n_users
        )
    return {"user_squared_error": squared, "user_count": count}


def _metrics(model: Model, train: Ratings, part: Ratings, asked: Evaluation) -> Metrics:
    prediction = model.predict(part.users, part.items)
    error = prediction - part.values
    clipped = np.clip(prediction, train.values.min(), train.values.max()) - part.values
    activity = np.bincount(train.users, minlength=train.n_users)
    popularity = np.bincount(train.items, minlength=train.n_items)
    metrics = dict(_by_knowledge(error, clipped, part, (activity[part.users] > 0) & (popularity[part.items] > 0)))
    metrics |= {f"abs_error_{share}": float(np.quantile(np.abs(error), share / 100)) for share in (50, 90, 95)}
    values, which = np.unique(part.values, return_inverse=True)
    if len(values) <= MOST_VALUES:
        metrics |= _by_group("rating", [_named(value) for value in values.tolist()], which, error)
    metrics |= _by_group("activity", range(6), quintiles(activity)[part.users], error)
    metrics |= _by_group("popularity", range(6), quintiles(popularity)[part.items], error)
    if isinstance(model, HasSpread) and (std := model.spread(part.users, part.items)) is not None:
        metrics |= _calibration(error, std)
    lists = Lists.of(model, train, part, max(asked.k), asked.relevant) if asked.k else None
    if lists is not None:
        metrics |= ranking_metrics(lists, popularity, asked.k)
    return metrics | values_of(own_metrics(asked), of_predictions(part, prediction), lists)


def _calibration(error: Floats64, std: Floats64) -> Metrics:
    """`inside_50`, `_80`, `_95`: the share of ratings in the central interval that should hold so many per cent of them."""
    from scipy.special import ndtri  # the quantile of the normal distribution; scipy.stats would take half a second to import

    return {f"inside_{share}": float(np.mean(np.abs(error) <= ndtri(0.5 + share / 200) * std)) for share in (50, 80, 95)}


def quintiles(counts: Positions) -> Positions:
    """int64 [n]: the quintile of each count, 1 to 5; 0 for a count of 0.

    Of the n' positive counts, one with c of them below it is in quintile 1 + ⌊5 c / n'⌋. So equal counts are in the same
    quintile, that of the first of them, and a quintile that ties span is empty.

    >>> quintiles(np.array([0, 3, 8, 8, 8, 20])).tolist()
    [0, 1, 2, 2, 2, 5]
    """
    positive = np.sort(counts[counts > 0])
    below = np.searchsorted(positive, counts)
    return np.where(counts > 0, 1 + 5 * below // max(len(positive), 1), 0)


def _in_part(metric: str, part: str) -> str:
    return f"n_{part}{metric.removeprefix('n')}" if metric == "n" or metric.startswith("n_") else f"{part}_{metric}"


def _named(value: float) -> str:
    """A rating value as it is written in names of metrics: 4.5, and 4 for 4.0."""
    return repr(value).removesuffix(".0").replace("+", "")


# --- accuracy of the predictions -------------------------------------------------------------------------------------


def _by_knowledge(error: Floats64, clipped: Floats64, part: Ratings, known: Array) -> Iterator[tuple[str, Any]]:
    """RMSE √(Σ e² / n) and MAE Σ |e| / n (Herlocker et al., TOIS 2004), and the means over users of each user's RMSE and MAE.

    Each over all ratings, and over those whose user and item are `known`, that is have a rating in train; and each for raw
    predictions, and for predictions clipped to the range of the values in train.
    """
    for which, rows in (("", np.ones(len(part), dtype=bool)), ("_known", known)):
        users, of = np.unique(part.users[rows], return_inverse=True)
        yield f"n{which}", int(rows.sum())
        yield f"n_users{which}", len(users)
        for how, e in (("", error[rows]), ("_clipped", clipped[rows])):
            squared, absolute, count = _sums(e, of, len(users))
            yield f"rmse{which}{how}", _root(mean_or_none(e * e))
            yield f"mae{which}{how}", mean_or_none(np.abs(e))
            yield f"rmse{which}_user{how}", mean_or_none(np.sqrt(squared / count))
            yield f"mae{which}_user{how}", mean_or_none(absolute / count)


def _by_group(kind: str, names: Sequence[Any], which: Positions, error: Floats64) -> Metrics:
    """RMSE, MAE, mean error and count of each group; rating j is in the group `which[j]`."""
    metrics: Metrics = {}
    squared, absolute, count = _sums(error, which, len(names))
    signed = np.bincount(which, error, len(names))
    for name, s, a, b, n in zip(names, *(each.tolist() for each in (squared, absolute, signed, count)), strict=True):
        metrics |= {f"n_{kind}_{name}": n}
        metrics |= {f"rmse_{kind}_{name}": (s / n) ** 0.5 if n else None, f"mae_{kind}_{name}": a / n if n else None}
        metrics |= {f"bias_{kind}_{name}": b / n if n else None}
    return metrics


def _sums(error: Floats64, which: Positions, groups: int) -> tuple[Array, Array, Array]:
    """[groups] each: Σ e², Σ |e| and the number of ratings."""
    squared = np.bincount(which, error * error, groups)
    return squared, np.bincount(which, np.abs(error), groups), np.bincount(which, minlength=groups)


def _root(value: float | None) -> float | None:
    return None if value is None else value**0.5
