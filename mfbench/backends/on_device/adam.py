"""`adam` in JAX, for accelerators: all rows of all tables are updated at every step, for many trials at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax

from mfbench.backends.base import SideBySideTraining, Training
from mfbench.backends.on_device.accelerator import (
    SideBySideOnDevice,
    device_named,
    dot,
    ratings_on,
    side_by_side,
    tables_on,
    use_compile_cache,
    widest,
)
from mfbench.backends.on_device.keras_adam import descended, keras_adam
from mfbench.core.arrays import Array
from mfbench.matrix.ratings import Ratings

DTYPE = "float32"


@dataclass(frozen=True)
class AdamInJax(SideBySideOnDevice):
    """The JAX implementation of `backends.adam`, for accelerators."""

    device: str | None

    def epochs_many(self, train: Ratings, trainings: Sequence[Training]) -> SideBySideTraining:
        """Yield the starts once compiled, then Factors in float32 after each epoch, for all trials in one program."""
        use_compile_cache()
        trainings = [replace(one, hyper=replace(one.hyper, step="constant")) for one in trainings]
        device, width, bias = device_named(self.device), widest(trainings), trainings[0].hyper.bias
        ratings = ratings_on(device, train, DTYPE, beyond=width)
        P, Q, user_bias, item_bias = tables_on(device, trainings, DTYPE)
        learned: tuple[Any, ...] = (P, Q, user_bias, item_bias) if bias else (P, Q)
        fixed: tuple[Any, ...] = () if bias else (user_bias, item_bias)
        state = jax.device_put(_initial(learned), device)

        def run(epochs: Any, groups: int, told: Array) -> Any:
            nonlocal learned, state
            learned, state = _epochs(learned, state, fixed, ratings, epochs, groups, told, width=width)
            return (*learned, *fixed)

        yield from side_by_side(run, trainings, width, DTYPE)


@jax.jit  # type: ignore[untyped-decorator]
def _initial(learned: Any) -> Any:
    return jax.vmap(keras_adam().init)(learned)


@partial(jax.jit, donate_argnums=(0, 1), static_argnames=("width",))
def _epochs(learned: Any, state: Any, fixed: Any, ratings: Any, epochs: Any, groups: Any, told: Any, *, width: int) -> Any:
    """`_epoch` for all trials: all arguments but the ratings and the number of groups have a leading axis of trials."""
    one = partial(_epoch, width=width)
    return jax.vmap(one, in_axes=(0, 0, 0, None, 0, None, 0))(learned, state, fixed, ratings, epochs, groups, told)


def _epoch(learned: Any, state: Any, fixed: Any, ratings: Any, epoch: Any, groups: Any, told: Any, *, width: int) -> Any:
    """The learned tables and Adam's state after the first `groups` batches."""
    alpha, beta, mean, *_ = told

    def loss(learned: Any, u: Any, i: Any, r: Any) -> Any:
        tables: Any = (*learned, *fixed)
        P, Q, user_bias, item_bias = tables
        p, q, bu, bi = P[u], Q[i], user_bias[u], item_bias[i]
        e = r - (mean + bu + bi + dot(p, q))
        penalty = (p * p).sum(1) + (q * q).sum(1)
        if not fixed:
            penalty += bu * bu + bi * bi
        return e * e + beta / 2 * penalty

    return descended(loss, learned, state, ratings, epoch, groups, alpha, width)
