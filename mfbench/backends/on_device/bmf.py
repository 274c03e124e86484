"""The draws of `backends.bmf` in JAX, for accelerators: the rows of a block at once, from their normal equations."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mfbench.backends.on_device.accelerator import device_named, padded, use_compile_cache
from mfbench.backends.on_device.als import in_blocks, joined, normal_equations
from mfbench.core.arrays import Floats64

if TYPE_CHECKING:
    from mfbench.backends.bmf import Side


class DrawInJax:
    """Draws what the compiled code draws, to rounding, as both are given the same normal numbers.

    One factor of a row after another, given the others, is one Gauss-Seidel step on the normal equations of the row.
    """

    def __init__(self, own: Side, other: Side, biased: bool, device: str):
        use_compile_cache()
        self._own, self._other, self._biased, self._device = own, other, biased, device_named(device)
        rows = np.repeat(np.arange(len(own.table), dtype=np.int32), np.diff(own.offsets))
        with jax.enable_x64(own.table.dtype == np.float64):
            blocks = in_blocks(rows, own.others, own.values.astype(own.table.dtype), len(own.table))
            self._ratings, self._blocks = jax.device_put(blocks, self._device)

    def __call__(self, mean: float, noise: float, priors: Floats64, normal: Floats64) -> None:
        """See `backends.bmf.Draw`."""
        own, other, dtype, K = self._own, self._other, self._own.table.dtype, self._own.table.shape[1]
        learned, moments = np.zeros(padded(K) + 1, bool), np.ones((padded(K) + 1, 2))
        learned[:K], learned[-1] = True, self._biased
        moments[:K], moments[-1] = priors[:K], priors[K]
        numbers = np.zeros((len(own.table), K + 1))
        numbers[own.rated[: len(normal)]] = normal
        given = (
            joined(own.table, own.bias, dtype), joined(other.table, other.bias, dtype),
            joined(numbers[:, :K], numbers[:, K], dtype), moments.astype(dtype), np.array([mean, noise], dtype), learned,
        )  # fmt: skip
        with jax.enable_x64(dtype == np.float64):
            n_blocks = len(self._blocks[0]) if len(normal) else 0
            table, errors = _drawn(self._ratings, self._blocks, n_blocks, *jax.device_put(given, self._device))
        if len(normal):
            table = np.asarray(table)
            own.table[:], own.bias[:], own.errors[:] = table[:, :K], table[:, -1], errors


@partial(jax.jit, donate_argnums=3)
def _drawn(
    ratings: Any, blocks: Any, n_blocks: Any, table: Any, other: Any, normal: Any, priors: Any, scalars: Any, learned: Any
) -> Any:
    """The table after drawing the rows of the first `n_blocks` blocks, and Σ e and Σ e² of each row, e = prediction - rating.

    priors: [columns, 2]. scalars: the mean and the precision of the noise. learned: [columns], False for those to leave alone.
    """
    (others, values), (mean, noise), (mu, weight) = ratings, scalars, priors.T
    width, values = len(learned), values - mean

    def block(n: Any, state: Any) -> Any:
        table, errors = state
        rows, first, count = (part[n] for part in blocks)
        sums = normal_equations(other, others, values, first, count, jnp.ones(width, table.dtype))
        A, right, z = noise * sums[:, :width, :width], noise * sums[:, :width, width] + weight * mu, normal[rows]

        def draw(step: Any, y: Any) -> Any:
            k = (step - 1) % width  # the bias, which is the last column, comes first
            precision = weight[k] + A[:, k, k]
            rest = right[:, k] - jnp.einsum("rk,rk->r", A[:, k], y, precision="highest") + A[:, k, k] * y[:, k]
            drawn = rest / precision + z[:, k] / jnp.sqrt(precision)
            return y.at[:, k].set(jnp.where(learned[k], drawn, y[:, k]))

        y = lax.fori_loop(0, width, draw, table[rows])
        v = jnp.concatenate([y, -jnp.ones_like(y[:, :1])], axis=1)  # e = x·v, with x as in `normal_equations`
        product = jnp.einsum("rkl,rl->rk", sums, v, precision="highest")
        found = jnp.stack([product[:, width - 1], (v * product).sum(axis=1)], axis=1)
        return table.at[rows].set(y, mode="drop"), errors.at[rows].set(found, mode="drop")

    return lax.fori_loop(0, n_blocks, block, (table, jnp.zeros((len(table), 2), table.dtype)))
