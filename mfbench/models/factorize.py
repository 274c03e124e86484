"""`factorize`: R ≈ P Qᵀ for a matrix in memory, without a spec, split, record or tracking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mfbench.backends import registry
from mfbench.core.arrays import Floats, Floats64
from mfbench.core.errors import DataError, SpecError
from mfbench.core.randomness import generator
from mfbench.matrix.factors import HyperParams, draw_start
from mfbench.matrix.posterior import factors_of
from mfbench.matrix.ratings import Ratings, exact_values
from mfbench.models.scoring import score
from mfbench.spec import Init, load_model_spec

if TYPE_CHECKING:
    import pandas as pd

NOTEBOOK_START = Init(uniform=(0.0, 1.0))


@dataclass(frozen=True)
class Factorization:
    """The result of `factorize`: P [n_users, K], Q [n_items, K], user_bias [n_users], item_bias [n_items] and the mean.

    filled: [n_users, n_items], the filled-in matrix, a DataFrame with the labels of R if R is one. train_rmse: over the
    observed cells.
    """

    P: Floats
    Q: Floats
    user_bias: Floats
    item_bias: Floats
    mean: float
    filled: Floats64 | pd.DataFrame
    train_rmse: float


def factorize(
    R: Any,
    K: int = 3,
    alpha: float = 0.0002,
    beta: float = 0.02,
    epochs: int = 5000,
    backend: str = "loop",
    *,
    center: bool = False,
    bias: bool = False,
    init: Mapping[str, Any] | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Factorization:
    """Factorize R ≈ P Qᵀ over its observed cells; the defaults are those of the well-known NumPy notebook.

    R: a dense array or DataFrame [n_users, n_items] (0 or NaN: not observed), a SciPy sparse matrix (stored cells are
    observed), or Ratings. options: the backend's own knobs. init: as in a spec, by default uniform in [0, 1).
    SpecError for an invalid hyperparameter, DataError for an unusable R or a training that diverged.

    >>> result = factorize([[5, 3, 0, 1], [4, 0, 0, 1], [1, 1, 0, 5]], K=2, alpha=0.01, epochs=2000)
    >>> result.P.shape, result.Q.shape, round(result.train_rmse, 1)
    ((3, 2), (4, 2), 0.0)
    >>> round(float(result.filled[0, 0]))  # close to the observed 5
    5
    """
    train = ratings_of(R)
    hyperparameters = {"K": K, "alpha": alpha, "beta": beta, "epochs": epochs, "center": center, "bias": bias, "seed": seed}
    spec = load_model_spec({"backend": backend, "init": dict(init) if init else NOTEBOOK_START, **hyperparameters})
    trainer = registry.resolve(backend, options or {})
    K, alpha, beta, epochs = spec.K, spec.alpha, spec.beta, spec.epochs
    start = draw_start(train, K, spec.init.model_dump(exclude_none=True), center, generator(seed, "start"))
    hyper = HyperParams(K, alpha, beta, epochs, bias)
    rng = generator(seed, "order")
    arranged, schedule = trainer.arrange(train, rng)
    for model in trainer.epochs(arranged, start, hyper, schedule, rng):
        last = model
    factors = factors_of(last)
    if factors is None:
        raise SpecError(f"backend: {backend} does not train factors P and Q; choose one that does, e.g. loop")
    rmse, _ = score(last, train)
    if not np.isfinite(rmse):
        raise DataError(f"the training diverged with alpha {alpha}; try a smaller step size")
    filled: Any = factors.filled()
    if hasattr(R, "columns"):
        filled = type(R)(filled, index=R.index, columns=R.columns)
    return Factorization(factors.P, factors.Q, factors.user_bias, factors.item_bias, factors.mean, filled, rmse)


def ratings_of(R: Any) -> Ratings:
    """The observed cells of a matrix in row order; DataError if there are none, or one is not a finite number."""
    if isinstance(R, Ratings):
        return _finite(R)
    if hasattr(R, "tocoo"):
        cells = R.tocsr().tocoo()
        users, items, values, shape = cells.row, cells.col, cells.data, cells.shape
    else:
        try:
            dense = R.to_numpy(np.float64, na_value=np.nan) if hasattr(R, "to_numpy") else np.asarray(R, np.float64)
        except (TypeError, ValueError):
            raise DataError("R: this is not a matrix of numbers; give one, with 0 or NaN in unobserved cells") from None
        if dense.ndim != 2:
            raise DataError(f"R: a matrix has 2 dimensions, but this has {dense.ndim}; give one row per user")
        users, items = np.nonzero(~np.isnan(dense) & (dense != 0))
        values, shape = dense[users, items], dense.shape
    if len(values) == 0:
        raise DataError("R: no cell is observed, all are 0 or NaN; give at least one rating")
    users, items = users.astype(np.int32), items.astype(np.int32)
    return _finite(Ratings(users, items, exact_values(values), int(shape[0]), int(shape[1])))


def _finite(ratings: Ratings) -> Ratings:
    if not np.all(np.isfinite(ratings.values)):
        raise DataError("R: a rating is infinite or not a number; ratings must be finite numbers")
    return ratings
