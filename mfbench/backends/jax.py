"""SGD in JAX, vectorised over the ratings of a group, on CPU, GPU or TPU."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mfbench.backends.accelerator import device_named, factors_from, pack, ratings_on, tables_on, use_compile_cache
from mfbench.errors import SpecError
from mfbench.factors import Factors, HyperParams
from mfbench.ratings import Ratings
from mfbench.schedule import Epoch, Schedule, Shuffled

Dtype = Literal["float32"]

CAP = 0.25
"""The longest step that a row takes along the mean gradient of its ratings in a batch."""


@dataclass(frozen=True)
class Jax:
    """Minibatch SGD in JAX: an approximation of the plain loop, with all of a batch reading the same old factors.

    The ratings of a batch give their gradients of the update rule, which are summed per row and applied at once; so q's
    update uses the p before the batch. A row that occurs c times in a batch would take c steps of alpha from the same
    place, and leap too far if it is popular; its step is therefore min(alpha, max(CAP, alpha) / c), CAP being 0.25: it
    never goes further than CAP along the mean of its gradients, and nothing is changed where alpha c <= CAP or c = 1.

    batch_size: ratings a batch; 1 is the plain loop but for q reading the old p. device: cpu, gpu, tpu, cpu:0, ...; the
    best there is by default. dtype: what the device computes in. Scatter-add is ordered on a CPU, so runs repeat to the
    bit there; on a GPU it is not.
    """

    batch_size: int = 1024
    device: str | None = None
    dtype: Dtype = "float32"

    tunable: ClassVar[frozenset[str]] = frozenset({"K", "alpha", "beta"})

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise SpecError(f"batch_size: {self.batch_size} must be a number of ratings, 1 or more")
        if self.dtype not in get_args(Dtype):
            raise SpecError(f"dtype: {self.dtype!r} is not known; choose float32")
        if self.device is not None:
            device_named(self.device)

    def arrange(self, train: Ratings, rng: np.random.Generator) -> tuple[Ratings, Schedule]:  # noqa: ARG002
        """The ratings as they stand, and batches of an order drawn anew each epoch."""
        return train, Shuffled(len(train), self.batch_size)

    def epochs(
        self, train: Ratings, start: Factors, hyper: HyperParams, schedule: Schedule, rng: np.random.Generator
    ) -> Iterator[Factors]:
        """Yield the start once compiled, then Factors in `dtype` after each epoch; overflow shows as inf or nan."""
        use_compile_cache()
        device = device_named(self.device)
        ratings = ratings_on(device, train, self.dtype)
        tables = tables_on(device, start, self.dtype)
        slots = tuple(jax.device_put(np.zeros(n, np.int32), device) for n in (train.n_users, train.n_items))
        told = np.array([hyper.alpha, hyper.beta, start.mean], self.dtype)

        def run(epoch: Epoch, groups: int) -> None:
            nonlocal tables, slots
            order, offsets, width = pack(epoch)
            tables, slots = _epoch(tables, slots, ratings, order, offsets, groups, told, width=width, bias=hyper.bias)

        def snapshot() -> Factors:
            return factors_from(tables, K=start.P.shape[1], mean=start.mean)

        run(schedule.epoch(copy.deepcopy(rng)), groups=0)  # compiles for the shapes to come, and changes nothing
        yield snapshot()
        for _ in range(hyper.epochs):
            epoch = schedule.epoch(rng)
            run(epoch, len(epoch))
            yield snapshot()


@partial(jax.jit, donate_argnums=(0, 1), static_argnames=("width", "bias"))
def _epoch(
    tables: Any, slots: Any, ratings: Any, order: Any, offsets: Any, groups: Any, told: Any, *, width: int, bias: bool
) -> Any:
    """The tables after the first `groups` groups, each one vectorised step.

    P and Q are two arrays, not one stacked table: XLA then adds to both in place, whatever the number of users.
    """
    users, items, values = ratings
    alpha, beta, mean = told

    def step(g: Any, carry: Any) -> Any:
        (P, Q, user_bias, item_bias), (user_slots, item_slots) = carry
        at = lax.dynamic_slice_in_dim(order, offsets[g], width)
        real = jnp.arange(width) < offsets[g + 1] - offsets[g]
        u, i, r = users[at], items[at], values[at]
        user_count, user_slots = _occurrences(user_slots, u, real)
        item_count, item_slots = _occurrences(item_slots, i, real)
        alpha_u, alpha_i = _damped(alpha, user_count), _damped(alpha, item_count)

        p, q = P[u], Q[i]
        e = r - (mean + user_bias[u] + item_bias[i] + (p * q).sum(1))
        P = _add(P, u, real, alpha_u, 2 * e[:, None] * q - beta * p)
        Q = _add(Q, i, real, alpha_i, 2 * e[:, None] * p - beta * q)
        if bias:
            user_bias = _add(user_bias, u, real, alpha_u, 2 * e - beta * user_bias[u])
            item_bias = _add(item_bias, i, real, alpha_i, 2 * e - beta * item_bias[i])
        return (P, Q, user_bias, item_bias), (user_slots, item_slots)

    return lax.fori_loop(0, groups, step, (tables, slots))


def _add(table: Any, rows: Any, real: Any, alpha: Any, direction: Any) -> Any:
    """table[rows] += alpha * direction, summed where a row occurs again, nothing where it is not real."""
    lined_up = (-1,) + (1,) * (direction.ndim - 1)
    change = alpha.reshape(lined_up) * direction
    return table.at[rows].add(jnp.where(real.reshape(lined_up), change, 0))


def _damped(alpha: Any, count: Any) -> Any:
    """The step of a row that occurs `count` times in the batch."""
    return jnp.minimum(alpha, jnp.maximum(CAP, alpha) / jnp.maximum(count, 1))


def _occurrences(slots: Any, rows: Any, real: Any) -> tuple[Any, Any]:
    """How often each of `rows` occurs among the real ones, [width], and the scratch [n] to be given to the next call.

    One of a row's positions in the batch becomes its slot, and the slots count. Counting in an array of all rows would
    need a second write into it to clear it, and XLA then copies that array at every step.
    """
    width = len(rows)
    slots = slots.at[rows].set(jnp.arange(width, dtype=slots.dtype))
    slot = slots[rows]
    return jnp.zeros(width, jnp.int32).at[slot].add(real.astype(jnp.int32))[slot], slots
