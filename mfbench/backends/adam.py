"""Embeddings trained by Adam on mini-batches: the Keras example of matrix factorization."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mfbench.backends.base import Model, SideBySideTraining, Training
from mfbench.backends.embeddings.in_batches import InBatches, columns_of, room_for, trained
from mfbench.backends.embeddings.rows import DTYPE, AdamRows, Steps
from mfbench.core.arrays import Array
from mfbench.matrix.compiled import compiled
from mfbench.matrix.factors import Factors, HyperParams
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Schedule

if TYPE_CHECKING:
    from mfbench.backends.on_device.adam import AdamInJax


@dataclass(frozen=True)
class Adam(InBatches):
    """Embeddings trained by Adam on the mean squared error of mini-batches, as Keras does it.

    The loss of a batch is its mean of e² + beta/2 (|p|² + |q|² + user_bias² + item_bias²), the biases only if they are
    learned; alpha is Adam's learning rate, the same in all epochs, whatever `model.step` says of SGD. Every epoch is
    reshuffled, the last batch is averaged over its own size, and the moments of all rows are updated at every step, so a row
    without ratings in a batch still moves.

    batch_size: ratings per batch. device: by default compiled code trains on the CPU, one core a trial; with gpu, tpu, cpu,
    cpu:0, ... JAX trains on that device. float32 throughout.
    """

    @property
    def accelerated(self) -> bool:
        """Whether there is a device, and it is not a CPU."""
        return self.device is not None and self._in_jax().accelerated

    def epochs(
        self, train: Ratings, start: Factors, hyper: HyperParams, schedule: Schedule, rng: np.random.Generator
    ) -> Iterator[Model]:
        """Yield the start once compiled, then Factors in float32 after each epoch; overflow gives inf or nan."""
        if self.device is not None:
            yield from self._in_jax().epochs(train, start, hyper, schedule, rng)
            return
        columns, K, beta = columns_of(train, start, hyper.bias), start.P.shape[1], np.array(hyper.beta, DTYPE)[()]
        steps, room = Steps(), room_for(schedule, rng)
        P = AdamRows(start.P, start.user_bias if hyper.bias else None, room)
        Q = AdamRows(start.Q, start.item_bias if hyper.bias else None, room)

        def descend(users: Array, items: Array, values: Array) -> None:
            P.read(users, steps)
            Q.read(items, steps)
            _gradients(users, items, values, P.state, Q.state, P.slot, Q.slot, K, hyper.bias, P.gradient, Q.gradient)
            P.descend(steps, beta, len(values))
            Q.descend(steps, beta, len(values))

        def factors() -> Factors:
            fixed = start.user_bias.astype(DTYPE), start.item_bias.astype(DTYPE)
            user_bias, item_bias = (P.bias, Q.bias) if hyper.bias else fixed
            return Factors(P.factors, Q.factors, user_bias, item_bias, start.mean)

        yield from trained(columns, schedule, rng, hyper, steps, descend, factors, (P, Q))

    def epochs_many(self, train: Ratings, trainings: Sequence[Training]) -> SideBySideTraining:
        """Yield the starts once compiled, then all models after each epoch: in one JAX program, or one after another."""
        if self.device is not None:
            yield from self._in_jax().epochs_many(train, trainings)
            return
        each = [self.epochs(train, one.start, one.hyper, one.schedule, one.rng) for one in trainings]
        models = [next(one) for one in each]
        for _ in range(trainings[0].hyper.epochs):
            going = yield models
            on = np.ones(len(each), bool) if going is None else going
            models = [next(one) if goes else model for one, goes, model in zip(each, on, models, strict=True)]
        yield models

    def _in_jax(self) -> AdamInJax:
        from mfbench.backends.on_device.adam import AdamInJax

        return AdamInJax(self.device)


@compiled(reordered=True)
def _gradients(
    users: Array, items: Array, values: Array, P: Array, Q: Array, user_slot: Array, item_slot: Array, K: int, bias: bool,
    P_gradient: Array, Q_gradient: Array,
) -> None:  # fmt: skip
    """Add the gradients of e², without the penalty, to the slots of users and items.

    P, Q: the states of `AdamRows`, with the K factors and, if they are learned, the biases in the first columns.
    """
    for n in range(len(users)):
        u, i = users[n], items[n]
        p, q, dp, dq = P[u, 0], Q[i, 0], P_gradient[user_slot[u]], Q_gradient[item_slot[i]]
        e = -values[n]
        for k in range(np.uint32(K)):
            e += p[k] * q[k]
        if bias:
            e += p[K] + q[K]
        e2 = e + e  # not 2 * e, which Numba would compute in float64
        for k in range(np.uint32(K)):
            dp[k] += e2 * q[k]
            dq[k] += e2 * p[k]
        if bias:
            dp[K] += e2
            dq[K] += e2
