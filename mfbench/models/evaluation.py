"""The metric contract: what is said of a model on a part of the ratings, beside its RMSE and MAE.

`mfbench/README.md`, "Metrics", has the page for people. All sums are float64 in a fixed order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mfbench.backends.base import Model
from mfbench.core.arrays import Array, Floats64, Positions
from mfbench.matrix.ratings import Ratings
from mfbench.models.ranking import best_unseen
from mfbench.spec import Evaluation

Metrics = dict[str, float | int | None]
"""By name. None stands for a number that is not finite, and for the mean of nothing: of a group without ratings, say."""

MOST_VALUES = 20
"""With more rating values than these, a group for each says nothing."""


def evaluate(model: Model, train: Ratings, part: Ratings, name: str, asked: Evaluation) -> Metrics:
    """All metrics of the contract for a part called `name` (n > 0), of a model that was trained on `train`, in any order.

    RMSE and MAE over the whole part are not among them: a record has them already, under their own names.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        told = _metrics(model, train, part, asked)
    finite = {metric: value if value is not None and math.isfinite(value) else None for metric, value in told.items()}
    return {_in_part(metric, name): value for metric, value in finite.items() if metric not in ("rmse", "mae")}


def none_relevant(asked: Evaluation, highest: float) -> list[str]:
    """A sentence where lists are asked for and the highest rating of train and valid is below `relevant`, else none."""
    if not asked.k or highest >= asked.relevant:
        return []
    told = f"no rating of train and valid is {_named(asked.relevant)} or more, so precision to NDCG have no value"
    return [f"evaluation.relevant: {told}; the highest is {_named(highest)}"]


