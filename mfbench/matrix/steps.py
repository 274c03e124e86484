"""Step-size rules of SGD: constant, decaying with the epoch, or adapted to the gradients of each row (Adagrad).

- `constant`: alpha throughout.
- `decay`: alpha / (1 + decay t^1.5) in epoch t, counted from 0 (Yun et al., *NOMAD*, VLDB 2014).
- `adagrad`: each row of P and Q has two accumulators of squared gradients, one for its first 8 factors and one for the
  others; its step is alpha divided by √ of the accumulator's value before the rating (Chin et al., *A learning-rate schedule
  for stochastic gradient methods to matrix factorization*, PAKDD 2015; LIBMF). For each half, with the
  factors before the rating,

      e = r - (mean + user_bias[u] + item_bias[i] + p·q)
      d_p = 2 e q - beta p;               d_q = 2 e p - beta q
      p += alpha / s * d_p / √G_p;        q += alpha / s * d_q / √G_q
      G_p += mean of d_p² / (4 s³);       G_q += mean of d_q² / (4 s³)

  where s is the standard deviation of the training ratings, so alpha does not depend on their scale, and every G starts at 1.
  In the first epoch only the first 8 factors are updated: from a positive start all factors would otherwise stay alike for
  long. A bias has its own accumulator: d = 2 e - beta b; b += alpha d / √G; G += d² / (4 s²). LIBMF's eta is 2 alpha,
  its lambda beta / 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfbench.core.arrays import Array
from mfbench.matrix.ratings import Ratings

FIRST_HALF = 8
"""The number of factors in the first half of a row; the second half is all others, however many there are."""
BIAS = 2
"""The column of the bias in `accumulators`, after those of the two halves."""


@dataclass(frozen=True)
class Adaptive:
    """The constants of `adagrad`. s: the standard deviation of the training ratings (1 if they are all equal)."""

    s: float

    @staticmethod
    def of(train: Ratings) -> Adaptive:
        """The constants for these training ratings."""
        return Adaptive(float(np.std(train.values, dtype=np.float64)) or 1.0)

    @property
    def gain(self) -> float:
        """The weight of a squared gradient of the factors in their accumulator."""
        return 1 / (4 * self.s**3)

    @property
    def bias_gain(self) -> float:
        """The weight of a squared gradient of a bias in its accumulator."""
        return 1 / (4 * self.s**2)


def accumulators(rows: int, dtype: npt.DTypeLike) -> Array:
    """[rows, 3]: the initial accumulators of the first half, the second half and the bias of each row."""
    return np.ones((rows, 3), dtype)


def halves(K: int) -> list[slice]:
    """The first half of a row of K factors, and the second if there is one."""
    return [slice(0, min(K, FIRST_HALF)), *([slice(FIRST_HALF, K)] if K > FIRST_HALF else [])]
