"""cmfrec: CMF, here of the ratings alone, by alternating least squares, in one go.

Its ridge with scale_lam is lambda_ times n_u for a user with n_u ratings, that of `als` with lambda_ = beta / 2, for the
biases too; it has no alpha. It solves each system exactly (use_cg=False), items first, and ends after `n_iter` passes: its
Python interface always draws a new start, so it cannot go on from a pass. Mean and biases are there as the spec says. It draws
its start itself, from a seed that the harness draws. float64. Its package is compiled when it is installed, for the processor
that it is installed on, so another processor may give other bits; it imports threadpoolctl without requiring it.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np


def train(given: SimpleNamespace) -> Iterator[dict[str, Any]]:
    """CMF of cmfrec."""
    from cmfrec import CMF
    from scipy.sparse import coo_matrix

    shape = (given.n_users, given.n_items)
    ratings = coo_matrix((given.values.astype(np.float64), (given.users, given.items)), shape=shape)
    model = CMF(
        k=given.K, lambda_=given.beta / 2, scale_lam=True, method="als", use_cg=False, niter=given.n_iter, center=given.center,
        user_bias=given.bias, item_bias=given.bias, random_state=given.seed, nthreads=given.cores, use_float=False,
        precompute_for_predictions=False, verbose=False,
    )  # fmt: skip
    yield {}
    model.fit(ratings)
    none = {"user_bias": np.zeros(given.n_users), "item_bias": np.zeros(given.n_items)}
    biases = {"user_bias": model.user_bias_, "item_bias": model.item_bias_} if given.bias else none
    yield {"P": model.A_, "Q": model.B_, **biases, "mean": np.float64(model.glob_mean_ if given.center else 0.0)}
