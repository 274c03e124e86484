"""Planted data sets: ratings drawn from known factors, with the long tails, biases and noise of MovieLens.

The truth behind each rating is kept, so tables can show the error that no model can beat. Users are generated in blocks,
each with a generator of its own: memory stays linear in the ratings, and a block does not depend on the ones before it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mfbench.core.arrays import Floats64, Positions
from mfbench.data.dataset import Dataset, Truth
from mfbench.matrix.ratings import Ratings

LEVELS = np.arange(1, 11) / 2  # half stars: 0.5 to 5.0
RANK = 8
MEAN = 3.55
USER_BIAS = 0.40
ITEM_BIAS = 0.45
LIKED_IF_POPULAR = 0.35  # correlation of an item's bias with its popularity
LOW_RANK = 0.62  # standard deviation of p·q over random cells
DECAY = 0.75  # ratio of the strength of a dimension to that of the one before
NOISE = 0.85

_USERS_IN_BLOCK = 1024
_ROUNDS = 12
# Independent streams of random numbers.
_FACTORS, _ACTIVITY, _POPULARITY, _CELLS, _NOISE = range(5)


def planted(users: int, items: int, ratings: int, seed: int, name: str) -> Dataset:
    """Exactly `ratings` ratings of distinct cells of a `users` x `items` matrix, sorted by user and item, with their truth.

    The raw ids are 1..users and 1..items, int64; each has a row, even without a rating. `ratings` may be up to
    users * items / 2. The same arguments give the same bits.

    >>> data = planted(users=40, items=30, ratings=300, seed=0, name="tiny")
    >>> data.ratings.users[:3].tolist(), data.ratings.items[:3].tolist(), data.ratings.values[:3].tolist()
    ([0, 0, 0], [3, 6, 8], [5.0, 5.0, 2.5])
    >>> len(data.ratings), len(data.truth.mean)
    (300, 300)
    """
    degrees = _activity(users, items, ratings, _rng(seed, _ACTIVITY))
    weights, popularity = _popularity(items, ratings, _rng(seed, _POPULARITY))
    P, Q, user_bias, item_bias = _factors(users, items, popularity, _rng(seed, _FACTORS))

    u, i = np.empty(ratings, dtype=np.int32), np.empty(ratings, dtype=np.int32)
    values = np.empty(ratings, dtype=np.float32)
    mean, median = np.empty(ratings), np.empty(ratings)
    end = 0
    for block, first in enumerate(range(0, users, _USERS_IN_BLOCK)):
        cells = _draw_cells(degrees[first : first + _USERS_IN_BLOCK], weights, _rng(seed, _CELLS, block))
        here = slice(end, end := end + len(cells))
        u[here], i[here] = cells // items + first, cells % items
        exact = MEAN + user_bias[u[here]] + item_bias[i[here]] + np.einsum("nk,nk->n", P[u[here]], Q[i[here]])
        noise = _rng(seed, _NOISE, block).standard_normal(len(cells))
        values[here] = _to_scale(exact + NOISE * noise)
        mean[here], median[here] = _conditional_mean(exact), _to_scale(exact)
    return Dataset(
        name,
        Ratings(u, i, values, users, items),
        np.arange(1, users + 1),
        np.arange(1, items + 1),
        truth=Truth(mean, median),
    )


def _rng(seed: int, *stream: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=stream))


def _to_scale(values: Floats64) -> Floats64:
    """Round to half stars and clip to the scale."""
    return np.clip(np.round(values * 2) / 2, LEVELS[0], LEVELS[-1])


def _conditional_mean(exact: Floats64) -> Floats64:
    """E[_to_scale(exact + noise)]: the lowest level, plus half a star times the chance to pass each threshold."""
    from scipy.special import ndtr  # here for the start-up time

    total = np.full(len(exact), LEVELS[0])
    for below, above in pairwise(LEVELS):
        total += (above - below) * ndtr((exact - (below + above) / 2) / NOISE)
    return total


def _long_tail(n: int, shape: float, rng: np.random.Generator) -> Floats64:
    """float64 [n]: the n quantiles of a gamma distribution, shuffled; the smaller the shape, the longer the tail."""
    from scipy.special import gammaincinv  # here for the start-up time

    return rng.permutation(gammaincinv(shape, (np.arange(n) + 0.5) / n))


def _activity(users: int, items: int, ratings: int, rng: np.random.Generator) -> Positions:
    """int64 [users]: the number of ratings of each user; they sum to `ratings`.

    From 20 (MovieLens's minimum; half the mean if that is less) to 45 % of the items (more in a dense matrix), with a
    tail as in MovieLens-100k and 1M.
    """
    tail = _long_tail(users, 0.5, rng)
    floor = min(20, (ratings // users + 1) // 2)
    ceiling = min(items, int(max(0.45 * items, 1.5 * ratings / users)) + 1)
    low, high = 0.0, 1.0
    while np.minimum(floor + high * tail, ceiling).sum() < ratings:
        high *= 2
    for _ in range(60):
        scale = (low + high) / 2
        low, high = (low, scale) if np.minimum(floor + scale * tail, ceiling).sum() >= ratings else (scale, high)
    wanted = np.minimum(floor + low * tail, ceiling)
    degrees = np.floor(wanted).astype(np.int64)
    missing = ratings - int(degrees.sum())
    degrees[np.argsort(degrees - wanted, kind="stable")[:missing]] += 1
    return degrees


def _popularity(items: int, ratings: int, rng: np.random.Generator) -> tuple[Floats64, Floats64]:
    """float64 [items] twice: the probability of drawing each item, and its popularity as a standard normal score.

    A larger catalogue has a longer tail, as MovieLens-20M and Netflix have beside MovieLens-100k and 1M. The floor
    gives even the last item a few ratings.
    """
    from scipy.special import ndtri  # here for the start-up time

    tail = _long_tail(items, 0.3 * min(1.0, (4000 / items) ** 0.45), rng)
    weights = tail / tail.sum() + min(1.0, 4 / ratings)
    rank = np.empty(items)
    rank[np.argsort(tail, kind="stable")] = (np.arange(items) + 0.5) / items
    return weights / weights.sum(), ndtri(rank)


def _factors(
    users: int, items: int, popularity: Floats64, rng: np.random.Generator
) -> tuple[Floats64, Floats64, Floats64, Floats64]:
    """P [users, RANK], Q [items, RANK], and the biases of users and items."""
    strength = DECAY ** np.arange(RANK)
    strength *= LOW_RANK / np.sqrt(np.sum(strength**2))
    P = rng.standard_normal((users, RANK)) * strength
    Q = rng.standard_normal((items, RANK))
    own = np.sqrt(1 - LIKED_IF_POPULAR**2) * rng.standard_normal(items)
    user_bias = USER_BIAS * rng.standard_normal(users)
    return P, Q, user_bias, ITEM_BIAS * (own + LIKED_IF_POPULAR * (popularity - 1.0))


def _draw_cells(degrees: Positions, weights: Floats64, rng: np.random.Generator) -> Positions:
    """int64, sorted: `user * items + item` for each user's items, drawn by weight without replacement.

    Each round draws as many items as each user still lacks and drops duplicates, which is the same as drawing one by one
    and skipping duplicates. Users who still lack items after the last round get them in one step.
    """
    items = len(weights)
    upto = np.cumsum(weights)
    upto[-1] = 1.0
    cells = np.empty(0, dtype=np.int64)
    lacks = degrees
    for _ in range(_ROUNDS):
        drawn = np.searchsorted(upto, rng.random(int(lacks.sum())), side="right")
        cells = np.sort(np.concatenate([cells, np.repeat(np.arange(len(degrees)), lacks) * items + drawn]))
        cells = cells[np.diff(cells, prepend=-1) > 0]  # np.unique hashes, and takes ten times as long
        lacks = degrees - np.bincount(cells // items, minlength=len(degrees))
        if not lacks.any():
            return cells
    return np.sort(np.concatenate([cells, *_draw_rest(cells, lacks, weights, rng)]))


def _draw_rest(cells: Positions, lacks: Positions, weights: Floats64, rng: np.random.Generator) -> list[Positions]:
    """The items that users still lack, by an exponential race: the first k of all items to arrive are k draws by weight."""
    items = len(weights)
    rest = []
    for user in np.flatnonzero(lacks):
        own = cells[slice(*np.searchsorted(cells, [user * items, (user + 1) * items]))] - user * items
        arrival = rng.standard_exponential(items) / weights
        arrival[own] = np.inf
        rest.append(user * items + np.argpartition(arrival, lacks[user] - 1)[: lacks[user]])
    return rest
