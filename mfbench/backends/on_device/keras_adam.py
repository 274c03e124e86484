"""Keras's Adam, applied to the mini-batches of an epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax


def keras_adam() -> Any:
    """The direction of Keras's Adam as an optax transformation; the caller subtracts alpha times the result.

    Keras adds epsilon to √v before the bias correction, optax to √v̂ after it; dividing optax's epsilon by √(1 - 0.999ᵗ)
    makes them equal. `t` counts from 0 here.
    """
    return optax.inject_hyperparams(optax.scale_by_adam)(b1=0.9, b2=0.999, eps=lambda t: 1e-7 / jnp.sqrt(1 - 0.999 ** (t + 1)))


def descended(
    loss: Callable[[Any, Any, Any, Any], Any],
    learned: Any,
    state: Any,
    ratings: Any,
    epoch: Any,
    groups: Any,
    alpha: Any,
    width: int,
) -> tuple[Any, Any]:
    """The learned arrays and Adam's state after the first `groups` mini-batches of an epoch.

    loss(learned, users, items, values) gives the loss of each of `width` ratings; that of a batch is their mean. ratings
    and epoch: as `accelerator.ratings_on` and `accelerator.packed` return them.
    """
    order, sequence, offsets = epoch
    columns = ratings if order is None else tuple(column[order] for column in ratings)
    optimizer = keras_adam()

    def mean_loss(learned: Any, batch: Any, real: Any) -> Any:
        return jnp.where(real, loss(learned, *batch), 0).sum() / jnp.maximum(real.sum(), 1)

    def step(n: Any, carry: Any) -> Any:
        learned, state = carry
        first, end = offsets[sequence[n]], offsets[sequence[n] + 1]
        batch = tuple(lax.dynamic_slice_in_dim(column, first, width) for column in columns)
        real = jnp.arange(width) < end - first
        direction, state = optimizer.update(jax.grad(mean_loss)(learned, batch, real), state)
        return jax.tree.map(lambda table, d: table - alpha * d, learned, direction), state

    return lax.fori_loop(0, groups, step, (learned, state))  # type: ignore[no-any-return]
