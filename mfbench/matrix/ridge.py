"""Ridge regression for many rows at once: the factors of each user given those of the items, or vice versa.

For a row that rates, or is rated by, the rows j of the other side, with ratings r_j and factors x_j (and a 1 if a bias is
learned),

    (Σ x_j x_jᵀ + ridge n I) y = Σ x_j (r_j - mean - bias_j)

is solved by symmetric elimination (L D Lᵀ) in compiled code. Rows are independent, so the number of threads does not
change a bit.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from mfbench.core.arrays import Array, Floats, Floats64, Ints, Positions
from mfbench.core.machine import core_list
from mfbench.matrix.compiled import aligned, compiled

CHUNK = 64
"""The number of rows that a thread solves at a time."""
ABREAST = 8
"""The number of ratings that are added to the normal equations at once, and of unknowns that are eliminated at once."""
WIDE = 16
"""Loops over the columns of the equations run to a multiple of this: the float32 in the widest vector instruction."""


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
    rows, K, dtype = len(ratings.offsets) - 1, factors.shape[1], factors.dtype
    solved, solved_bias = np.zeros((rows, K), dtype), np.zeros(rows, dtype)
    given = (ratings.offsets, ratings.others, ratings.values, mean, np.ascontiguousarray(factors), bias)
    share: Any = np.asarray(ridge, dtype)[()]
    width = -(-(K + 3) // WIDE) * WIDE
    threads = min(threads or len(core_list()), max(1, -(-rows // CHUNK)))

    def work(thread: int) -> None:
        room = (aligned(np.zeros((height, width)), dtype) for height in (width, ABREAST, ABREAST))
        arguments: tuple[Any, ...] = (*given, share, with_bias, *room, solved, solved_bias)
        for first in range(thread * CHUNK, rows, threads * CHUNK):
            _solve(first, min(first + CHUNK, rows), *arguments)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    return solved, solved_bias


@compiled(reordered=True, unchecked_division=True, disjoint=True)
def _solve(
    first: int, end: int, offsets: Positions, others: Array, values: Array, mean: float, factors: Array, bias: Array,
    ridge: float, with_bias: bool, A: Array, x: Array, scaled: Array, solved: Array, solved_bias: Array,
) -> None:  # fmt: skip
    """Write the solutions of the rows from `first` up to `end` into `solved`, [rows, K], and `solved_bias`, [rows].

    A row's equations are the lower triangle of A = Σ x xᵀ, with x = [r - mean - bias_j, 1 if a bias is learned, x_j]: column 0
    is the right-hand side. The last unknown is eliminated first, so that every loop runs over the beginning of a row of A;
    it runs on to a multiple of WIDE, into entries that are never used, so that vector instructions leave no remainder.
    A: [width, width]. x, scaled: [ABREAST, width], for ratings and for eliminated rows; all zero beyond the unknowns.
    """
    K, zero, one = factors.shape[1], factors.dtype.type(0), factors.dtype.type(1)
    before = 2 if with_bias else 1
    size = before + K

    def add(left: Array, rows: int) -> None:
        """Add leftᵀ x to the first rows of A: two rows and eight terms at once, so that A and x are seldom read."""
        for k in range(0, rows, 2):
            l0, l1, l2, l3 = left[0, k], left[1, k], left[2, k], left[3, k]
            l4, l5, l6, l7 = left[4, k], left[5, k], left[6, k], left[7, k]
            m0, m1, m2, m3 = left[0, k + 1], left[1, k + 1], left[2, k + 1], left[3, k + 1]
            m4, m5, m6, m7 = left[4, k + 1], left[5, k + 1], left[6, k + 1], left[7, k + 1]
            for c in range((k // WIDE + 1) * WIDE):
                x0, x1, x2, x3, x4, x5, x6, x7 = x[0, c], x[1, c], x[2, c], x[3, c], x[4, c], x[5, c], x[6, c], x[7, c]
                A[k, c] += (l0 * x0 + l1 * x1 + l2 * x2 + l3 * x3) + (l4 * x4 + l5 * x5 + l6 * x6 + l7 * x7)
                A[k + 1, c] += (m0 * x0 + m1 * x1 + m2 * x2 + m3 * x3) + (m4 * x4 + m5 * x5 + m6 * x6 + m7 * x7)

    for row in range(first, end):
        start, stop = offsets[row], offsets[row + 1]
        if start == stop:
            continue
        for k in range(size + 1):
            for c in range((k // WIDE + 1) * WIDE):
                A[k, c] = zero
        for n in range(start, stop, ABREAST):
            for j in range(ABREAST):
                rating, used = (n + j, one) if n + j < stop else (n, zero)
                other = others[rating]
                x[j, 1] = used  # overwritten below where no bias is learned
                x[j, 0] = used * (values[rating] - mean - bias[other])
                for k in range(K):
                    x[j, before + k] = used * factors[other, k]
            add(x, size)
        for k in range(1, size):
            A[k, k] += ridge * (stop - start)
        last = size
        while last > 1:  # the unknowns from `low` up to `last`, first among themselves, then from all rows above at once
            low = (last - 1) // ABREAST * ABREAST
            for k in range(last - 1, max(low, 1), -1):
                inverse = one / A[k, k]
                for r in range(max(low, 1), k):
                    factor = A[k, r] * inverse
                    for c in range((r // WIDE + 1) * WIDE):
                        A[r, c] -= factor * A[k, c]
            for j in range(ABREAST):
                k = low + j
                inverse = -one / A[k, k] if k < last else zero
                for c in range(low):
                    x[j, c] = A[k, c]
                    scaled[j, c] = A[k, c] * inverse
            add(scaled, low)
            last = low
        y = scaled[0]
        for k in range(1, size):
            y[k] = A[k, 0]
            for c in range(1, k):
                y[k] -= A[k, c] * y[c]
            y[k] /= A[k, k]
        if with_bias:
            solved_bias[row] = y[1]
        for k in range(K):
            solved[row, k] = y[before + k]
