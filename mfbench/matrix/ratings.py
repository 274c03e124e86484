"""Ratings: the observed cells of R as three parallel arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfbench.core.arrays import Array, Floats, Ints, Positions


@dataclass(frozen=True)
class Ratings:
    """`n` observed ratings of an `n_users` x `n_items` matrix, in some order.

    users, items: int32 [n], indices from 0. values: [n], float32 if that represents every value exactly (as it does star
    ratings), else float64.

    >>> users, items = np.array([0, 0, 2], np.int32), np.array([1, 3, 0], np.int32)
    >>> ratings = Ratings(users, items, np.array([5, 3, 1], np.float32), n_users=3, n_items=4)
    >>> len(ratings), ratings.mean()
    (3, 3.0)
    >>> ratings.take(ratings.values > 2).items.tolist()
    [1, 3]
    """

    users: Ints
    items: Ints
    values: Floats
    n_users: int
    n_items: int

    def __len__(self) -> int:
        return len(self.values)

    def take(self, positions: Array | slice) -> Ratings:
        """The ratings at `positions` (indices, a mask or a slice), in that order."""
        return Ratings(self.users[positions], self.items[positions], self.values[positions], self.n_users, self.n_items)

    def with_(self, other: Ratings) -> Ratings:
        """These ratings and the other's together, in canonical order."""
        both = Ratings(
            np.concatenate([self.users, other.users]),
            np.concatenate([self.items, other.items]),
            np.concatenate([self.values, other.values]),
            self.n_users,
            self.n_items,
        )
        return both.take(canonical_order(both))

    def mean(self) -> float:
        """The mean rating, summed in float64; 0 if there are no ratings."""
        return float(np.mean(self.values, dtype=np.float64)) if len(self) else 0.0

    def unknown_to(self, train: Ratings) -> tuple[Array, Array]:
        """Two masks, bool [n]: ratings whose user, and ratings whose item, has no rating in `train` (cold-start)."""
        return ~seen(train.users, self.n_users)[self.users], ~seen(train.items, self.n_items)[self.items]


def seen(indices: Ints, n: int) -> npt.NDArray[np.bool_]:
    """bool [n]: which of 0..n-1 occur in `indices`."""
    mask = np.zeros(n, dtype=bool)
    mask[indices] = True
    return mask


def canonical_order(ratings: Ratings) -> Positions:
    """int64 [n]: the positions of the ratings sorted by user, then item; equal pairs keep their order."""
    cell = ratings.users.astype(np.int64) * ratings.n_items + ratings.items
    if np.all(cell[1:] >= cell[:-1]):
        return np.arange(len(cell))
    return np.argsort(cell, kind="stable")


def exact_values(values: npt.ArrayLike) -> Floats:
    """The values as float32 if that loses nothing, else as float64."""
    wide = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore"):  # a value beyond the range of float32 becomes inf, and so is not equal
        narrow = wide.astype(np.float32)
    return narrow if np.array_equal(narrow, wide) else wide
