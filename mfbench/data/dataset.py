"""A data set: ratings with their raw ids, and titles, timestamps and folds where its source has them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mfbench.core.arrays import Array, Floats, Floats64, Positions
from mfbench.core.errors import DataError
from mfbench.matrix.ratings import Ratings, canonical_order, exact_values
from mfbench.spec import Duplicates


@dataclass(frozen=True)
class Truth:
    """The oracle of a planted data set: the best possible prediction of each rating, in the order of the ratings.

    mean: float64 [n], the conditional mean of the clipped, rounded rating, which has the lowest expected RMSE. median:
    float64 [n], its conditional median, which has the lowest expected MAE.
    """

    mean: Floats64
    median: Floats64


@dataclass(frozen=True)
class Dataset:
    """Ratings in the order of their source, with the raw id of each user and item.

    user_ids: [n_users], item_ids: [n_items], int64 or str, sorted, so that the indices do not depend on the order of
    the rows. titles: str [n_items]. timestamps: int64 [n], seconds. folds: by name, bool [n], True in the test part.
    merged: how many rows of the source are not among the ratings, because another row has the same user and item.
    """

    name: str
    ratings: Ratings
    user_ids: Array
    item_ids: Array
    titles: Array | None = None
    timestamps: Positions | None = None
    folds: dict[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    truth: Truth | None = None
    merged: int = 0

    @cached_property
    def digest(self) -> str:
        """sha256 over the ids and the (user, item, rating) triples, independent of the order of the rows."""
        r = self.ratings.take(canonical_order(self.ratings))
        h = hashlib.sha256()
        for ids in (self.user_ids, self.item_ids):
            h.update("\0".join(map(str, ids.tolist())).encode() + b"\n")
        h.update(r.users.astype("<i4").tobytes())
        h.update(r.items.astype("<i4").tobytes())
        h.update(r.values.astype("<f8").tobytes())
        return h.hexdigest()


def number_ids(raw: Array) -> tuple[npt.NDArray[np.int32], Array]:
    """The raw ids as int32 indices 0..m-1, and the m distinct ids, sorted."""
    ids, indices = np.unique(raw, return_inverse=True)
    return indices.astype(np.int32), ids


def make_dataset(
    name: str,
    users: Array,
    items: Array,
    values: Floats,
    *,
    where: Callable[[int], str],
    timestamps: Positions | None = None,
    titles: dict[object, str] | None = None,
    folds: dict[str, npt.NDArray[np.bool_]] | None = None,
    duplicates: Duplicates = "error",
) -> Dataset:
    """A data set from raw triples; DataError if there are none, a rating is not finite, or a (user, item) pair is repeated.

    duplicates: what to make of such a pair; `last` keeps the row with the latest timestamp, of equal ones or without
    timestamps the later row; `mean` gives that row the mean of all. Row k is dropped from `folds` too.
    where(k) locates the k-th triple for a message, e.g. `ratings.csv, line 7`.
    """
    if len(values) == 0:
        raise DataError(f"{name}: there are no ratings in this data set; it needs at least one")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise DataError(f"{where(int(bad[0]))}: the rating is {values[bad[0]]}; ratings must be finite numbers")
    user_index, user_ids = number_ids(users)
    item_index, item_ids = number_ids(items)
    ratings = Ratings(user_index, item_index, exact_values(values), len(user_ids), len(item_ids))
    merged, order = 0, canonical_order(ratings)
    again = np.flatnonzero(_same_cell(ratings, order)) + 1
    if len(again):
        if duplicates == "error":
            _refuse_duplicates(ratings, order, again, user_ids, item_ids, where)
        merged, everything, timestamped = len(again), ratings, timestamps
        rows, kept = _one_row_each(ratings, timestamps, again, duplicates)
        ratings = replace(everything.take(rows), values=exact_values(kept))
        timestamps = None if timestamped is None else timestamped[rows]
        folds = {name: mask[rows] for name, mask in (folds or {}).items()}
    named = None if titles is None else np.array([titles.get(i, "") for i in item_ids.tolist()])
    return Dataset(name, ratings, user_ids, item_ids, named, timestamps, folds or {}, merged=merged)


def _same_cell(ratings: Ratings, order: Positions) -> npt.NDArray[np.bool_]:
    """bool [n - 1]: whether the next rating in this order has the same user and item."""
    users, items = ratings.users[order], ratings.items[order]
    same: npt.NDArray[np.bool_] = (users[1:] == users[:-1]) & (items[1:] == items[:-1])
    return same


def _one_row_each(
    ratings: Ratings, timestamps: Positions | None, again: Positions, duplicates: Duplicates
) -> tuple[Positions, Floats64]:
    """The rows to keep, ascending, and their values float64: one for each pair of user and item.

    again: the places in canonical order where the pair is that of the place before. A mean is summed by value, so that it
    does not depend on the order of the rows.
    """
    n, cell = len(ratings), ratings.users.astype(np.int64) * ratings.n_items + ratings.items
    starts = np.setdiff1d(np.arange(n), again)
    ends = np.append(starts[1:], n)
    values = ratings.values.astype(np.float64)
    last = np.lexsort((np.zeros(n) if timestamps is None else timestamps, cell))[ends - 1]
    kept = values[last]
    if duplicates == "mean":
        kept = np.add.reduceat(values[np.lexsort((values, cell))], starts) / (ends - starts)
    ascending = np.argsort(last)
    return last[ascending], kept[ascending]


def _refuse_duplicates(
    ratings: Ratings, order: Positions, again: Positions, user_ids: Array, item_ids: Array, where: Callable[[int], str]
) -> None:
    # The sort is stable, so of equal pairs the earlier row comes first; report the first repetition in the file.
    at = again[np.argmin(order[again])]
    first, second = int(order[at - 1]), int(order[at])
    user, item = user_ids[ratings.users[second]], item_ids[ratings.items[second]]
    raise DataError(
        f"{where(second)}: user {user} has already rated item {item} ({where(first)}); keep one rating for each pair of user"
        " and item, or set data.duplicates to last or mean"
    )
