"""How the step size of SGD changes during a training: not at all, with the epoch, or for each row by its own gradients.

- `constant`: alpha throughout.
- `decay`: alpha / (1 + decay t^1.5) in epoch t, counted from 0 (Yun et al., *NOMAD*, VLDB 2014).
- `adagrad`: each row of P and Q has two accumulators of its squared gradients, one for its first 8 factors and one for the
  others, and its step is alpha / √ of the accumulator as it was before the rating (Chin et al., *A learning-rate schedule
  for stochastic gradient methods to matrix factorization*, PAKDD 2015; LIBMF). With the factors before the rating, for both
  halves,

      e = r - (mean + user_bias[u] + item_bias[i] + p·q)
      d_p = 2 e q - beta p;               d_q = 2 e p - beta q
      p += alpha / s * d_p / √G_p;        q += alpha / s * d_q / √G_q
      G_p += mean of d_p² / (4 s³);       G_q += mean of d_q² / (4 s³)

  where s is the standard deviation of the training ratings, so alpha does not depend on their scale, and every G starts at 1.
  In the first epoch only the first 8 factors move: from a positive start all would otherwise learn the same for long. A bias
  has an accumulator of its own: d = 2 e - beta b; b += alpha d / √G; G += d² / (4 s²). LIBMF's eta is 2 alpha, its lambda
  beta / 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfbench.core.arrays import Array
from mfbench.matrix.ratings import Ratings

FIRST_HALF = 8
"""So many factors are the first half of a row; what the others are called is the second, however many there are."""
BIAS = 2
"""The accumulator of the bias, after those of the two halves."""


@dataclass(frozen=True)
class Adaptive:
    """What `adagrad` knows of the ratings: s, the standard deviation of those of train (1 if they are all equal)."""

    s: float

    @staticmethod
    def of(train: Ratings) -> Adaptive:
        """That of these ratings."""
        return Adaptive(float(np.std(train.values, dtype=np.float64)) or 1.0)

    @property
    def gain(self) -> float:
        """What a squared gradient of the factors counts in an accumulator."""
        return 1 / (4 * self.s**3)

    @property
    def bias_gain(self) -> float:
        """What that of a bias counts."""
        return 1 / (4 * self.s**2)


def accumulators(rows: int, dtype: npt.DTypeLike) -> Array:
    """[rows, 3]: those of the first half, of the second and of the bias, before any rating."""
    return np.ones((rows, 3), dtype)


def halves(K: int) -> list[slice]:
    """The first half of a row of K factors, and the second if there is one."""
    return [slice(0, min(K, FIRST_HALF)), *([slice(FIRST_HALF, K)] if K > FIRST_HALF else [])]
