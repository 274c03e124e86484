"""A neural network over user and item embeddings: the model that the Keras example compares matrix factorization with."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mfbench.backends.base import Training
from mfbench.backends.on_device.accelerator import (
    OnDevice,
    device_named,
    packed,
    ratings_on,
    tables_on,
    use_compile_cache,
    widest,
)
from mfbench.backends.on_device.keras_adam import InBatches, descended, keras_adam
from mfbench.core.arrays import Floats, Floats64, Ints
from mfbench.matrix.factors import Factors, HyperParams
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Schedule

DTYPE = "float32"
HIDDEN = (32, 4)
PREDICTED_AT_ONCE = 1 << 12

Layers = tuple[tuple[Floats, Floats], ...]


@dataclass(frozen=True)
class Network:
    """r̂ = mean + user_bias[u] + item_bias[i] + dense layers over the embeddings of u and i.

    P: [n_users, K], Q: [n_items, K], the embeddings. layers: kernel [inputs, outputs] and bias [outputs] of each layer, the
    first with 2 K inputs, P's before Q's, the last with one output; relu between layers.
    """

    P: Floats
    Q: Floats
    user_bias: Floats
    item_bias: Floats
    mean: float
    layers: Layers

    def predict(self, users: Ints, items: Ints) -> Floats64:
        """float64 [n]: the prediction for each pair, computed in float64; overflow shows as inf or nan."""
        # np.einsum, unlike @, sums in the same order on any number of cores.
        (kernel, bias), *deeper = [(kernel.T.astype(np.float64), bias.astype(np.float64)) for kernel, bias in self.layers]
        out, K = np.empty(len(users)), self.P.shape[1]
        with np.errstate(over="ignore", invalid="ignore"):
            # Apply the first layer once to each user and item, not to each pair.
            p = np.einsum("uk,hk->uh", self.P.astype(np.float64), kernel[:, :K]) + bias
            q = np.einsum("ik,hk->ih", self.Q.astype(np.float64), kernel[:, K:])
            for lo in range(0, len(users), PREDICTED_AT_ONCE):
                u, i = users[lo : lo + PREDICTED_AT_ONCE], items[lo : lo + PREDICTED_AT_ONCE]
                h = p[u] + q[i]
                for kernel, bias in deeper:
                    h = np.einsum("nh,kh->nk", np.maximum(h, 0), kernel) + bias
                biases = self.user_bias[u].astype(np.float64) + self.item_bias[i]
                out[lo : lo + PREDICTED_AT_ONCE] = self.mean + biases + h[:, 0]
        return out

    def arrays(self) -> dict[str, Floats]:
        """The arrays to save, by name; not called P and Q, so as not to be taken for factors."""
        return {
            "user_embedding": self.P,
            "item_embedding": self.Q,
            "user_bias": self.user_bias,
            "item_bias": self.item_bias,
            "mean": np.array(self.mean, dtype=np.float64),
            **{f"kernel_{n}": kernel for n, (kernel, _) in enumerate(self.layers, 1)},
            **{f"bias_{n}": bias for n, (_, bias) in enumerate(self.layers, 1)},
        }


@dataclass(frozen=True)
class Mlp(InBatches, OnDevice):
    """A neural network over user and item embeddings, trained by Adam on mini-batches as Keras does it.

    The embeddings, of size K each, are concatenated and go through dense layers of 32 and 4 units with relu and one of 1
    unit: the model that the Keras example compares matrix factorization with. The loss of a batch is its mean of
    e² + beta/2 (|p|² + |q|²), with the penalty on the embeddings alone; alpha is Adam's learning rate. The spec's `init`
    is for the embeddings (Keras's default is uniform: [-0.05, 0.05]); kernels start as Glorot uniform, their biases at
    zero. With bias: true the prediction also has user_bias[u] + item_bias[i], under the same penalty.

    batch_size: ratings per batch. device: cpu, gpu, tpu, cpu:0, ...; by default the best available. float32 throughout.
    Runs repeat to the bit on a CPU, on any number of cores. Trials are not trained side by side: the sums of a matrix
    product depend on its shape, so a trial would depend on the K of the others.
    """

    def epochs(
        self, train: Ratings, start: Factors, hyper: HyperParams, schedule: Schedule, rng: np.random.Generator
    ) -> Iterator[Network]:
        """Yield the start once compiled, with kernels drawn from rng, then a Network in float32 after each epoch."""
        use_compile_cache()
        one = [Training(start, hyper, schedule, rng)]
        device, width, K = device_named(self.device), widest(one), start.P.shape[1]
        ratings = ratings_on(device, train, DTYPE, beyond=width)
        tables = tuple(table[0] for table in tables_on(device, one, DTYPE))
        learned: Any = (tables, jax.device_put(_padded(_drawn(K, rng), K, tables[0].shape[1]), device))
        state = jax.device_put(keras_adam().init(learned), device)
        told = np.array([hyper.alpha, hyper.beta, start.mean], DTYPE)

        def run(rng: np.random.Generator, groups: int | None = None) -> Network:
            nonlocal learned, state
            epoch = schedule.epoch(rng)
            groups = len(epoch) if groups is None else groups
            learned, state = _epoch(learned, state, ratings, packed(epoch, width), groups, told, width=width, bias=hyper.bias)
            (P, Q, user_bias, item_bias), layers = jax.tree.map(np.array, learned)
            return Network(P[:, :K], Q[:, :K], user_bias, item_bias, start.mean, _cut(layers, K))

        yield run(copy.deepcopy(rng), groups=0)  # compiles, and changes nothing
        for _ in range(hyper.epochs):
            yield run(rng)


def _drawn(K: int, rng: np.random.Generator) -> Layers:
    """The initial dense layers: kernels uniform within √(6 / (inputs + outputs)) of 0, biases 0."""
    sizes = (2 * K, *HIDDEN, 1)

    def layer(inputs: int, outputs: int) -> tuple[Floats, Floats]:
        limit = math.sqrt(6 / (inputs + outputs))
        return rng.uniform(-limit, limit, (inputs, outputs)).astype(DTYPE), np.zeros(outputs, DTYPE)

    return tuple(layer(*pair) for pair in itertools.pairwise(sizes))


def _padded(layers: Layers, K: int, width: int) -> Layers:
    """The layers for embeddings padded to `width` columns: inputs beyond K are zero, so their kernel rows stay zero too."""
    (kernel, bias), *deeper = layers
    wide = np.zeros((2, width, kernel.shape[1]), DTYPE)
    wide[:, :K] = kernel.reshape(2, K, -1)
    return (wide.reshape(2 * width, -1), bias), *deeper


def _cut(layers: Layers, K: int) -> Layers:
    """The layers without the rows that `_padded` added."""
    (kernel, bias), *deeper = layers
    return (kernel.reshape(2, -1, kernel.shape[1])[:, :K].reshape(2 * K, -1), bias), *deeper


@partial(jax.jit, donate_argnums=(0, 1), static_argnames=("width", "bias"))
def _epoch(
    learned: Any, state: Any, ratings: Any, epoch: Any, groups: Any, told: Any, *, width: int, bias: bool
) -> tuple[Any, Any]:
    """The embeddings, the layers and Adam's state after the first `groups` batches."""
    alpha, beta, mean = told

    def loss(learned: Any, u: Any, i: Any, r: Any) -> Any:
        (P, Q, user_bias, item_bias), layers = learned
        p, q, bu, bi = P[u], Q[i], user_bias[u], item_bias[i]
        if not bias:
            bu, bi = lax.stop_gradient((bu, bi))
        (kernel, offset), *deeper = layers
        h = jnp.concatenate([p, q], 1) @ kernel + offset
        for kernel, offset in deeper:
            h = jax.nn.relu(h) @ kernel + offset
        e = r - (mean + bu + bi + h[:, 0])
        return e * e + beta / 2 * ((p * p).sum(1) + (q * q).sum(1) + bu * bu + bi * bi)

    return descended(loss, learned, state, ratings, epoch, groups, alpha, width)
