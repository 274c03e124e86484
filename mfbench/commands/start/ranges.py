"""Ranges for a search that suit the size and the scale of the ratings.

Let all ratings be multiplied by s. The same model then has P and Q times √s, and errors times s. In the update of SGD,
p + alpha (2 e q - beta p), the product e q grows with s √s, so the same steps in P and Q need alpha / s, and then beta s.
Without that, SGD diverges on ratings from -10 to 10 with steps that suit 1 to 5. Biases grow with s, not √s, and would keep
alpha and beta, so on a wide scale they are learned more slowly and shrunk more: on planted-10k, stretched to 0 to 100, that
costs 2 % of the valid RMSE. Adam's steps are in the units of P and Q, whatever the size of a gradient: alpha √s.

Where items have very many ratings each, SGD diverges at smaller steps: on a generated matrix of Jester's shape (100 items,
17,000 ratings of each, -10 to 10), 5 of the first 12 trials with alpha up to 0.03 / s, 2 up to 0.015 / s, none up to 0.01 / s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mfbench.data.dataset import Dataset

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Ranges:
    """Bounds of a search, and values in their middle for the first trial.

    s: the standard deviation of the ratings. top: alpha ends at top / s. init: the standard deviation of the first factors.
    """

    s: float
    top: float
    K: tuple[int, int]
    alpha: Bounds
    beta: Bounds
    adam_alpha: Bounds
    init: float
    epochs: int

    @staticmethod
    def of(dataset: Dataset) -> Ranges:
        """About the ranges of the quickstart for ratings whose s is 1, scaled to these; more factors for more ratings."""
        n = len(dataset.ratings)
        s = float(dataset.ratings.values.std(dtype=np.float64)) or 1.0
        low, high = next(bounds for least, bounds in SIZES if n >= least)
        fewest = min(dataset.ratings.n_users, dataset.ratings.n_items)
        high, top = max(2, min(high, fewest)), 0.01 if n >= DENSE * fewest else 0.03
        return Ranges(
            s=s,
            top=top,
            K=(min(low, high // 2), high),
            alpha=(_two_digits(0.001 / s), _two_digits(top / s)),
            beta=(_two_digits(0.01 * s), _two_digits(0.5 * s)),
            adam_alpha=(_two_digits(0.001 * s**0.5), _two_digits(0.03 * s**0.5)),
            init=_two_digits(0.02 * s**0.5),
            epochs=50 if n >= 5_000_000 else 100,
        )


SIZES = [(1_000_000, (8, 128)), (30_000, (4, 64)), (0, (2, 32))]
"""The least number of ratings, and the range of K."""
DENSE = 5_000
"""With as many ratings of each item, or by each user, on average, alpha ends earlier."""


def middle(bounds: tuple[float, float]) -> float:
    """The geometric mean, in two digits."""
    return _two_digits((bounds[0] * bounds[1]) ** 0.5)


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")
