"""Ridge regression for many rows at once: the factors of each user given those of the items, or vice versa.

For a row that rates, or is rated by, the rows j of the other side, with ratings r_j and factors x_j (and a 1 if a bias is
learned),

    (Σ x_j x_jᵀ + ridge n I) y = Σ x_j (r_j - mean - bias_j)

is solved by Cholesky decomposition in compiled code. Rows are independent, so the number of threads does not change a bit.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfbench.core.arrays import Array, Floats, Floats64, Ints, Positions
from mfbench.core.machine import core_list
from mfbench.matrix.compiled import compiled

CHUNK = 64
"""The number of rows that a thread solves at a time."""
ABREAST = 8
"""The number of ratings that are added to the normal equations at once."""


@dataclass(frozen=True)
class ByRow:
    """Ratings sorted by row; those of row n are at positions offsets[n] up to offsets[n + 1]."""

    offsets: Positions
    others: Ints
    values: Floats64

    @staticmethod
    def of(rows: Ints, others: Ints, values: Floats, n: int) -> ByRow:
        """Sort ratings by their row, of n rows; within a row they keep their order."""
        order = np.argsort(rows, kind="stable")
        counts = np.bincount(rows, minlength=n)
        return ByRow(np.concatenate([[0], np.cumsum(counts)]), others[order], values[order].astype(np.float64))


def solve(
    ratings: ByRow, factors: Floats, bias: Floats, mean: float, ridge: float, with_bias: bool, threads: int | None = None
) -> tuple[Floats, Floats]:
    """The factors [rows, K] and the biases [rows] of the rows, given those of the other side; zero for rows without ratings.

    factors: [others, K], whose dtype is also that of the computation and the result. bias: [others]. ridge: the penalty per
    rating, beta / 2 in the objective of the update rule.
    """
    rows, K = len(ratings.offsets) - 1, factors.shape[1]
    solved = np.zeros((rows, K + 1), factors.dtype)
    values = (ratings.values - mean).astype(factors.dtype)
    width = K + with_bias
    share: Any = np.asarray(ridge, factors.dtype)[()]
    threads = threads or len(core_list())

    def work(thread: int) -> None:
        for first in range(thread * CHUNK, rows, threads * CHUNK):
            last = min(first + CHUNK, rows)
            _solve(first, last, ratings.offsets, ratings.others, values, factors, bias, share, width, solved)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    return solved[:, :K], solved[:, K]


@compiled(reordered=True)
def _solve(
    first: int, end: int, offsets: Positions, others: Array, values: Array, factors: Array, bias: Array, ridge: float,
    width: int, solved: Array,
) -> None:  # fmt: skip
    """Write the solutions of the rows from `first` up to `end` into `solved`, [rows, K + 1], the bias last."""
    K, size = np.uint32(factors.shape[1]), np.uint32(width)
    A, y = np.empty((width, width), factors.dtype), np.empty(width, factors.dtype)
    x, rest = np.zeros((ABREAST, width), factors.dtype), np.zeros(ABREAST, factors.dtype)
    one, zero = factors.dtype.type(1), factors.dtype.type(0)
    for row in range(first, end):
        n = offsets[row + 1] - offsets[row]
        if n == 0:
            continue
        A[:] = zero
        y[:] = zero
        for start in range(offsets[row], offsets[row + 1], ABREAST):
            for j in range(np.uint32(ABREAST)):
                if start + j < offsets[row + 1]:
                    other = others[start + j]
                    rest[j] = values[start + j] - bias[other]
                    for k in range(K):
                        x[j, k] = factors[other, k]
                    if size > K:
                        x[j, K] = one
                else:
                    rest[j] = zero
                    for k in range(size):
                        x[j, k] = zero
            # Eight ratings at once, so that A is read and written an eighth as often.
            for k in range(size):
                x0, x1, x2, x3, x4, x5, x6, x7 = x[0, k], x[1, k], x[2, k], x[3, k], x[4, k], x[5, k], x[6, k], x[7, k]
                for m in range(size):
                    A[k, m] += (x0 * x[0, m] + x1 * x[1, m] + x2 * x[2, m] + x3 * x[3, m]) + (
                        x4 * x[4, m] + x5 * x[5, m] + x6 * x[6, m] + x7 * x[7, m]
                    )
                y[k] += (x0 * rest[0] + x1 * rest[1] + x2 * rest[2] + x3 * rest[3]) + (
                    x4 * rest[4] + x5 * rest[5] + x6 * rest[6] + x7 * rest[7]
                )
        for k in range(size):
            A[k, k] += ridge * n
        for k in range(size):  # A = Uᵀ U and Uᵀ z = y, one row of U at a time, overwriting A and y
            root = one / np.sqrt(A[k, k])
            for m in range(k, size):
                A[k, m] *= root
            y[k] *= root
            for r in range(k + np.uint32(1), size):
                factor = A[k, r]
                for m in range(r, size):
                    A[r, m] -= factor * A[k, m]
                y[r] -= factor * y[k]
        for back in range(size):  # U x = z
            last = size - np.uint32(1) - back
            total = y[last]
            for m in range(last + np.uint32(1), size):
                total -= A[last, m] * y[m]
            y[last] = total / A[last, last]
        for k in range(size):
            solved[row, k] = y[k]
