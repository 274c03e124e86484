"""Cuts: reorder the training ratings into groups that can run in parallel without changing the result.

Both cuts take time and memory linear in the number of ratings: besides the ratings and their reordered copy, 12 bytes a
rating while they run and none afterwards.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mfbench.core.arrays import Array, Ints, Positions
from mfbench.matrix.compiled import compiled
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Diagonals

RUN = 64
"""The longest run of neighbouring rows that is assigned to one part, so that rows on one memory page stay together."""
TILE = 256
"""The number of users in a tile: about as many as have their factors fit into the fastest caches."""


def shuffled(n: int, rng: np.random.Generator) -> Array:
    """0..n-1 in random order, int32 if that is large enough, else int64."""
    order = np.arange(n, dtype=np.int32 if n < 2**31 else np.int64)
    rng.shuffle(order)
    return order


def waves(train: Ratings, order: Array) -> tuple[Ratings, Positions]:
    """The ratings sorted by dependency level, and the offsets of the levels, int64 [levels + 1].

    The level of a rating is one more than the highest level so far, along `order`, of its user and of its item. So the
    ratings of a level share no user and no item, and running level after level gives exactly the result of visiting one
    rating after another in `order`.

    >>> users, items = np.array([0, 0, 1, 1], np.int32), np.array([0, 1, 0, 1], np.int32)
    >>> arranged, offsets = waves(Ratings(users, items, np.ones(4), n_users=2, n_items=2), np.arange(4))
    >>> list(zip(arranged.users.tolist(), arranged.items.tolist())), offsets.tolist()
    ([(0, 0), (0, 1), (1, 0), (1, 1)], [0, 1, 3, 4])
    """
    level, levels = _levels(train.users, train.items, order, train.n_users, train.n_items)
    positions, offsets = _grouped(level, levels, order)
    del level
    return train.take(positions), offsets


def waves_in_blocks(train: Ratings, parts: int, rng: np.random.Generator) -> tuple[Ratings, Positions, Diagonals]:
    """The ratings sorted by the blocks of a grid (see `blocks`) and within a block by wave (see `waves`).

    Returns them, the offsets of all waves, int64 [waves + 1], and the blocks.

    >>> users, items = np.divmod(np.arange(16, dtype=np.int32), 4)
    >>> _, offsets, diagonals = waves_in_blocks(Ratings(users, items, np.ones(16), 4, 4), 2, np.random.default_rng(0))
    >>> diagonals.offsets.tolist(), set(diagonals.offsets.tolist()) <= set(offsets.tolist())
    ([0, 4, 8, 12, 16], True)
    """
    arranged, diagonals = blocks(train, parts, rng)
    found = [np.zeros(1, np.int64)]
    for lo, hi in pairwise(diagonals.offsets):
        block, offsets = waves(arranged.take(slice(lo, hi)), shuffled(hi - lo, rng))
        arranged.users[lo:hi], arranged.items[lo:hi], arranged.values[lo:hi] = block.users, block.items, block.values
        found.append(lo + offsets[1:])
    return arranged, np.concatenate(found), diagonals


def cut_to(offsets: Positions, width: int) -> Positions:
    """The offsets after splitting every group of more than `width` ratings."""
    pieces = [np.arange(lo, hi, width) for lo, hi in pairwise(offsets)]
    return np.concatenate([*pieces, offsets[-1:]])


def blocks(train: Ratings, parts: int, rng: np.random.Generator) -> tuple[Ratings, Diagonals]:
    """Divide users and items into `parts` parts each, and sort the ratings by the blocks of this grid.

    The blocks of a diagonal share no user and no item; `schedule.Epoch` has their numbering. The parts of a side have nearly
    equal numbers of ratings; there are at most as many parts as users and as items. Within a block the ratings are sorted
    by tile of users, and shuffled within a tile. The result depends only on the ratings and rng, not on the machine.

    >>> users, items = np.divmod(np.arange(16, dtype=np.int32), 4)
    >>> arranged, diagonals = blocks(Ratings(users, items, np.ones(16), 4, 4), parts=2, rng=np.random.default_rng(0))
    >>> diagonals.lanes, diagonals.offsets.tolist()
    (2, [0, 4, 8, 12, 16])
    >>> first, second = (set(arranged.users[part].tolist()) for part in (slice(0, 4), slice(4, 8)))
    >>> first & second  # blocks 0 and 1 are on one diagonal
    set()
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
    """int32 [n]: the part of each row. Short runs of rows, those with the most ratings first, go to the emptiest part."""
    run = np.arange(n) // max(1, min(RUN, n // (RUN * parts)))
    ratings = np.bincount(run, weights=np.bincount(index, minlength=n)).astype(np.int64)
    turn = rng.permutation(len(ratings))
    part: Ints = _deal(ratings, turn[np.argsort(-ratings[turn], kind="stable")], parts)
    return part[run]


@compiled()
def _deal(ratings: Positions, turn: Positions, parts: int) -> Ints:
    part = np.empty(len(ratings), np.int32)
    load = np.zeros(parts, np.int64)
    for run in turn:
        part[run] = np.argmin(load)
        load[part[run]] += ratings[run]
    return part


@compiled()
def _tiles_of_blocks(users: Ints, items: Ints, order: Array, user_tile: Ints, item_part: Ints, parts: int, tiles: int) -> Ints:
    """int32 [n]: the tile of each rating along `order`, numbered by diagonal, then user part, then tile of users."""
    group = np.empty(len(order), np.int32)
    for n in range(len(order)):
        tile = user_tile[users[order[n]]]
        part = tile % parts
        diagonal = (item_part[items[order[n]]] - part) % parts
        group[n] = (diagonal * parts + part) * tiles + tile // parts
    return group


@compiled()
def _levels(users: Ints, items: Ints, order: Array, n_users: int, n_items: int) -> tuple[Ints, int]:
    """int32 [n]: the level of each rating along `order`, from 0; and the number of levels."""
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
    """`order` sorted by group (a stable counting sort), and the offsets of the groups, int64 [groups + 1]."""
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
