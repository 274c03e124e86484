"""Where the rows and ratings of a training on a ring lie: which part, which device, which row of its tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from mfbench.core.arrays import Array, Ints, Positions
from mfbench.matrix.ratings import Ratings


@dataclass(frozen=True)
class Side:
    """The users, or the items: the part of each and its row in that part, int32 [n]. size: rows of the largest part."""

    part: Ints
    row: Ints
    size: int

    @staticmethod
    def of(part: Ints, parts: int) -> Side:
        """The rows of a part are in the order of the whole table."""
        sizes = np.bincount(part, minlength=parts)
        order = np.argsort(part, kind="stable")
        row = np.empty(len(part), np.int32)
        row[order] = np.arange(len(part)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return Side(part, row, int(sizes.max()))

    def table(self, whole: Array, part: int, width: tuple[int, ...], dtype: str, beyond: int) -> Array:
        """[size, *width]: a part of a table, with the number `beyond` below and beside it."""
        mine = np.flatnonzero(self.part == part)
        table = np.full((self.size, *width), beyond, dtype)
        if width:
            table[self.row[mine], : whole.shape[1]] = whole[mine]
        else:
            table[self.row[mine]] = whole[mine]
        return table

    def whole(self, tables: Array) -> Array:
        """The whole table, from those of all parts, [parts, size, ...]."""
        whole: Array = tables[self.part, self.row]
        return whole


@dataclass(frozen=True)
class Layout:
    """Users and items in `parts` parts each, on as many or fewer devices.

    Device d has `held` = parts / devices user parts from d · held on. Blocks are numbered as in `schedule.Epoch`.
    """

    parts: int
    devices: int
    users: Side
    items: Side

    @staticmethod
    def of(train: Ratings, at: Positions, parts: int, devices: int) -> Layout:
        """The layout of ratings that are sorted by block. at: int64 [parts² + 1], the first rating of each block."""
        # Those without ratings have a row too, as a prediction may ask for it.
        user_part, item_part = (np.arange(n, dtype=np.int32) % parts for n in (train.n_users, train.n_items))
        for g, (lo, hi) in enumerate(pairwise(at)):
            user_part[train.users[lo:hi]] = g % parts
            item_part[train.items[lo:hi]] = (g + g // parts) % parts
        return Layout(parts, devices, Side.of(user_part, parts), Side.of(item_part, parts))

    @property
    def held(self) -> int:
        """User parts on a device."""
        return self.parts // self.devices

    def by_block(self, ratings: Ratings) -> tuple[Ratings, Positions]:
        """The ratings sorted by block, and the first of each block, int64 [parts² + 1]."""
        user_part = self.users.part[ratings.users]
        block = (self.items.part[ratings.items] - user_part) % self.parts * self.parts + user_part
        at = np.concatenate([[0], np.cumsum(np.bincount(block, minlength=self.parts**2))])
        return ratings.take(np.argsort(block, kind="stable")), at

    def on_device(self, device: int, bounds: Positions) -> tuple[list[slice], Positions]:
        """The blocks of a device by step: each as a slice of all ratings (or waves), and their bounds on the device.

        bounds: int64 [parts² + 1], of all blocks. Those on the device: int64 [parts · held + 1].
        """
        first = device * self.held
        blocks = [step * self.parts + part for step in range(self.parts) for part in range(first, first + self.held)]
        slices = [slice(bounds[g], bounds[g + 1]) for g in blocks]
        return slices, np.concatenate([[0], np.cumsum([one.stop - one.start for one in slices])])

    def columns(self, ratings: Ratings, slices: list[slice]) -> tuple[Array, ...]:
        """The rows of a device's tables and the values, for its ratings: the user's, the item's, the rating."""

        def local(side: Side, index: Ints) -> Array:
            return side.part[index] % self.held * side.size + side.row[index]

        def joined(pick: Callable[[slice], Any]) -> Array:
            return np.concatenate([pick(one) for one in slices])

        return (
            joined(lambda one: local(self.users, ratings.users[one])),
            joined(lambda one: local(self.items, ratings.items[one])),
            joined(lambda one: ratings.values[one]),
        )
