"""The reference: stochastic gradient descent as in the NumPy notebook, one rating at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np

from mfbench.core.errors import SpecError
from mfbench.matrix.factors import Factors, HyperParams
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Rows, Schedule, Shuffled

Order = Literal["shuffled", "rows"]


@dataclass(frozen=True)
class Loop:
    """Plain SGD in Python and NumPy, float64, one rating at a time: slow, readable, the reference.

    order: "shuffled" reshuffles the ratings each epoch, "rows" keeps the stored order (as the notebook does). Of any
    schedule it visits one rating after another, whatever the groups.

    >>> from mfbench.testing import small_ratings, train_models
    >>> start, *_, last = train_models(Loop(order="rows"), small_ratings(), K=2, epochs=5)
    >>> last.P.shape, last.Q.shape
    ((12, 2), (9, 2))
    """

    order: Order = "shuffled"

    tunable: ClassVar[frozenset[str]] = frozenset({"K", "alpha", "beta"})

    def __post_init__(self) -> None:
        if self.order not in get_args(Order):
            raise SpecError(f"order: {self.order!r} is not known; choose shuffled or rows")

    def arrange(self, train: Ratings, rng: np.random.Generator) -> tuple[Ratings, Schedule]:  # noqa: ARG002
        """The ratings as they are, and the schedule for `order`, one rating to a group."""
        return train, Rows(len(train)) if self.order == "rows" else Shuffled(len(train))

    def epochs(
        self, train: Ratings, start: Factors, hyper: HyperParams, schedule: Schedule, rng: np.random.Generator
    ) -> Iterator[Factors]:
        """Yield the start, then Factors in float64 after each epoch; overflow gives inf or nan."""
        assert hyper.alpha is not None
        assert hyper.beta is not None
        # Lists of Python numbers and of row views: indexing an array from Python costs more than the arithmetic.
        users, items = train.users.tolist(), train.items.tolist()
        values = train.values.astype(np.float64).tolist()
        P_table, Q_table = np.array(start.P, np.float64), np.array(start.Q, np.float64)
        P, Q = list(P_table), list(Q_table)
        user_bias, item_bias = start.user_bias.tolist(), start.item_bias.tolist()
        mean, alpha, beta = float(start.mean), float(hyper.alpha), float(hyper.beta)

        def sweep(order: list[int]) -> None:
            for n in order:
                u, i, r = users[n], items[n], values[n]
                p, q = P[u], Q[i]
                e = r - (mean + user_bias[u] + item_bias[i] + float(p.dot(q)))
                p += alpha * (2 * e * q - beta * p)
                q += alpha * (2 * e * p - beta * q)  # with the p just written
                if hyper.bias:
                    user_bias[u] += alpha * (2 * e - beta * user_bias[u])
                    item_bias[i] += alpha * (2 * e - beta * item_bias[i])

        def snapshot() -> Factors:
            return Factors(P_table.copy(), Q_table.copy(), np.array(user_bias), np.array(item_bias), mean)

        yield snapshot()
        for _ in range(hyper.epochs):
            with np.errstate(over="ignore", invalid="ignore"):  # not around a yield: it would leak to the caller
                sweep(schedule.epoch(rng).positions().tolist())
            yield snapshot()
