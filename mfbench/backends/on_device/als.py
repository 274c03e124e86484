"""Alternating least squares in JAX, for accelerators: batches of normal equations, built and solved at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax import lax

from mfbench.backends.on_device.accelerator import device_named, padded, use_compile_cache
from mfbench.core.arrays import Array, Floats, Ints
from mfbench.matrix.factors import Factors, HyperParams
from mfbench.matrix.ratings import Ratings

ABREAST = 64
"""The number of users or items whose equations are built and solved at once: few enough to stay in the cache."""

DEPTH = 32
"""The number of ratings of each of these rows that are summed at once."""


@dataclass(frozen=True)
class AlsInJax:
    """The JAX implementation of `backends.als`, for accelerators: builds and solves the equations of many rows at once."""

    device: str
    dtype: str

    def epochs(self, train: Ratings, start: Factors, hyper: HyperParams) -> Iterator[Factors]:
        """Yield the start once compiled, then Factors in `dtype` after each epoch. The start's P and user_bias are ignored."""
        use_compile_cache()
        device, K = device_named(self.device), start.P.shape[1]
        values = (train.values - start.mean).astype(self.dtype)
        learned = np.ones(padded(K) + 1, self.dtype)
        learned[K:-1], learned[-1] = 0, hyper.bias
        ridge = np.array((hyper.beta or 0) / 2, self.dtype)
        with jax.enable_x64(self.dtype == "float64"):
            users = jax.device_put(in_blocks(train.users, train.items, values, train.n_users), device)
            items = jax.device_put(in_blocks(train.items, train.users, values, train.n_items), device)
            P = jax.device_put(joined(start.P, start.user_bias, self.dtype), device)
            Q = jax.device_put(joined(start.Q, start.item_bias, self.dtype), device)

        def solve(table: Any, other: Any, equations: Any, blocks: int) -> Any:
            with jax.enable_x64(self.dtype == "float64"):  # not around a yield: it would leak to the caller
                return _solved(table, other, *equations, blocks, ridge, learned)

        def factors() -> Factors:
            p, q = np.asarray(P), np.asarray(Q)
            return Factors(p[:, :K].copy(), q[:, :K].copy(), p[:, -1].copy(), q[:, -1].copy(), start.mean)

        P = solve(P, Q, users, 0)  # compiles, and changes nothing
        Q = solve(Q, P, items, 0)
        yield factors()
        for _ in range(hyper.epochs):
            P = solve(P, Q, users, len(users[1][0]))
            Q = solve(Q, P, items, len(items[1][0]))
            yield factors()


def joined(factors: Floats, bias: Floats, dtype: npt.DTypeLike) -> Array:
    """[n, padded K + 1]: the factors, zeros up to the padded K, and the bias as the last column."""
    table = np.zeros((len(factors), padded(factors.shape[1]) + 1), dtype)
    table[:, : factors.shape[1]], table[:, -1] = factors, bias
    return table


def in_blocks(rows: Ints, others: Ints, values: Floats, n: int) -> Any:
    """The ratings sorted by row (others and values, [ratings]), and blocks of the rows with ratings, fewest ratings first.

    The blocks are three int32 [blocks, ABREAST]: the rows, the offsets of their ratings, and their numbers of ratings. The
    last block is filled up with row n, which does not exist, without ratings.
    """
    order = np.argsort(rows, kind="stable")
    count = np.bincount(rows, minlength=n)
    by_count = np.argsort(count, kind="stable")[np.count_nonzero(count == 0) :]
    blocks = np.full((3, -(-len(by_count) // ABREAST) * ABREAST), [[n], [0], [0]], np.int32)
    blocks[:, : len(by_count)] = by_count, (np.cumsum(count) - count)[by_count], count[by_count]
    return (others[order], values[order]), tuple(blocks.reshape(3, -1, ABREAST))


@partial(jax.jit, donate_argnums=0)
def _solved(table: Any, other: Any, ratings: Any, blocks: Any, n_blocks: Any, ridge: Any, learned: Any) -> Any:
    """The table after solving for the rows of the first `n_blocks` blocks, given the other table.

    learned: [columns], 1 for a column to learn, 0 for padding and, without bias: true, for the bias; these come out as 0.
    """
    others, values = ratings
    width = len(learned)

    def block(n: Any, table: Any) -> Any:
        rows, first, count = (part[n] for part in blocks)
        sums = normal_equations(other, others, values, first, count, learned)
        diagonal = ridge * jnp.maximum(count, 1)[:, None] + (1 - learned)
        equations = sums[:, :width].at[:, jnp.arange(width), jnp.arange(width)].add(diagonal)
        return table.at[rows].set(_eliminated(equations), mode="drop")

    return lax.fori_loop(0, n_blocks, block, table)


def normal_equations(other: Any, others: Any, values: Any, first: Any, count: Any, used: Any) -> Any:
    """[rows, columns + 1, columns + 1]: Σ x xᵀ over the ratings of each of these rows, the left and the right side at once.

    x is the row of `other` with a 1 in place of the bias, and with the rating less that bias appended. others, values: of the
    ratings. first, count: [rows], the position of a row's first rating and their number. used: 1 or 0 for each column.
    """

    def add(step: Any, sums: Any) -> Any:
        nth = step * DEPTH + jnp.arange(DEPTH)
        at = first[:, None] + nth
        q = other[others[at]]
        rest = values[at] - q[..., -1]
        regressors = q.at[..., -1].set(1) * used
        x = jnp.concatenate([regressors, rest[..., None]], -1)
        x = jnp.where((nth < count[:, None])[..., None], x, 0)
        return sums + jnp.einsum("rnk,rnl->rkl", x, x, precision="highest")

    width = other.shape[1] + 1
    return lax.fori_loop(0, -(-count.max() // DEPTH), add, jnp.zeros((len(first), width, width), other.dtype))


def _eliminated(equations: Any) -> Any:
    """The solutions [rows, n] of equations [rows, n, n + 1], by Gauss-Jordan elimination.

    The matrices are positive definite, so no pivoting is needed. Unlike a library solver, it is as fast for many small
    systems as for a few large ones, and its bits do not depend on the number of cores.
    """
    n = equations.shape[1]

    def eliminate(k: Any, equations: Any) -> Any:
        pivot = equations[:, k] / equations[:, k, k, None]
        factor = jnp.where(jnp.arange(n) == k, 0, equations[:, :, k])
        return equations - factor[:, :, None] * pivot[:, None]

    equations = lax.fori_loop(0, n, eliminate, equations)
    return equations[:, :, n] / jnp.diagonal(equations, axis1=1, axis2=2)
