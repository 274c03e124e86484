"""Alternating least squares: the objective of the SGD rule, minimised exactly over all users, then over all items."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from mfbench.backends.base import Threads
from mfbench.backends.on_device.optional import OptionalDevice
from mfbench.matrix.factors import Factors, HyperParams
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.ridge import ByRow, solve
from mfbench.matrix.schedule import Rows, Schedule

Dtype = Literal["float32", "float64"]


@dataclass(frozen=True)
class Als(OptionalDevice):
    """Alternating least squares on the objective of the SGD rule: a cross-check of the SGD backends.

    With the items fixed, the objective Σ [e² + beta/2 (|p|² + |q|²)] over the ratings is one ridge regression for each
    user u, over the user's n_u ratings:

        (Σ q qᵀ + beta n_u / 2) p = Σ q (r - mean - item_bias[i])

    An epoch solves for all users, then for all items. With bias: true, p has one more entry, user_bias[u], and q a 1 in
    its place: factors and bias of a user are solved for together, under the same ridge. With beta 0 the equations of a
    user or item with fewer ratings than factors have no unique solution, and the result is not meaningful.

    device: by default compiled code solves the equations row by row on all cores; with gpu, tpu, cpu, cpu:0, ... JAX solves
    them in batches on that device. dtype: of the computation and of the model. threads: of the compiled code, by default
    all cores that the process may use; the number of threads does not change a bit.
    """

    device: str | None = None
    dtype: Dtype = "float32"
    threads: Threads | None = None

    tunable: ClassVar[frozenset[str]] = frozenset({"K", "beta"})

    def arrange(self, train: Ratings, rng: np.random.Generator) -> tuple[Ratings, Schedule]:  # noqa: ARG002
        """The ratings in stored order, which has no effect on the result."""
        return train, Rows(len(train))

    def epochs(
        self,
        train: Ratings,
        start: Factors,
        hyper: HyperParams,
        schedule: Schedule,  # noqa: ARG002
        rng: np.random.Generator,  # noqa: ARG002
    ) -> Iterator[Factors]:
        """Yield the start once compiled, then Factors in `dtype` after each epoch. The start's P and user_bias are ignored."""
        if self.device is None:
            yield from self._compiled(train, start, hyper)
        else:
            from mfbench.backends.on_device.als import AlsInJax  # imports jax: only if it is needed

            yield from AlsInJax(self.device, self.dtype).epochs(train, start, hyper)

    def _compiled(self, train: Ratings, start: Factors, hyper: HyperParams) -> Iterator[Factors]:
        users = ByRow.of(train.users, train.items, train.values, train.n_users)
        items = ByRow.of(train.items, train.users, train.values, train.n_items)
        penalty = (hyper.beta or 0.0) / 2
        settings: dict[str, Any] = {"mean": start.mean, "ridge": penalty, "with_bias": hyper.bias, "threads": self.threads}
        P, Q, user_bias, item_bias = (
            table.astype(self.dtype) for table in (start.P, start.Q, start.user_bias, start.item_bias)
        )

        def factors() -> Factors:
            return Factors(P, Q, user_bias, item_bias, start.mean)  # no copies needed, as each epoch makes new tables

        nothing = np.zeros(0, np.int32)
        solve(ByRow.of(nothing, nothing, np.zeros(0), 1), Q, item_bias, **settings)  # compiles
        yield factors()
        for _ in range(hyper.epochs):
            P, user_bias = solve(users, Q, item_bias, **settings)
            Q, item_bias = solve(items, P, user_bias, **settings)
            yield factors()
