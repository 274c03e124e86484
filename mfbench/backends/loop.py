"""The reference: stochastic gradient descent as in the NumPy notebook, one rating at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from mfbench.matrix.factors import Factors, HyperParams
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Rows, Schedule, Shuffled
from mfbench.matrix.steps import BIAS, Adaptive, accumulators, halves

Order = Literal["shuffled", "rows"]


@dataclass(frozen=True)
class Loop:
    """Plain SGD in Python and NumPy, float64, one rating at a time: slow, readable, the reference.

    order: "shuffled" reshuffles the ratings each epoch, "rows" keeps the stored order (as the notebook does). Of any
    schedule it visits one rating after another, whatever the groups. simultaneous: update q with the p from before this
    rating, as most other libraries do, instead of the p just written; `step: adagrad` always does.

    >>> from mfbench.testing import small_ratings, train_models
    >>> start, *_, last = train_models(Loop(order="rows"), small_ratings(), K=2, epochs=5)
    >>> last.P.shape, last.Q.shape
    ((12, 2), (9, 2))
    """

    order: Order = "shuffled"
    simultaneous: bool = False

    tunable: ClassVar[frozenset[str]] = frozenset({"K", "alpha", "beta", "step", "decay"})

    def arrange(self, train: Ratings, rng: np.random.Generator) -> tuple[Ratings, Schedule]:  # noqa: ARG002
        """The ratings as they are, and the schedule for `order`, one rating to a group."""
        return train, Rows(len(train)) if self.order == "rows" else Shuffled(len(train))

    def epochs(
        self, train: Ratings, start: Factors, hyper: HyperParams, schedule: Schedule, rng: np.random.Generator
    ) -> Iterator[Factors]:
        """Yield the start, then Factors in float64 after each epoch; overflow gives inf or nan."""
        assert hyper.beta is not None
        # Lists of Python numbers and of row views: indexing an array from Python costs more than the arithmetic.
        users, items = train.users.tolist(), train.items.tolist()
        values = train.values.astype(np.float64).tolist()
        P_table, Q_table = np.array(start.P, np.float64), np.array(start.Q, np.float64)
        P, Q = list(P_table), list(Q_table)
        user_bias, item_bias = start.user_bias.tolist(), start.item_bias.tolist()
        mean, beta = float(start.mean), float(hyper.beta)

        def sweep(order: list[int], alpha: float) -> None:
            for n in order:
                u, i, r = users[n], items[n], values[n]
                p, q = P[u], Q[i]
                e = r - (mean + user_bias[u] + item_bias[i] + float(p.dot(q)))
                p_read = p.copy() if self.simultaneous else p  # p itself is updated in place
                p += alpha * (2 * e * q - beta * p)
                q += alpha * (2 * e * p_read - beta * q)
                if hyper.bias:
                    user_bias[u] += alpha * (2 * e - beta * user_bias[u])
                    item_bias[i] += alpha * (2 * e - beta * item_bias[i])

        adaptive, parts = Adaptive.of(train), halves(P_table.shape[1])
        G_user, G_item = (accumulators(len(table), np.float64) for table in (P_table, Q_table))

        def sweep_adagrad(order: list[int], alpha: float, parts: list[slice]) -> None:
            for n in order:
                u, i, r = users[n], items[n], values[n]
                p, q = P[u].copy(), Q[i].copy()
                e = r - (mean + user_bias[u] + item_bias[i] + float(p.dot(q)))
                for h, half in enumerate(parts):
                    d_p, d_q = 2 * e * q[half] - beta * p[half], 2 * e * p[half] - beta * q[half]
                    P[u][half] += alpha / adaptive.s * d_p / math.sqrt(G_user[u, h])
                    Q[i][half] += alpha / adaptive.s * d_q / math.sqrt(G_item[i, h])
                    G_user[u, h] += adaptive.gain * np.mean(d_p * d_p)
                    G_item[i, h] += adaptive.gain * np.mean(d_q * d_q)
                if hyper.bias:
                    for bias, G, row in ((user_bias, G_user, u), (item_bias, G_item, i)):
                        d = 2 * e - beta * bias[row]
                        bias[row] += alpha * d / math.sqrt(G[row, BIAS])
                        G[row, BIAS] += adaptive.bias_gain * d * d

        def snapshot() -> Factors:
            return Factors(P_table.copy(), Q_table.copy(), np.array(user_bias), np.array(item_bias), mean)

        yield snapshot()
        for epoch in range(hyper.epochs):
            with np.errstate(over="ignore", invalid="ignore"):  # not around a yield: it would leak to the caller
                order, alpha = schedule.epoch(rng).positions().tolist(), hyper.rate(epoch)
                if hyper.step == "adagrad":
                    sweep_adagrad(order, alpha, parts if epoch else parts[:1])
                else:
                    sweep(order, alpha)
            yield snapshot()