def user_errors(model: Model, part: Ratings) -> dict[str, Array]:
    """Σ e² and the number of ratings of each user in the part: `user_squared_error` float64, `user_count` int64 [n_users].

    They are what runs are compared by, see `mfbench.report.significance`. Written beside a record they hold no rating of
    the part, which may be the sealed test part, and no item of it, only what the model's errors on a user's ratings come to.
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
    told = dict(_by_knowledge(error, clipped, part, (activity[part.users] > 0) & (popularity[part.items] > 0)))
    values, which = np.unique(part.values, return_inverse=True)
    if len(values) <= MOST_VALUES:
        told |= _by_group("rating", [_named(value) for value in values.tolist()], which, error)
    told |= _by_group("activity", range(6), quintiles(activity)[part.users], error)
    told |= _by_group("popularity", range(6), quintiles(popularity)[part.items], error)
    if asked.k:
        told |= _ranked(model, train, part, popularity, asked)
    return told


def quintiles(counts: Positions) -> Positions:
    """int64 [n]: for each count the quintile that it is in, 1 to 5; 0 where it is 0.

    Of the n' that are not 0, one with c of them below it is in quintile 1 + ⌊5 c / n'⌋. So equal counts fall together, in
    the quintile where the first of them would stand; a quintile is empty where ties reach across it.
    """
    there = np.sort(counts[counts > 0])
    below = np.searchsorted(there, counts)
    return np.where(counts > 0, 1 + 5 * below // max(len(there), 1), 0)


def _in_part(metric: str, part: str) -> str:
    return f"n_{part}{metric.removeprefix('n')}" if metric == "n" or metric.startswith("n_") else f"{part}_{metric}"


def _named(value: float) -> str:
    """A rating value in the name of a metric: 4.5, and 4 for 4.0."""
    return repr(value).removesuffix(".0").replace("+", "")


# --- how far predictions are off -------------------------------------------------------------------------------------


def _by_knowledge(error: Floats64, clipped: Floats64, part: Ratings, known: Array) -> Iterator[tuple[str, Any]]:
    """RMSE √(Σ e² / n) and MAE Σ |e| / n (Herlocker et al., TOIS 2004), and the mean over users of each user's own.

    All of it over all ratings, and over those whose user and item are `known`, of which train has a rating each; of the raw
    prediction, and of the one clipped to the range of the values in train.
    """
    for which, rows in (("", np.ones(len(part), dtype=bool)), ("_known", known)):
        users, of = np.unique(part.users[rows], return_inverse=True)
        yield f"n{which}", int(rows.sum())
        yield f"n_users{which}", len(users)
        for how, e in (("", error[rows]), ("_clipped", clipped[rows])):
            squared, absolute, count = _sums(e, of, len(users))
            yield f"rmse{which}{how}", _mean(e * e, root=True)
            yield f"mae{which}{how}", _mean(np.abs(e))
            yield f"rmse{which}_user{how}", _mean(np.sqrt(squared / count))
            yield f"mae{which}_user{how}", _mean(absolute / count)


def _by_group(kind: str, names: Sequence[Any], which: Positions, error: Floats64) -> Metrics:
    """RMSE, MAE, mean error and count of each group; rating j is in the group `which[j]`."""
    told: Metrics = {}
    squared, absolute, count = _sums(error, which, len(names))
    signed = np.bincount(which, error, len(names))
    for name, s, a, b, n in zip(names, *(each.tolist() for each in (squared, absolute, signed, count)), strict=True):
        told |= {f"n_{kind}_{name}": n}
        told |= {f"rmse_{kind}_{name}": (s / n) ** 0.5 if n else None, f"mae_{kind}_{name}": a / n if n else None}
        told |= {f"bias_{kind}_{name}": b / n if n else None}
    return told


def _sums(error: Floats64, which: Positions, groups: int) -> tuple[Array, Array, Array]:
    """[groups] each: Σ e², Σ |e| and the number of ratings."""
    squared = np.bincount(which, error * error, groups)
    return squared, np.bincount(which, np.abs(error), groups), np.bincount(which, minlength=groups)


def _mean(values: npt.NDArray[Any], root: bool = False) -> float | None:
    if len(values) == 0:
        return None
    mean = float(np.mean(values, dtype=np.float64))
    return mean**0.5 if root else mean


# --- what is recommended ---------------------------------------------------------------------------------------------


def _ranked(model: Model, train: Ratings, part: Ratings, popularity: Positions, asked: Evaluation) -> Metrics:
    """The lists of the users of the part, against the items that these rated `relevant` or more in it.

    Candidates are all items that train has and the user has not rated there; none are sampled (Krichene and Rendle, KDD
    2020). A relevant item that train lacks is no candidate, and counts as missed. Users without relevant items are left out
    of all but coverage, the share of all candidates that is in anyone's list (Ge et al., RecSys 2010), and popularity, the
    mean over users of the mean number of train ratings of the items in the list (Yin et al., VLDB 2012).
    """
    users = np.unique(part.users)
    lists, _ = best_unseen(model, users, train, max(asked.k))
    there = lists >= 0
    relevant = part.take(part.values >= asked.relevant)
    cells = users[:, None].astype(np.int64) * part.n_items + lists
    hits = there & np.isin(cells, relevant.users.astype(np.int64) * part.n_items + relevant.items)
    n_relevant = np.bincount(relevant.users, minlength=part.n_users)[users]
    judged = n_relevant > 0
    told: Metrics = {"n_relevant": len(relevant), "n_users_relevant": int(judged.sum())}
    for k in asked.k:
        told |= {f"{name}_{k}": _mean(each) for name, each in _against(hits[judged, :k], n_relevant[judged]).items()}
        listed, length = np.where(there, popularity[lists], 0)[:, :k], there[:, :k].sum(axis=1)
        told[f"coverage_{k}"] = len(np.unique(lists[:, :k][there[:, :k]])) / np.count_nonzero(popularity)
        told[f"popularity_{k}"] = _mean(listed.sum(axis=1)[length > 0] / length[length > 0])
    return told


def _against(hits: Array, n_relevant: Positions) -> dict[str, Array]:
    """[users] by metric; hits: bool [users, k], which places j of a list hold one of the user's |R| > 0 relevant items.

    precision Σ h_j / k; recall Σ h_j / |R|; hit_rate 1 if Σ h_j > 0; map, the average precision Σ h_j precision_j / |R|, as
    in trec_eval; ndcg Σ h_j / log2(j + 1), over the same sum of a list that begins with min(k, |R|) relevant items
    (Järvelin and Kekäläinen, TOIS 2002, with gains of 0 and 1).
    """
    k = hits.shape[1]
    places = np.arange(1, k + 1)
    discount = 1 / np.log2(places + 1)
    found = np.cumsum(hits, axis=1)
    ideal = np.cumsum(discount)[np.minimum(n_relevant, k) - 1]
    return {
        "precision": found[:, -1] / k,
        "recall": found[:, -1] / n_relevant,
        "ndcg": np.sum(hits * discount, axis=1) / ideal,
        "map": np.sum(hits * found / places, axis=1) / n_relevant,
        "hit_rate": found[:, -1] > 0,
    }
