"""cmfrec: CMF without side information, alternating least squares in its own compiled code.

With scale_lam its objective is Σ e² + lambda Σ (n_u |p_u|² + n_i |q_i|²), which is that of `als` with lambda = beta / 2; it
penalizes the biases likewise. It has no alpha. It trains all of its n_iter passes in one go. It draws its start itself, from a
seed that the harness draws. float64. Its bits depend on the processor, as it is compiled for the one that it is installed on,
and on the option threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np


def train(given: SimpleNamespace) -> Iterator[dict[str, Any]]:
    """CMF of cmfrec, as one answer."""
    from cmfrec import CMF
    from scipy.sparse import coo_matrix

    cells = given.users.astype(np.int32), given.items.astype(np.int32)
    ratings = coo_matrix((given.values.astype(np.float64), cells), shape=(given.n_users, given.n_items))
    model = CMF(
        k=given.K, lambda_=given.beta / 2, scale_lam=True, method="als", use_cg=given.use_cg, user_bias=given.bias,
        item_bias=given.bias, center=given.center, niter=given.n_iter, use_float=False, verbose=False, nthreads=given.threads,
        random_state=given.seed,
    )  # fmt: skip
    yield {}
    model.fit(ratings)
    nothing = np.zeros(given.n_users), np.zeros(given.n_items)
    of_users, of_items = (model.user_bias_, model.item_bias_) if given.bias else nothing
    mean = np.float64(model.glob_mean_ if given.center else 0.0)
    yield {"P": model.A_, "Q": model.B_, "user_bias": of_users, "item_bias": of_items, "mean": mean}
