"""Fold-in: the factors of a new user or item, in closed form from its ratings, without retraining the model.

With the items fixed and beta > 0, the objective of the update rule has a unique minimum in the factors p of a user,

    p = (Σ q qᵀ + n beta / 2 I)⁻¹ Σ q (r - mean - item_bias),

with sums over the user's n ratings; with biases, p has one more entry, the user's bias, and q a 1 in its place. `als` solves
the same equations. For a posterior, fold-in gives the conditional mean of p given the ratings, for each sample. Items are
folded in likewise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from mfbench.core.arrays import Array, Ints
from mfbench.matrix.ridge import ByRow, solve

Side = Literal["user", "item"]


def fold_in(
    arrays: Mapping[str, Array], side: Side, rows: Ints, others: Ints, values: Array, ridge: float
) -> dict[str, Array]:
    """The factors and biases of new users or items: the model's arrays of that side, [new rows, ...].

    arrays: of the model, as returned by `Factors.arrays` or `Posterior.arrays`. side: of the new rows. rows, others, values:
    [n], for each rating its new row, counted from 0, the row of the other side, and its value. ridge: beta / 2 of the
    training; ignored for a posterior, which has its own priors. Biases are folded in if the model has any.
    """
    table, other = ("P", "Q") if side == "user" else ("Q", "P")
    against = "item" if side == "user" else "user"
    ratings = ByRow.of(rows, others, values, int(rows.max()) + 1)
    with_bias = bool(np.any(arrays[f"{side}_bias"]))
    if "sample_mean" not in arrays:
        factors, bias = solve(ratings, arrays[other], arrays[f"{against}_bias"], float(arrays["mean"]), ridge, with_bias)
        return {table: factors, f"{side}_bias": bias}
    S = len(arrays["sample_mean"])
    fixed = arrays[other].reshape(len(arrays[other]), S, -1).astype(np.float64) * S**0.5
    solved = np.zeros((len(ratings.offsets) - 1, S, fixed.shape[2] + 1))
    used = slice(None) if with_bias else slice(-1)
    for row, s in np.ndindex(solved.shape[:2]):
        mine = slice(ratings.offsets[row], ratings.offsets[row + 1])
        at, (mu, weight) = ratings.others[mine], arrays[f"sample_{side}_priors"][s].T[:, used]
        x = np.column_stack([fixed[at, s], np.ones(len(at))])[:, used]
        rest = ratings.values[mine] - arrays["sample_mean"][s] - arrays[f"sample_{against}_bias"][at, s]
        noise = arrays["sample_noise"][s]
        solved[row, s, used] = np.linalg.solve(np.diag(weight) + noise * x.T @ x, weight * mu + noise * x.T @ rest)
    factors, biases = (solved[..., :-1] / S**0.5).reshape(len(solved), -1), solved[..., -1]
    return {table: factors, f"{side}_bias": biases.mean(axis=1), f"sample_{side}_bias": biases}
