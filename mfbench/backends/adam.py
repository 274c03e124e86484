"""Embeddings trained by Adam on mini-batches: the Keras example of matrix factorization."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from mfbench.backends.accelerator import device_named, factors_from, pack, ratings_on, tables_on, use_compile_cache
from mfbench.errors import SpecError
from mfbench.factors import Factors, HyperParams
from mfbench.ratings import Ratings
from mfbench.schedule import Epoch, Schedule, Shuffled

DTYPE = "float32"


@dataclass(frozen=True)
class Adam:
    """Embeddings trained by Adam on the mean squared error of mini-batches, as Keras does it.

    The loss of a batch is its mean of e² + beta/2 (|p|² + |q|² + user_bias² + item_bias²), the biases only if they are
    learned; alpha is Adam's learning rate. Every epoch is shuffled, the last batch is averaged over its own size, and
    the moments of all rows move at every step, so a row that a batch lacks still coasts.

    batch_size: ratings a batch. device: cpu, gpu, tpu, cpu:0, ...; the best there is by default. float32 throughout.
    """

    batch_size: int = 512
    device: str | None = None

    tunable: ClassVar[frozenset[str]] = frozenset({"K", "alpha", "beta"})

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise SpecError(f"batch_size: {self.batch_size} must be a number of ratings, 1 or more")
        if self.device is not None:
            device_named(self.device)

    def arrange(self, train: Ratings, rng: np.random.Generator) -> tuple[Ratings, Schedule]:  # noqa: ARG002
        """The ratings as they stand, and batches of an order drawn anew each epoch."""
        return train, Shuffled(len(train), self.batch_size)

    def epochs(
        self, train: Ratings, start: Factors, hyper: HyperParams, schedule: Schedule, rng: np.random.Generator
    ) -> Iterator[Factors]:
        """Yield the start once compiled, then Factors in float32 after each epoch; overflow shows as inf or nan."""
        use_compile_cache()
        device = device_named(self.device)
        ratings = ratings_on(device, train, DTYPE)
        P, Q, user_bias, item_bias = tables_on(device, start, DTYPE)
        learned: tuple[Any, ...] = (P, Q, user_bias, item_bias) if hyper.bias else (P, Q)
        fixed: tuple[Any, ...] = () if hyper.bias else (user_bias, item_bias)
        told = np.array([hyper.alpha, hyper.beta, start.mean], DTYPE)
        state = jax.device_put(_initial(learned, told[0]), device)

        def run(epoch: Epoch, groups: int) -> None:
            nonlocal learned, state
            order, offsets, width = pack(epoch)
            learned, state = _epoch(learned, state, fixed, ratings, order, offsets, groups, told, width=width)

        def snapshot() -> Factors:
            return factors_from((*learned, *fixed), K=start.P.shape[1], mean=start.mean)

        run(schedule.epoch(copy.deepcopy(rng)), groups=0)  # compiles for the shapes to come, and changes nothing
        yield snapshot()
        for _ in range(hyper.epochs):
            epoch = schedule.epoch(rng)
            run(epoch, len(epoch))
            yield snapshot()


def keras_adam(alpha: Any) -> Any:
    """Keras's Adam as an optax transformation; alpha may be traced.

    Keras adds epsilon to √v before the bias correction, optax to √v̂ after it: the same once optax's is divided by
    √(1 - 0.999ᵗ). `t` counts from 0 here.
    """
    return optax.inject_hyperparams(optax.adam)(
        learning_rate=alpha, b1=0.9, b2=0.999, eps=lambda t: 1e-7 / jnp.sqrt(1 - 0.999 ** (t + 1))
    )


@jax.jit  # type: ignore[untyped-decorator]
def _initial(learned: Any, alpha: Any) -> Any:
    return keras_adam(alpha).init(learned)


@partial(jax.jit, donate_argnums=(0, 1), static_argnames=("width",))
def _epoch(
    learned: Any, state: Any, fixed: Any, ratings: Any, order: Any, offsets: Any, groups: Any, told: Any, *, width: int
) -> Any:
    """The learned tables and Adam's state after the first `groups` batches."""
    users, items, values = ratings
    alpha, beta, mean = told
    optimizer = keras_adam(alpha)

    def loss(learned: Any, at: Any, real: Any) -> Any:
        tables: Any = (*learned, *fixed)
        P, Q, user_bias, item_bias = tables
        u, i, r = users[at], items[at], values[at]
        p, q, bu, bi = P[u], Q[i], user_bias[u], item_bias[i]
        e = r - (mean + bu + bi + (p * q).sum(1))
        penalty = (p * p).sum(1) + (q * q).sum(1)
        if not fixed:
            penalty += bu * bu + bi * bi
        return jnp.where(real, e * e + beta / 2 * penalty, 0).sum() / jnp.maximum(real.sum(), 1)

    def step(g: Any, carry: Any) -> Any:
        learned, state = carry
        at = lax.dynamic_slice_in_dim(order, offsets[g], width)
        real = jnp.arange(width) < offsets[g + 1] - offsets[g]
        changes, state = optimizer.update(jax.grad(loss)(learned, at, real), state, learned)
        return optax.apply_updates(learned, changes), state

    return lax.fori_loop(0, groups, step, (learned, state))
