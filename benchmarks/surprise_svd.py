"""Surprise's SVD as a backend, to race against: `backend: benchmarks/surprise_svd.py:SurpriseSVD`.

It needs scikit-surprise (`pip install scikit-surprise`; a C compiler must be there), which mfbench itself does not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from surprise import SVD, Trainset

from mfbench.matrix.factors import Factors, HyperParams
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Rows, Schedule


@dataclass(frozen=True)
class SurpriseSVD:
    """Surprise's SVD without biases (its `biased=False`): SGD in Cython, one rating at a time, in the order of the rows.

    Its rule, p += lr (e q - reg p), is ours with lr = 2 alpha and reg = beta / 2. It trains all epochs in one call, so the
    first model after the start takes the time of all of them, and the models are the same. It draws its own start and knows
    no mean, so its errors are its own.
    """

    tunable: ClassVar[frozenset[str]] = frozenset({"K", "alpha", "beta"})

    def arrange(self, train: Ratings, rng: np.random.Generator) -> tuple[Ratings, Schedule]:
        """The ratings as they stand."""
        return train, Rows(len(train))

    def epochs(
        self, train: Ratings, start: Factors, hyper: HyperParams, schedule: Schedule, rng: np.random.Generator
    ) -> Iterator[Factors]:
        """Yield the start, then the model after the last epoch, so many times."""
        by_user: dict[int, list[tuple[int, float]]] = {}
        by_item: dict[int, list[tuple[int, float]]] = {}
        for u, i, r in zip(train.users.tolist(), train.items.tolist(), train.values.tolist(), strict=True):
            by_user.setdefault(u, []).append((i, r))
            by_item.setdefault(i, []).append((u, r))
        trainset = Trainset(
            by_user, by_item, train.n_users, train.n_items, len(train), (0.5, 5.0),
            raw2inner_id_users={}, raw2inner_id_items={},
        )  # fmt: skip
        algorithm = SVD(
            n_factors=hyper.K, n_epochs=hyper.epochs, biased=False, lr_all=2 * hyper.alpha, reg_all=hyper.beta / 2,
            init_mean=0.4, init_std_dev=0.1, random_state=0,
        )  # fmt: skip
        yield start
        algorithm.fit(trainset)
        model = Factors(algorithm.pu, algorithm.qi, np.zeros(train.n_users), np.zeros(train.n_items), 0.0)
        for _ in range(hyper.epochs):
            yield model
