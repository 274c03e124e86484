"""SGD in JAX, vectorised over the ratings of a group, on CPU, GPU or TPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mfbench.backends.base import AtLeast1, SideBySideTraining, Training
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
from mfbench.core.arrays import Array, Positions
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Replayed, Schedule, Shuffled
from mfbench.matrix.steps import BIAS, FIRST_HALF, Adaptive, accumulators

Cut = Literal["minibatch", "waves"]
Dtype = Literal["float32", "float64"]

CAP = 0.25
"""The largest step that a row takes along the mean gradient of its ratings in a batch."""


@dataclass(frozen=True)
class Jax(SideBySideOnDevice):
    """SGD in JAX, one group of ratings per step: minibatches, or waves, which compute exactly what the plain loop does.

    schedule: with "waves" the ratings of a group share no user and no item, and the update rule is that of `loop` over the
    same order: one shuffled order, cut into waves that are run in a new random order each epoch. "minibatch" is an
    approximation: all ratings of a batch read the same old factors, their gradients are summed per row and applied at
    once, and q's update uses the p before the batch. A row that occurs c times in a batch would take c steps of alpha from
    the same point, and overshoot if it is popular; its step is therefore min(alpha, max(CAP, alpha) / c) with CAP = 0.25:
    it never moves further than CAP along the mean of its gradients, and nothing changes where alpha c <= CAP or c = 1.

    batch_size: ratings per minibatch. device: cpu, gpu, tpu, cpu:0, ...; by default the best available. dtype: the type
    that the device computes in. Scatter-add is ordered on a CPU, so runs repeat to the bit there. Waves do on any device,
    as a wave adds to each row once; minibatches on a GPU do not.
    """

    batch_size: AtLeast1 = 1024
    device: str | None = None
    dtype: Dtype = "float32"
    schedule: Cut = "minibatch"

    tunable: ClassVar[frozenset[str]] = frozenset({"K", "alpha", "beta", "step", "decay"})

    def __post_init__(self) -> None:
        if self.device is not None:
            device_named(self.device)

    def arrange(self, train: Ratings, rng: np.random.Generator) -> tuple[Ratings, Schedule]:
        """The ratings in stored order and batches reshuffled each epoch, or the ratings sorted by wave."""
        if self.schedule == "minibatch":
            return train, Shuffled(len(train), self.batch_size)
        from mfbench.matrix.cuts import cut_to, shuffled, waves

        arranged, offsets = waves(train, shuffled(len(train), rng))
        return arranged, Replayed(cut_to(offsets, _width(offsets)))

    @property
    def exact(self) -> bool:
        """True on a CPU, and with waves on any device."""
        return self.schedule == "waves" or super().exact

    def epochs_many(self, train: Ratings, trainings: Sequence[Training]) -> SideBySideTraining:
        """Yield the starts once compiled, then Factors in `dtype` after each epoch, for all trials in one program."""
        use_compile_cache()
        device, exact, width = device_named(self.device), self.schedule == "waves", widest(trainings)
        with jax.enable_x64(self.dtype == "float64"):
            ratings = ratings_on(device, train, self.dtype, beyond=width)
            tables = tables_on(device, trainings, self.dtype)
            n_slots = () if exact else (train.n_users, train.n_items)
            slots = tuple(jax.device_put(np.zeros((len(trainings), n), np.int32), device) for n in n_slots)
            G, adaptive = (), None
            if trainings[0].hyper.step == "adagrad":
                adaptive = Adaptive.of(train)
                new = (accumulators(len(trainings) * n, self.dtype) for n in (train.n_users, train.n_items))
                G = tuple(jax.device_put(one.reshape(len(trainings), -1, 3), device) for one in new)
        program = partial(_epochs, width=width, bias=trainings[0].hyper.bias, exact=exact, adaptive=adaptive)
        state: Any = (tables, slots, G)

        def run(epochs: Any, groups: int, told: Array) -> Any:
            nonlocal state
            with jax.enable_x64(self.dtype == "float64"):  # not around a yield: it would leak to the caller
                state = program(state, ratings, epochs, groups, told)
            return state[0]

        yield from side_by_side(run, trainings, width, self.dtype)


@partial(jax.jit, donate_argnums=0, static_argnames=("width", "bias", "exact", "adaptive"))
def _epochs(
    state: Any, ratings: Any, epochs: Any, groups: Any, told: Any,
    *, width: int, bias: bool, exact: bool, adaptive: Adaptive | None,
) -> Any:  # fmt: skip
    """`_epoch` for all trials: all arguments but the ratings and the number of groups have a leading axis of trials."""
    one = partial(_epoch, width=width, bias=bias, exact=exact, adaptive=adaptive)
    return jax.vmap(one, in_axes=(0, None, 0, None, 0))(state, ratings, epochs, groups, told)


def _epoch(
    state: Any, ratings: Any, epoch: Any, groups: Any, told: Any,
    *, width: int, bias: bool, exact: bool, adaptive: Adaptive | None,
) -> Any:  # fmt: skip
    """The state (tables, slots, accumulators) after the first `groups` groups, each one vectorised step.

    P and Q are two arrays, not one stacked table: XLA then adds to both in place, whatever the number of users.
    A step reads `width` ratings; those beyond the end of its group belong to the next group, and get a step of 0.
    """
    order, sequence, offsets = epoch
    columns = ratings if order is None else tuple(column[order] for column in ratings)
    alpha, beta, mean, K, whole = told

    def step(n: Any, state: Any) -> Any:
        (P, Q, user_bias, item_bias), slots, G = state
        first, end = offsets[sequence[n]], offsets[sequence[n] + 1]
        u, i, r = (lax.dynamic_slice_in_dim(column, first, width) for column in columns)
        real = jnp.arange(width) < end - first
        alpha_u = alpha_i = jnp.where(real, alpha, 0)
        if not exact:
            user_count, user_slots = _occurrences(slots[0], u, real)
            item_count, item_slots = _occurrences(slots[1], i, real)
            alpha_u, alpha_i = _damped(alpha_u, user_count), _damped(alpha_i, item_count)
            slots = (user_slots, item_slots)

        p, q = P[u], Q[i]
        e = r - (mean + user_bias[u] + item_bias[i] + dot(p, q))
        if adaptive is not None:
            sides = []
            for table, rows, row, other, own, alphas, gained in (
                (P, u, p, q, user_bias, alpha_u, G[0]), (Q, i, q, p, item_bias, alpha_i, G[1])
            ):  # fmt: skip
                d = 2 * e[:, None] * other - beta * row
                d_bias = 2 * e - beta * own[rows] if bias else jnp.zeros_like(e)
                factor, share = _adapted(gained[rows], d, d_bias, K, whole, adaptive)
                table = table.at[rows].add(alphas[:, None] * factor[0] * d)
                own = own.at[rows].add(alphas * factor[1] * d_bias)
                sides.append((table, own, gained.at[rows].add(jnp.where(real[:, None], share, 0))))
            (P, user_bias, G_user), (Q, item_bias, G_item) = sides
            return (P, Q, user_bias, item_bias), slots, (G_user, G_item)

        step_p = alpha_u[:, None] * (2 * e[:, None] * q - beta * p)
        if exact:
            p += step_p
        step_q = alpha_i[:, None] * (2 * e[:, None] * p - beta * q)
        P, Q = P.at[u].add(step_p), Q.at[i].add(step_q)
        if bias:
            user_bias = user_bias.at[u].add(alpha_u * (2 * e - beta * user_bias[u]))
            item_bias = item_bias.at[i].add(alpha_i * (2 * e - beta * item_bias[i]))
        return (P, Q, user_bias, item_bias), slots, G

    return lax.fori_loop(0, groups, step, state)


def _adapted(G: Any, d: Any, d_bias: Any, K: Any, whole: Any, adaptive: Adaptive) -> tuple[tuple[Any, Any], Any]:
    """What the steps of factors and bias are multiplied by, and what the accumulators gain, see `matrix.steps`.

    G: [ratings, 3]. d: [ratings, padded K]. K: the factors that are not padding. whole: 0 if the first half alone moves.
    """
    first = jnp.arange(d.shape[1]) < FIRST_HALF
    by_half = jnp.where(first, 1 / jnp.sqrt(G[:, :1]), whole / jnp.sqrt(G[:, 1:2])) / adaptive.s
    of_first = dot(jnp.where(first, d, 0), d) / jnp.minimum(K, FIRST_HALF)
    of_second = whole * dot(jnp.where(first, 0, d), d) / jnp.maximum(K - FIRST_HALF, 1)
    gained = [adaptive.gain * of_first, adaptive.gain * of_second, adaptive.bias_gain * d_bias * d_bias]
    return (by_half, 1 / jnp.sqrt(G[:, BIAS])), jnp.stack(gained, axis=1)


def _width(offsets: Positions) -> int:
    """The width, a multiple of 64, that waves are split to, so that one program of that width runs them all.

    A step costs as much as its width plus about 64 ratings, however short its wave; this width has the least total cost.
    """
    sizes = np.diff(offsets)
    return min(range(64, 1025, 64), key=lambda width: int(np.ceil(sizes / width).sum()) * (width + 64))


def _damped(alpha: Any, count: Any) -> Any:
    """The step size of a row that occurs `count` times in the batch; an alpha of 0 stays 0."""
    return jnp.minimum(alpha, jnp.maximum(CAP, alpha) / jnp.maximum(count, 1))


def _occurrences(slots: Any, rows: Any, real: Any) -> tuple[Any, Any]:
    """How often each of `rows` occurs where `real`, [width], and the scratch array [n] to pass to the next call.

    One of a row's positions in the batch becomes its slot, in which it is counted. Counting in an array of all rows would
    need a second write to clear it, and XLA then copies that array at every step.
    """
    width = len(rows)
    slots = slots.at[rows].set(jnp.arange(width, dtype=slots.dtype))
    slot = slots[rows]
    return jnp.zeros(width, jnp.int32).at[slot].add(real.astype(jnp.int32))[slot], slots
