"""Top-n lists: the items with the highest predictions among those that a user has not rated."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mfbench.backends.base import Model
from mfbench.core.arrays import Array, Floats64, Ints, Positions
from mfbench.core.machine import core_list
from mfbench.matrix.compiled import compiled
from mfbench.matrix.factors import Factors
from mfbench.matrix.posterior import factors_of
from mfbench.matrix.ratings import Ratings, seen

AT_ONCE = 32
"""Users whose scores are computed together: each item's row is then read once for all of them, from the nearest cache."""


def best_unseen(model: Model, users: Ints, train: Ratings, n: int, threads: int | None = None) -> tuple[Positions, Floats64]:
    """The n items with the highest predictions for each user, best first, and these predictions.

    Candidates are the items with a rating in `train`, without those that the user has rated there. Ties are in the order of
    the items. Returns int64 and float64 [users, n], filled up with -1 and -inf if there are fewer candidates.

    With Factors every prediction is the same float64 sum wherever and on however many threads it is computed, so equal rows
    tie; no more than the n best of a user are kept. Any other model is scored by its `predict`, 32 users at a time.
    """
    most = min(n, train.n_items)  # each place of a list costs time for each item, even if it stays empty
    items = np.full((len(users), most), -1, dtype=np.int64)
    scores = np.full((len(users), most), -np.inf)
    rated = train.items[np.argsort(train.users, kind="stable")]
    counts = np.bincount(train.users, minlength=train.n_users)
    ends = np.cumsum(counts)
    no_candidate = ~seen(train.items, train.n_items)
    factors = factors_of(model)
    if factors is not None:
        wide = [table.astype(np.float64) for table in (factors.P, factors.Q, factors.user_bias, factors.item_bias)]
        factors = Factors(wide[0], wide[1], wide[2], wide[3], float(factors.mean))

    def work(first: int) -> None:
        block = slice(first, first + AT_ONCE)
        closed = np.repeat(no_candidate[:, None], len(users[block]), axis=1)
        for column, user in enumerate(users[block]):
            closed[rated[ends[user] - counts[user] : ends[user]], column] = True
        if factors is not None:
            P, user_bias = factors.P[users[block]], factors.user_bias[users[block]]
            _keep_best(items[block], scores[block], closed, P, factors.Q, user_bias, factors.item_bias, factors.mean)
        else:
            items[block], scores[block] = _best_predicted(model, users[block], closed, most)

    with ThreadPoolExecutor(threads or len(core_list())) as pool:
        list(pool.map(work, range(0, len(users), AT_ONCE)))
    beyond = ((0, 0), (0, n - most))
    return np.pad(items, beyond, constant_values=-1), np.pad(scores, beyond, constant_values=-np.inf)


def _best_predicted(model: Model, users: Ints, closed: Array, n: int) -> tuple[Positions, Floats64]:
    """`best_unseen` for a few users. closed: bool [items, users], True for an item that is no candidate."""
    n_items = len(closed)
    every = np.tile(np.arange(n_items, dtype=np.int32), len(users))
    scores = model.predict(np.repeat(users, n_items), every).reshape(len(users), n_items)
    scores = np.where(closed.T, -np.inf, scores)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    best, items = np.full((len(users), n), -np.inf), np.full((len(users), n), -1, dtype=np.int64)
    best[:, : order.shape[1]] = np.take_along_axis(scores, order, axis=1)
    items[:, : order.shape[1]] = order
    none = ~(best > -np.inf)
    best[none], items[none] = -np.inf, -1
    return items, best


@compiled(reordered=True)
def _keep_best(
    items: Array, scores: Array, closed: Array, P: Array, Q: Array, user_bias: Array, item_bias: Array, mean: float
) -> None:
    """Insert the best items that are not closed into `items` and `scores`, which start as -1 and -inf."""
    n, K = scores.shape[1], np.uint32(P.shape[1])
    for i in range(np.uint32(len(Q))):
        for u in range(np.uint32(len(P))):
            if closed[i, u]:
                continue
            score = mean + user_bias[u] + item_bias[i]
            for k in range(K):
                score += P[u, k] * Q[i, k]
            if score > scores[u, n - 1]:
                at = n - 1
                while at > 0 and score > scores[u, at - 1]:
                    scores[u, at], items[u, at] = scores[u, at - 1], items[u, at - 1]
                    at -= 1
                scores[u, at], items[u, at] = score, i
