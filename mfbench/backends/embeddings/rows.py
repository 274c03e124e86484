"""Keras's Adam over the rows of a table, compiled: a row is updated when a batch reads it, not at every step.

With g the gradient of a batch's mean loss, Adam (Kingma and Ba, ICLR 2015) as Keras has it updates every row at step t by

    m += (1 - b1) (g - m);   v += (1 - b2) (g² - v);   w -= alpha_t m / (√v + epsilon)
    alpha_t = alpha √(1 - b2ᵗ) / (1 - b1ᵗ)

In a batch without ratings of the row g = 0, and most rows of a table are without ratings in most batches. The effect of k
such steps after step t has a closed form, so they are made up for at once when the row is next read: m and v have become
b1ᵏ m and b2ᵏ v and, with s = √v, d_j = b2^(j/2) and x = s / (s + epsilon),

    w -= m Σ_j alpha_(t+j) b1ʲ / (d_j s + epsilon) = m / (s + epsilon) Σ_n xⁿ S_n,   S_n = Σ_j alpha_(t+j) b1ʲ (1 - d_j)ⁿ

over j = 1 to k, by the geometric series of 1 / (1 - x (1 - d_j)). As b1ʲ fades long before d_j does, each term is under a
hundredth of the one before; the first four leave out less than 2e-8 of the sum, below the rounding of float32. No S_n
depends on the row: expanded in powers of d_j, they are differences of the endless sums of `_endless`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mfbench.core.arrays import Array, Floats
from mfbench.matrix.compiled import aligned, compiled

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
TERMS = 4
FADED = 400
"""After this many steps, 0.9ʲ is below the rounding of float64."""
LANES = 8
"""Columns are padded to a multiple of this, the number of float32 in a vector register."""

DTYPE = np.float32


class Steps:
    """The steps of one training: what all rows have in common. number: of the current step, from 1 on. rate: its alpha_t."""

    def __init__(self) -> None:
        self.number = 0
        self.rate: Any = DTYPE(0)
        self.begin(0.0, 0)

    def begin(self, alpha: float, n: int) -> None:
        """Prepare an epoch of n steps with step size alpha."""
        self.first, self._alpha, self.endless = self.number, alpha, np.empty((n + 1, TERMS))
        _endless(self.first, alpha, self.endless)
        gaps, ratios = np.arange(n + 1)[:, None], BETA_1 * BETA_2 ** (np.arange(TERMS) / 2)
        self.decay = np.hstack([ratios**gaps, BETA_2**gaps])

    def next(self) -> None:
        """Go on to the next step."""
        self.number += 1
        self.rate = DTYPE(self._alpha * (1 - BETA_2**self.number) ** 0.5 / (1 - BETA_1**self.number))


class AdamRows:
    """A table of factors, and of biases if they are learned, with Adam's moments.

    state: float32 [rows, 3, columns], w, m and v of each row; the columns are the factors, the bias if it is learned, and
    padding, which stays zero. After `read`, the slots of the rows of a batch, each row once, are slot[row]; the caller adds
    their gradients, summed over the ratings of the batch, to gradient[slot]. room: the most rows that are read at once.
    """

    def __init__(self, factors: Floats, bias: Floats | None, room: int):
        rows, self.K = factors.shape
        columns = -(-(self.K + (bias is not None)) // LANES) * LANES
        self.state = aligned(np.zeros((rows, 3, columns)), DTYPE)
        self.state[:, 0, : self.K] = factors
        if bias is not None:
            self.state[:, 0, self.K] = bias
        self.gradient = aligned(np.zeros((room, columns)), DTYPE)
        self.slot, self.rows, self.count = np.zeros(rows, np.int32), np.zeros(room, np.int32), np.zeros(room, np.int32)
        self.n = 0
        self._last = np.zeros(rows, np.int64)

    @property
    def read_rows(self) -> Array:
        """The row of each slot."""
        return self.rows[: self.n]

    def read(self, rows: Array, steps: Steps) -> None:
        """Bring the rows of this step's batch, any number of times each, up to the step before; their gradients are zero."""
        self.n = _read(
            rows, steps.number, steps.first, steps.endless, steps.decay,
            self.state, self._last, self.slot, self.rows, self.count, self.gradient,
        )  # fmt: skip

    def descend(self, steps: Steps, beta: Any, n: int) -> None:
        """Update the rows that were read, given their gradients. beta: penalty per rating. n: the ratings in the batch."""
        share: Any = DTYPE(1 / max(n, 1))
        _descend(self.n, self.rows, self.count, self.gradient, steps.rate, beta, share, self.state)

    def catch_up(self, steps: Steps) -> None:
        """Bring all rows up to the last step."""
        steps.number += 1  # the step that would read them
        for first in range(0, len(self.state), len(self.rows)):
            self.read(np.arange(first, min(first + len(self.rows), len(self.state)), dtype=np.uint32), steps)
        steps.number -= 1
        self._last[:] = steps.number

    @property
    def factors(self) -> Floats:
        """A copy of the factors, [rows, K], as of the last `catch_up`."""
        return self.state[:, 0, : self.K].copy()

    @property
    def bias(self) -> Floats:
        """A copy of the learned biases, [rows], as of the last `catch_up`."""
        return self.state[:, 0, self.K].copy()


