"""A neural network over user and item embeddings: the model that the Keras example compares matrix factorization with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mfbench.backends.embeddings.in_batches import InBatches, columns_of, room_for, trained
from mfbench.backends.embeddings.network import (
    Network,
    drawn_layers,
    first_gradients,
    first_layer,
    flat,
    layers_of,
    network_gradients,
)
from mfbench.backends.embeddings.rows import DTYPE, AdamRows, Steps
from mfbench.core.arrays import Array
from mfbench.matrix.factors import Factors, HyperParams
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Schedule

if TYPE_CHECKING:
    from mfbench.backends.on_device.mlp import MlpInJax


@dataclass(frozen=True)
class Mlp(InBatches):
    """A neural network over user and item embeddings, trained by Adam on mini-batches as Keras does it.

    The embeddings, of size K each, are concatenated and go through dense layers of 32 and 4 units with relu and one of 1
    unit: the model that the Keras example compares matrix factorization with. The loss of a batch is its mean of
    e² + beta/2 (|p|² + |q|²), with the penalty on the embeddings alone; alpha is Adam's learning rate. The spec's `init`
    is for the embeddings (Keras's default is uniform: [-0.05, 0.05]); kernels start as Glorot uniform, their biases at
    zero. With bias: true the prediction also has user_bias[u] + item_bias[i], under the same penalty.

    batch_size: ratings per batch. device: by default compiled code trains on one core of the CPU; with gpu, tpu, cpu,
    cpu:0, ... JAX trains on that device. float32 throughout. Runs repeat to the bit on a CPU, on any number of cores.
    Trials are not trained side by side: in JAX the sums of a matrix product depend on its shape, so a trial would depend on
    the K of the others.
    """

    def epochs(
        self, train: Ratings, start: Factors, hyper: HyperParams, schedule: Schedule, rng: np.random.Generator
    ) -> Iterator[Network]:
        """Yield the start once compiled, with kernels drawn from rng, then a Network in float32 after each epoch."""
        if self.device is None:
            yield from self._compiled(train, start, hyper, schedule, rng)
        else:
            yield from self._in_jax().epochs(train, start, hyper, schedule, rng)

    def _compiled(
        self, train: Ratings, start: Factors, hyper: HyperParams, schedule: Schedule, rng: np.random.Generator
    ) -> Iterator[Network]:
        columns, K, beta = columns_of(train, start, hyper.bias), start.P.shape[1], np.array(hyper.beta, DTYPE)[()]
        steps, room, nothing = Steps(), room_for(schedule, rng), np.array(0, DTYPE)[()]
        P = AdamRows(start.P, start.user_bias if hyper.bias else None, room)
        Q = AdamRows(start.Q, start.item_bias if hyper.bias else None, room)
        dense = AdamRows(flat(drawn_layers(K, rng)), None, 1)  # all layers are one row
        layers, dlayers = layers_of(dense.state[0, 0], K), layers_of(dense.gradient[0], K)
        kernel, dkernel = layers[0][0], dlayers[0][0]

        def descend(users: Array, items: Array, values: Array) -> None:
            P.read(users, steps)
            Q.read(items, steps)
            dense.read(np.zeros(1, np.uint32), steps)
            x, y = first_layer(P.read_rows, P.state, kernel[:K]), first_layer(Q.read_rows, Q.state, kernel[K:])
            dx, dy = network_gradients(
                users, items, values, P.state, Q.state, P.slot, Q.slot, K, hyper.bias, layers, x, y,
                P.gradient, Q.gradient, dlayers,
            )  # fmt: skip
            first_gradients(P.read_rows, P.state, kernel[:K], dx, P.gradient, dkernel[:K])
            first_gradients(Q.read_rows, Q.state, kernel[K:], dy, Q.gradient, dkernel[K:])
            for rows, penalty in ((P, beta), (Q, beta), (dense, nothing)):
                rows.descend(steps, penalty, len(values))

        def network() -> Network:
            fixed = start.user_bias.astype(DTYPE), start.item_bias.astype(DTYPE)
            user_bias, item_bias = (P.bias, Q.bias) if hyper.bias else fixed
            return Network(P.factors, Q.factors, user_bias, item_bias, start.mean, layers_of(dense.factors[0], K))

        yield from trained(columns, schedule, rng, hyper, steps, descend, network, (P, Q))

    def _in_jax(self) -> MlpInJax:
        from mfbench.backends.on_device.mlp import MlpInJax

        return MlpInJax(self.device)
