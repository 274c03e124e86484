"""Where a model errs: its residuals on the test part by the value of the rating, and by how popular the item is."""

from __future__ import annotations

import numpy as np

from mfbench.backends.base import Model
from mfbench.ratings import Floats64, Ratings
from mfbench.records import ErrorGroup

MOST_RATINGS = 1 << 20
MOST_VALUES = 12
"""Of more distinct values than these, as of ratings that are no stars, tenths of the ratings are made."""


def residuals_of(model: Model, test: Ratings, train: Ratings) -> dict[str, list[ErrorGroup]]:
    """By `rating`, and by `popularity` (the ratings that the item has in `train`), the errors of the model on test.

    Of more than a million test ratings every second, third ... is taken. Empty where a prediction is not finite.
    """
    test = test.take(slice(None, None, -(-len(test) // MOST_RATINGS)))
    values = test.values.astype(np.float64)
    residual = values - model.predict(test.users, test.items)
    if not np.isfinite(residual).all():
        return {}
    popularity = np.bincount(train.items, minlength=train.n_items)[test.items].astype(np.float64)
    return {"rating": _grouped(values, residual), "popularity": _grouped(popularity, residual)}


def _grouped(by: Floats64, residual: Floats64) -> list[ErrorGroup]:
    """A group for each value of `by`, or, of many, for each tenth of the ratings, ties in one group; lowest first."""
    highest = np.unique(by)
    if len(highest) > MOST_VALUES:
        highest = np.unique(np.quantile(by, np.linspace(0.1, 1.0, 10), method="inverted_cdf"))
    group = np.searchsorted(highest, by)
    found = []
    for k in range(len(highest)):
        mine = group == k
        r = residual[mine]
        found.append(
            ErrorGroup(
                low=float(by[mine].min()), high=float(highest[k]), n=len(r), bias=float(r.mean()),
                rmse=float(np.sqrt(np.mean(r * r))),
            )
        )  # fmt: skip
    return found
