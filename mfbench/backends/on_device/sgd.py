"""One epoch of SGD as a JAX program: a vectorised step for each group of ratings."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from mfbench.backends.on_device.accelerator import dot
from mfbench.matrix.steps import BIAS, FIRST_HALF, Adaptive

CAP = 0.25
"""The largest step that a row takes along the mean gradient of its ratings in a batch."""


def sgd_epoch(
    state: Any, ratings: Any, epoch: Any, end: Any, told: Any,
    *, width: int, bias: bool, exact: bool, adaptive: Adaptive | None, first: Any = 0,
) -> Any:  # fmt: skip
    """The state (tables, slots, accumulators) after the groups sequence[first:end], each one vectorised step.

    P and Q are two arrays, not one stacked table: XLA then adds to both in place, whatever the number of users.
    A step reads `width` ratings; those beyond the end of its group belong to the next group, and get a step of 0.
    """
    order, sequence, offsets = epoch
    columns = ratings if order is None else tuple(column[order] for column in ratings)
    alpha, beta, mean, K, whole = told

    def step(n: Any, state: Any) -> Any:
        (P, Q, user_bias, item_bias), slots, G = state
        lo, hi = offsets[sequence[n]], offsets[sequence[n] + 1]
        u, i, r = (lax.dynamic_slice_in_dim(column, lo, width) for column in columns)
        real = jnp.arange(width) < hi - lo
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

    return lax.fori_loop(first, end, step, state)


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
