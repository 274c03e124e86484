"""`mlp` in JAX, for accelerators: all rows of all tables are updated at every step."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mfbench.backends.base import Training
from mfbench.backends.embeddings.network import Layers, Network, drawn_layers
from mfbench.backends.on_device.accelerator import (
    OnDevice,
    device_named,
    packed,
    ratings_on,
    tables_on,
    use_compile_cache,
    widest,
)
from mfbench.backends.on_device.keras_adam import descended, keras_adam
from mfbench.matrix.factors import Factors, HyperParams
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Schedule

DTYPE = "float32"


@dataclass(frozen=True)
class MlpInJax(OnDevice):
    """The JAX implementation of `backends.mlp`, for accelerators."""

    device: str | None

    def epochs(
        self, train: Ratings, start: Factors, hyper: HyperParams, schedule: Schedule, rng: np.random.Generator
    ) -> Iterator[Network]:
        """Yield the start once compiled, with kernels drawn from rng, then a Network in float32 after each epoch."""
        use_compile_cache()
        one = [Training(start, hyper, schedule, rng)]
        device, width, K = device_named(self.device), widest(one), start.P.shape[1]
        ratings = ratings_on(device, train, DTYPE, beyond=width)
        tables = tuple(table[0] for table in tables_on(device, one, DTYPE))
        learned: Any = (tables, jax.device_put(_padded(drawn_layers(K, rng), K, tables[0].shape[1]), device))
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
