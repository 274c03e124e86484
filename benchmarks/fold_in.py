"""Fold-in of 10,000 new users with 100 ratings each, K = 64: seconds, and RMSE beside a model trained with them.

    python benchmarks/fold_in.py

The ratings are planted. One model is trained without the new users, who are then folded in; the other one is trained with
their 100 ratings too. Both are scored on the other ratings of these users. Written to `results/fold-in/`.
"""

from __future__ import annotations

import time
from statistics import median

import numpy as np

from mfbench.backends.base import Backend
from mfbench.backends.registry import resolve
from mfbench.core.arrays import Positions
from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.core.randomness import generator
from mfbench.core.tables import markdown
from mfbench.data.planted import planted
from mfbench.matrix.factors import Factors, HyperParams, draw_start
from mfbench.matrix.ratings import Ratings
from mfbench.models.trained import TrainedModel

NEW, KNOWN, K, ROUNDS = 10_000, 100, 64, 5
SETTINGS = {
    "als": HyperParams(K, None, 0.2, 15, True),
    "numba": HyperParams(K, 0.01, 0.2, 30, True),
}


def main() -> None:
    """Measure, print and write the table."""
    data = planted(30_000, 4_000, 3_900_000, 1, "new users").ratings
    known, held, others = parts_of(data)
    body = []
    for name, hyper in SETTINGS.items():
        backend = resolve(name, {})
        model = trained(backend, data.take(others), hyper)
        given, asked = data.take(known), data.take(held)
        seconds = []
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            folded = model.fold_in(given.items, given.values, given.users)
            seconds.append(time.perf_counter() - begun)
        whole = trained(backend, data.take(np.concatenate([others, known])), hyper)
        errors = [rmse(one, asked) for one in (folded, whole)]
        body.append([name, f"{median(seconds):.2f}", *(f"{error:.4f}" for error in errors), f"{errors[0] - errors[1]:+.4f}"])
        print(body[-1], flush=True)
    text = f"{__doc__.split(chr(10))[0]}\n\n{markdown(['backend', 'seconds', 'folded in', 'trained', 'difference'], body)}"
    print(text)
    write_whole(RESULTS / "fold-in" / "fold-in.md", text.encode())


def parts_of(data: Ratings) -> tuple[Positions, Positions, Positions]:
    """Rows of the ratings: 100 of each new user, the others of these users, and those of all other users."""
    rng = np.random.default_rng(0)
    active = np.flatnonzero(np.bincount(data.users, minlength=data.n_users) >= KNOWN + 20)
    new = np.isin(data.users, rng.choice(active, NEW, replace=False))
    rows = rng.permutation(np.flatnonzero(new))
    rows = rows[np.argsort(data.users[rows], kind="stable")]
    place = np.arange(len(rows)) - np.searchsorted(data.users[rows], data.users[rows])
    return rows[place < KNOWN], rows[place >= KNOWN], np.flatnonzero(~new)


def trained(backend: Backend, train: Ratings, hyper: HyperParams) -> TrainedModel:
    """The model after the last epoch."""
    start, rng = draw_start(train, K, {"normal": 0.1}, True, generator(0, "start")), generator(0, "order")
    arranged, schedule = backend.arrange(train, rng)
    *_, last = backend.epochs(arranged, start, hyper, schedule, rng)
    assert isinstance(last, Factors)
    ids, ridge = (np.arange(train.n_users), np.arange(train.n_items)), (hyper.beta or 0.0) / 2
    return TrainedModel(last.P, last.Q, last.user_bias, last.item_bias, last.mean, *ids, ridge=ridge)


def rmse(model: TrainedModel, ratings: Ratings) -> float:
    """RMSE of the model over these ratings."""
    error = model.predict(ratings.users, ratings.items).prediction - ratings.values
    return float(np.sqrt(np.mean(error**2)))


if __name__ == "__main__":
    main()
