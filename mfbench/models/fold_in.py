"""Fold-in: the factors of a user or an item that the model was not trained with, in closed form from its ratings alone.

With the items fixed, the objective of the update rule has one minimum in a user's row,

    p = (Σ q qᵀ + n beta / 2 I)⁻¹ Σ q (r - mean - item_bias),

the sums over the user's n ratings; with biases, p has one more entry, the user's bias, and q a 1 in its place. It is what
`als` computes for that user. With a posterior it is the mean of the row given its ratings, for each sample. Items likewise.
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
    """The rows of new users, or items: of the arrays of a model those that belong to that side, [new rows, ...].

    arrays: of the model, as `Factors.arrays` or `Posterior.arrays` give them. rows, others, values: [n], a rating each: its
    new row, counted from 0, the row of the other side, and its value. ridge: beta / 2 of the training; a posterior has its
    own priors. Biases are folded in if the model has any.
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
