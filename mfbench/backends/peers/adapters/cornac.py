"""Cornac: MF, which is SGD with biases in its own compiled code, an epoch at a time.

Its rule, p += lr (e q - reg p), is ours with lr = 2 alpha and reg = beta / 2, with p and q updated from their old values, and
the biases after them. float32, the ratings in the order of users and items, not shuffled; one thread, as its threads race for
the same rows. The start is the one that the spec draws. With bias: false it has neither biases nor a mean, so the mean, with
center: true, is taken off the ratings beforehand.

Cornac can start from given factors and biases, so each epoch is a `fit` of one epoch that starts from those of the epoch
before.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np


def train(given: SimpleNamespace) -> Iterator[dict[str, Any]]:
    """MF of Cornac."""
    from cornac.data import Dataset
    from cornac.models import MF

    tables = {"P": given.P, "Q": given.Q, "user_bias": given.user_bias, "item_bias": given.item_bias}
    tables = {name: table.astype(np.float32) for name, table in tables.items()}
    inside = given.mean if given.bias else 0.0  # what Cornac itself adds; the rest of the mean is taken off the ratings
    values = given.values.astype(np.float64) - (given.mean - inside)
    ids = [{n: n for n in range(size)} for size in (given.n_users, given.n_items)]
    cells = given.users.astype(np.int64), given.items.astype(np.int64)
    ratings = Dataset(given.n_users, given.n_items, *ids, (*cells, values), seed=0)
    ratings.global_mean = inside
    start = dict(zip(("U", "V", "Bu", "Bi"), tables.values(), strict=True))
    one = MF(
        k=given.K, max_iter=1, learning_rate=2 * given.alpha, lambda_reg=given.beta / 2, use_bias=given.bias,
        num_threads=1, init_params=start, seed=0,
    )  # fmt: skip
    yield {}
    for _ in range(given.epochs):
        one.fit(ratings)  # goes on in the arrays of the start
        yield {**tables, "mean": np.float64(given.mean)}
