"""LensKit: BiasedMFScorer, alternating least squares on what a baseline of damped biases leaves, an epoch at a time.

Its ridge is regularization times n_u for a user with n_u ratings, that of `als` with regularization = beta / 2; it has no
alpha. Mean and biases are those of a baseline, with damping, before the factors are trained; they are there whatever the
spec's center and bias say. It draws its start itself, rows of length 1 in random directions, from a seed that the harness
draws. float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np


def train(given: SimpleNamespace) -> Iterator[dict[str, Any]]:
    """BiasedMFScorer of LensKit."""
    import pandas as pd
    from lenskit.als import BiasedMFScorer
    from lenskit.data import from_interactions_df
    from lenskit.training import TrainingOptions

    table = pd.DataFrame({"user_id": given.users, "item_id": given.items, "rating": given.values})
    ratings = from_interactions_df(table)
    scorer = BiasedMFScorer(embedding_size=given.K, regularization=given.beta / 2, damping=given.damping)
    trainer = scorer.create_trainer(ratings, TrainingOptions(rng=given.seed))
    users, items = ratings.users.ids(), ratings.items.ids()  # only those with a rating
    yield {}
    for _ in range(given.epochs):
        trainer.train_epoch()
        bias = scorer.bias
        yield {
            "P": _all(given.n_users, users, scorer.user_embeddings), "Q": _all(given.n_items, items, scorer.item_embeddings),
            "user_bias": _all(given.n_users, users, bias.user_biases),
            "item_bias": _all(given.n_items, items, bias.item_biases), "mean": np.float64(bias.global_bias),
        }  # fmt: skip


def _all(n: int, rows: Any, table: Any) -> Any:
    """The table with a row for each of n ids, zero where it has none."""
    table = np.asarray(table)
    whole = np.zeros((n, *table.shape[1:]), table.dtype)
    whole[np.asarray(rows)] = table
    return whole
