"""Fold-in: the factors of a new user or item, in closed form from its ratings, without retraining the model.

With the items fixed and beta > 0, the objective of the update rule has a unique minimum in the factors p of a user,

    p = (Σ q qᵀ + n beta / 2 I)⁻¹ Σ q (r - mean - item_bias),

with sums over the user's n ratings; with biases, p has one more entry, the user's bias, and q a 1 in its place. `als` solves
the same equations. For a posterior, fold-in gives the conditional mean of p given the ratings, for each sample. Items are
folded in likewise.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import numpy as np

from mfbench.core.arrays import Array, Ints
from mfbench.matrix.predicting import LEAST_RIDGE, refitted
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
        ridge = max(ridge, LEAST_RIDGE)
        factors, bias = solve(ratings, arrays[other], arrays[f"{against}_bias"], float(arrays["mean"]), ridge, with_bias)
        return {table: factors, f"{side}_bias": bias}
    found = [slice(*pair) for pair in pairwise(ratings.offsets)]
    solved = [refitted(arrays, side, ratings.others[mine], ratings.values[mine], ridge, with_bias) for mine in found]
    return {name: np.stack([one[name] for one in solved]) for name in solved[0]}
