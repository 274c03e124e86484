"""`factorize`: R ≈ P Qᵀ for a matrix in memory, without a spec, split, record or tracking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import track

from mfbench.backends import registry
from mfbench.core.arrays import Array, Floats, Floats64
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
MANY_UPDATES = 2_000_000
"""More updates, ratings times epochs, would take the plain loop more than a few seconds."""
LONG = ["user", "item", "rating"]
"""The columns of a long table, one line per rating."""


@dataclass(frozen=True, repr=False)
class Factorization:
    """The result of `factorize`: P [n_users, K], Q [n_items, K], user_bias [n_users], item_bias [n_items] and the mean.

    filled: [n_users, n_items], the filled-in matrix, a DataFrame with the labels of R if R is one. train_rmse: over the
    observed cells. Users and items are in the order of R, of a long table in that of their ids.
    """

    P: Floats
    Q: Floats
    user_bias: Floats
    item_bias: Floats
    mean: float
    filled: Floats64 | pd.DataFrame
    train_rmse: float

    def __repr__(self) -> str:
        (n_users, K), n_items = self.P.shape, len(self.Q)
        return f"<factorization of {n_users} × {n_items}: K {K}, train RMSE {self.train_rmse:.4f}>"


def factorize(
    R: Any,
    K: int = 3,
    alpha: float = 0.0002,
    beta: float = 0.02,
    epochs: int = 5000,
    backend: str | None = None,
    *,
    missing: float | None = None,
    center: bool = False,
    bias: bool = False,
    init: Mapping[str, Any] | None = None,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Factorization:
    """Factorize R ≈ P Qᵀ over its observed cells; the defaults are those of the well-known NumPy notebook.

    R: a dense array or DataFrame [n_users, n_items]; a long DataFrame with the columns user, item and rating; a SciPy sparse
    matrix, whose stored cells are observed; or Ratings. missing: the value of the cells of a dense R that are not observed,
    besides NaN; by default NaN alone if R has any, so that 0 is a rating like others, or else 0. backend: by default `loop`,
    or if that would take more than a few seconds `numba` in float64, which is compiled and visits the ratings in another
    order. options: the backend's own knobs. init: as in a spec, by default uniform in [0, 1).
    SpecError for an invalid hyperparameter, DataError for an unusable R or a training that diverged.

    >>> result = factorize([[5, 3, 0, 1], [4, 0, 0, 1], [1, 1, 0, 5]], K=2, alpha=0.01, epochs=2000, missing=0)
    >>> result.P.shape, result.Q.shape, round(result.train_rmse, 1)
    ((3, 2), (4, 2), 0.0)
    >>> round(float(result.filled[0, 0]))  # close to the observed 5
    5
    """
    if hasattr(R, "columns") and set(LONG) <= set(R.columns):
        R, missing = _pivoted(R), np.nan if missing is None else missing
    train = ratings_of(R, missing)
    hyperparameters = {"K": K, "alpha": alpha, "beta": beta, "epochs": epochs, "center": center, "bias": bias, "seed": seed}
    chosen = {"backend": backend or "loop", "init": dict(init) if init else NOTEBOOK_START}
    spec = load_model_spec({**chosen, **hyperparameters})
    knobs, updates = dict(options or {}), len(train) * spec.epochs
    if backend is None and updates > MANY_UPDATES:
        _say(
            f"backend: numba is used, since loop would take long for {updates:,} updates; give backend='loop' to use it anyway"
        )
        backend, knobs = "numba", {"dtype": "float64", **knobs}
    backend = backend or "loop"
    trainer = registry.resolve(backend, knobs)
    K, alpha, beta, epochs = spec.K, spec.alpha, spec.beta, spec.epochs
    start = draw_start(train, K, spec.init.model_dump(exclude_none=True), center, generator(seed, "start"))
    hyper = HyperParams(K, alpha, beta, epochs, bias)
    rng = generator(seed, "order")
    arranged, schedule = trainer.arrange(train, rng)
    models = trainer.epochs(arranged, start, hyper, schedule, rng)
    console = Console(stderr=True)
    for model in track(models, backend, epochs + 1, console=console, transient=True, disable=not console.is_terminal):
        if (found := factors_of(model)) is None:  # known of the start already, before anything is trained
            raise SpecError(f"backend: {backend} does not train factors P and Q; choose one that does, e.g. loop")
        last, factors = model, found
    rmse, _ = score(last, train)
    if not np.isfinite(rmse):
        raise DataError(f"the training diverged with alpha {alpha}; try a smaller step size")
    filled: Any = factors.filled()
    if hasattr(R, "columns"):
        filled = type(R)(filled, index=R.index, columns=R.columns)
    return Factorization(factors.P, factors.Q, factors.user_bias, factors.item_bias, factors.mean, filled, rmse)


def ratings_of(R: Any, missing: float | None = None) -> Ratings:
    """The observed cells of a matrix in row order; DataError if there are none, or one is not a finite number.

    missing: see `factorize`.
    """
    if isinstance(R, Ratings):
        return _finite(R)
    if hasattr(R, "tocoo"):
        users, items, values = _stored(R)
        shape = R.shape
    else:
        try:
            dense = R.to_numpy(np.float64, na_value=np.nan) if hasattr(R, "to_numpy") else np.asarray(R, np.float64)
        except (TypeError, ValueError):
            raise DataError(
                "R: this is not a matrix of numbers; give one, or a DataFrame with the columns user, item and rating"
            ) from None
        if dense.ndim != 2:
            raise DataError(f"R: a matrix has 2 dimensions, but this has {dense.ndim}; give one row per user")
        users, items = np.nonzero(_observed(dense, missing))
        values, shape = dense[users, items], dense.shape
    if len(values) == 0:
        raise DataError("R: no cell is observed, all are missing; give at least one rating")
    users, items = users.astype(np.int32), items.astype(np.int32)
    return _finite(Ratings(users, items, exact_values(values), int(shape[0]), int(shape[1])))


def _observed(dense: Floats64, missing: float | None) -> Array:
    nan = np.isnan(dense)
    if missing is None:
        missing = np.nan if nan.any() else 0.0
        zeros = np.count_nonzero(dense == 0)
        if zeros and nan.any():
            _say(f"R: NaN is missing, and the {zeros:,} zeros are ratings; give missing=0 to leave them out")
        elif zeros:
            _say(f"R: the {zeros:,} zeros are missing; give missing=float('nan') if they are ratings")
    observed: Array = ~nan & (dense != missing)
    return observed


def _stored(R: Any) -> tuple[Array, Array, Array]:
    """Rows, columns and values of the stored cells in row order; SciPy's own conversion would sum a cell stored twice."""
    cells = R.tocoo()
    order = np.lexsort((cells.col, cells.row))
    users, items, values = cells.row[order], cells.col[order], cells.data[order]
    twice = np.flatnonzero((np.diff(users) == 0) & (np.diff(items) == 0))
    if len(twice):
        raise DataError(
            f"R: the cell in row {users[twice[0]]}, column {items[twice[0]]} is stored more than once; store each cell once,"
            " or sum them with R.tocsr()"
        )
    return users, items, values


def _pivoted(table: pd.DataFrame) -> pd.DataFrame:
    """A long table as a matrix: a row per user, a column per item, NaN where there is no rating."""
    twice = table[table.duplicated(LONG[:2])]
    if len(twice):
        user, item = twice.iloc[0][LONG[:2]]
        raise DataError(f"R: user {user} rates item {item} more than once; keep one rating of each pair")
    return table.pivot(index="user", columns="item", values="rating")


def _say(sentence: str) -> None:
    Console(stderr=True).print(sentence, style="yellow", markup=False, emoji=False, highlight=False, soft_wrap=True)


def _finite(ratings: Ratings) -> Ratings:
    if not np.all(np.isfinite(ratings.values)):
        raise DataError("R: a rating is infinite or not a number; ratings must be finite numbers")
    return ratings