@compiled(unchecked_division=True)
def _endless(first: int, alpha: float, sums: Array) -> None:
    """Fill sums[n, i] with F_i(t) = Σ_j alpha_(t+j) (b1 b2^(i/2))ʲ over all j > 0, where t = first + n.

    The same sum up to j = k is F_i(t) - (b1 b2^(i/2))ᵏ F_i(t + k).
    """
    now = np.zeros(TERMS)
    last = first + len(sums) - 1
    for t in range(last + FADED, first - 1, -1):
        if t <= last:
            sums[t - first] = now
        if t > 0:
            alpha_t = alpha * np.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
            for i in range(TERMS):
                now[i] = BETA_1 * BETA_2 ** (i / 2) * (alpha_t + now[i])


@compiled(reordered=True, unchecked_division=True)
def _read(
    rows: Array, step: int, first: int, endless: Array, decay: Array,
    state: Array, last: Array, slot: Array, distinct: Array, count: Array, gradient: Array,
) -> int:  # fmt: skip
    """Bring these rows up to the step before `step`, and give each a slot; the number of slots.

    endless, decay: of the epoch that began after the step `first`. last: the step up to which a row has been brought.
    """
    one, zero, epsilon = DTYPE(1), DTYPE(0), DTYPE(EPSILON)
    width, now, n = np.uint32(state.shape[2]), step - 1 - first, 0
    for r in range(len(rows)):
        row = rows[r]
        new = slot[row] >= n or distinct[slot[row]] != row
        s = n if new else slot[row]  # no branch, which could not be predicted
        slot[row], distinct[s], count[s] = s, row, 1 if new else count[s] + 1
        n += new
    for s in range(n):
        row = distinct[s]
        k = step - 1 - last[row]
        last[row] = step
        if k > 0:
            a, z = now - k, now
            B0, B1 = endless[a, 0] - decay[k, 0] * endless[z, 0], endless[a, 1] - decay[k, 1] * endless[z, 1]
            B2, B3 = endless[a, 2] - decay[k, 2] * endless[z, 2], endless[a, 3] - decay[k, 3] * endless[z, 3]
            S0, S1, S2, S3 = DTYPE(B0), DTYPE(B0 - B1), DTYPE(B0 - 2 * B1 + B2), DTYPE(B0 - 3 * B1 + 3 * B2 - B3)
            m_ratio, v_ratio = DTYPE(decay[k, 0]), DTYPE(decay[k, TERMS])
            w, m, v = state[row, 0], state[row, 1], state[row, 2]
            for c in range(width):
                inverse = one / (np.sqrt(v[c]) + epsilon)
                x = one - epsilon * inverse  # not s * inverse, which is nan where v is inf
                w[c] -= m[c] * inverse * (S0 + x * (S1 + x * (S2 + x * S3)))
                m[c] *= m_ratio
                v[c] *= v_ratio
        for c in range(width):
            gradient[s, c] = zero
    return n


@compiled(reordered=True, unchecked_division=True)
def _descend(n: int, rows: Array, count: Array, gradient: Array, rate: float, beta: float, share: float, state: Array) -> None:
    """One step for the rows in the first n slots; share: 1 over the number of ratings in the batch."""
    epsilon, rest_1, rest_2 = DTYPE(EPSILON), DTYPE(1 - BETA_1), DTYPE(1 - BETA_2)
    for s in range(n):
        w, m, v = state[rows[s], 0], state[rows[s], 1], state[rows[s], 2]
        penalty = beta * DTYPE(count[s])
        for c in range(np.uint32(state.shape[2])):
            g = share * (gradient[s, c] + penalty * w[c])
            m[c] += rest_1 * (g - m[c])
            v[c] += rest_2 * (g * g - v[c])
            w[c] -= rate * m[c] / (np.sqrt(v[c]) + epsilon)
