"""The floor, a baseline of means and damped biases: no factors, nothing to tune."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from mfbench.core.arrays import Floats64, Ints
from mfbench.matrix.factors import Factors, HyperParams
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Rows, Schedule

Terms = Literal["both", "item", "global"]


Damping = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Mean:
    """Global mean plus damped item and user bias: the floor that any model must beat.

        item_bias[i] = Σ (r - mean) / (item_damping + n_i)                  over the n_i ratings of item i
        user_bias[u] = Σ (r - mean - item_bias[i]) / (user_damping + n_u)   over the n_u ratings of user u

    after Koren, "Factor in the Neighbors" (TKDD 2010), section on baseline estimates; the dampings 25 and 10 are his
    typical values for Netflix. terms: "both", "item" (the plain mean of each item if item_damping is 0) or "global".
    """

    terms: Terms = "both"
    item_damping: Damping = 25.0
    user_damping: Damping = 10.0

    tunable: ClassVar[frozenset[str]] = frozenset()

    def arrange(self, train: Ratings, rng: np.random.Generator) -> tuple[Ratings, Schedule]:  # noqa: ARG002
        """The ratings in stored order, which has no effect on the result."""
        return train, Rows(len(train))

    def epochs(
        self,
        train: Ratings,
        start: Factors,
        hyper: HyperParams,  # noqa: ARG002
        schedule: Schedule,  # noqa: ARG002
        rng: np.random.Generator,  # noqa: ARG002
    ) -> Iterator[Factors]:
        """Yield the mean of `train` alone, then one model with its biases; further epochs would change nothing.

        Factors in float64 with K = 0, always centred, whatever the start.
        """
        mean = train.mean()
        rest = train.values.astype(np.float64) - mean
        item_bias, user_bias = np.zeros(train.n_items), np.zeros(train.n_users)
        yield self._factors(start, user_bias, item_bias, mean)
        if self.terms != "global":
            item_bias = _damped_mean(train.items, rest, train.n_items, self.item_damping)
        if self.terms == "both":
            user_bias = _damped_mean(train.users, rest - item_bias[train.items], train.n_users, self.user_damping)
        yield self._factors(start, user_bias, item_bias, mean)

    @staticmethod
    def _factors(start: Factors, user_bias: Floats64, item_bias: Floats64, mean: float) -> Factors:
        return Factors(np.zeros((len(start.P), 0)), np.zeros((len(start.Q), 0)), user_bias, item_bias, mean)


def _damped_mean(index: Ints, rest: Floats64, size: int, damping: float) -> Floats64:
    """float64 [size]: Σ rest / (damping + count) for each index; 0 for an index that does not occur."""
    total = np.bincount(index, weights=rest, minlength=size)
    count = np.bincount(index, minlength=size)
    damped = np.zeros(size)
    np.divide(total, damping + count, out=damped, where=count > 0)
    return damped
