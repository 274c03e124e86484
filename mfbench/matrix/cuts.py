"""Cuts: the training ratings brought into an order whose groups can be run side by side without changing the result.

Both cuts take time and memory linear in the ratings: beside the ratings and their arranged copy, 12 bytes a rating while
they are made and none afterwards.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mfbench.core.arrays import Array, Ints, Positions
from mfbench.matrix.compiled import compiled
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Diagonals

RUN = 64
"""The longest run of neighbouring rows that is dealt out as one: rows that share a page of memory stay together."""
TILE = 256
"""So many users' factors are worked on at a time, about what the fastest caches hold."""


def shuffled(n: int, rng: np.random.Generator) -> Array:
    """0..n-1 in random order, int32 where that is enough."""
    order = np.arange(n, dtype=np.int32 if n < 2**31 else np.int64)
    rng.shuffle(order)
    return order


def waves(train: Ratings, order: Array) -> tuple[Ratings, Positions]:
    """The ratings by dependency level, and the offsets of the levels.

    The level of a rating is one more than the highest so far, along `order`, of its user and of its item. So the ratings
    of a level share no user and no item, and the levels in turn do exactly what one rating after another in `order` does.
    """
    level, levels = _levels(train.users, train.items, order, train.n_users, train.n_items)
    positions, offsets = _grouped(level, levels, order)
    del level
    return train.take(positions), offsets


def cut_to(offsets: Positions, width: int) -> Positions:
    """The offsets of the same groups, those of more than `width` ratings cut into several."""
    pieces = [np.arange(lo, hi, width) for lo, hi in pairwise(offsets)]
    return np.concatenate([*pieces, offsets[-1:]])


def blocks(train: Ratings, parts: int, rng: np.random.Generator) -> tuple[Ratings, Diagonals]:
    """Users and items dealt into `parts` parts each, and the ratings by the blocks of this grid.

    The blocks of a diagonal share no user and no item: see `schedule.Epoch` for the numbering. The parts of either side have
    nearly equal numbers of ratings; there are no more of them than users or items. Within a block the ratings stand tile
    of users by tile of users, and shuffled within a tile. It depends on the ratings and rng alone, not on the machine.
    """
    parts = max(1, min(parts, train.n_users, train.n_items))
    tiles = max(1, train.n_users // (parts * TILE))
    order = shuffled(len(train), rng)
    user_tile = _dealt(train.users, train.n_users, parts * tiles, rng)
    item_part = _dealt(train.items, train.n_items, parts, rng)
    group = _tiles_of_blocks(train.users, train.items, order, user_tile, item_part, parts, tiles)
    positions, offsets = _grouped(group, parts * parts * tiles, order)
    del group, order
    return train.take(positions), Diagonals(offsets[::tiles].copy(), parts)


def _dealt(index: Ints, n: int, parts: int, rng: np.random.Generator) -> Ints:
    """int32 [n]: the part of each row, dealt in short runs, those with most ratings first, to the part with fewest."""
    run = np.arange(n) // max(1, min(RUN, n // (RUN * parts)))
    ratings = np.bincount(run, weights=np.bincount(index, minlength=n)).astype(np.int64)
    turn = rng.permutation(len(ratings))
    part: Ints = _deal(ratings, turn[np.argsort(-ratings[turn], kind="stable")], parts)
    return part[run]


@compiled()
def _deal(ratings: Positions, turn: Positions, parts: int) -> Ints:
    part = np.empty(len(ratings), np.int32)
    load = np.zeros(parts, np.int64)
    for one in turn:
        part[one] = np.argmin(load)
        load[part[one]] += ratings[one]
    return part


@compiled()
def _tiles_of_blocks(users: Ints, items: Ints, order: Array, user_tile: Ints, item_part: Ints, parts: int, tiles: int) -> Ints:
    """int32 [n]: for each of `order`, the number of its tile: by diagonal, then by user part, then by tile of users."""
    group = np.empty(len(order), np.int32)
    for n in range(len(order)):
        tile = user_tile[users[order[n]]]
        part = tile % parts
        diagonal = (item_part[items[order[n]]] - part) % parts
        group[n] = (diagonal * parts + part) * tiles + tile // parts
    return group


@compiled()
def _levels(users: Ints, items: Ints, order: Array, n_users: int, n_items: int) -> tuple[Ints, int]:
    """int32 [n]: for each of `order`, its level, counted from 0; and how many levels there are."""
    of_user, of_item = np.zeros(n_users, np.int32), np.zeros(n_items, np.int32)
    level = np.empty(len(order), np.int32)
    levels = 0
    for n in range(len(order)):
        u, i = users[order[n]], items[order[n]]
        level[n] = max(of_user[u], of_item[i])
        of_user[u] = of_item[i] = level[n] + 1
        levels = max(levels, level[n] + 1)
    return level, levels


@compiled()
def _grouped(group: Ints, groups: int, order: Array) -> tuple[Array, Positions]:
    """`order` by group, each group in the sequence it had, and the offsets int64 [groups + 1]: a counting sort."""
    offsets = np.zeros(groups + 1, np.int64)
    for g in group:
        offsets[g + 1] += 1
    offsets = np.cumsum(offsets)
    free = offsets.copy()
    grouped = np.empty_like(order)
    for n in range(len(order)):
        grouped[free[group[n]]] = order[n]
        free[group[n]] += 1
    return grouped, offsets
