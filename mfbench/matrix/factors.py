"""Hyperparameters, and the factors P and Q with their initialisation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mfbench.core.arrays import Array, Floats, Floats64, Ints
from mfbench.core.errors import RecordError
from mfbench.matrix.predicting import predicted
from mfbench.matrix.ratings import Ratings, seen


@dataclass(frozen=True)
class HyperParams:
    """The hyperparameters of a training: K factors, step size alpha, L2 penalty beta, epochs, and whether to learn biases.

    K, alpha and beta may be None where the backend does not use them, see `Backend.tunable`. step: how the step size of SGD
    changes, `constant`, `adagrad` or `decay`, see `mfbench.matrix.steps`; decay: how fast with the last.
    """

    K: int | None
    alpha: float | None
    beta: float | None
    epochs: int
    bias: bool
    step: str = "constant"
    decay: float = 0.0

    def rate(self, epoch: int) -> float:
        """The step size in that epoch, counted from 0; what `adagrad` divides it by is each row's own."""
        assert self.alpha is not None
        return self.alpha / (1 + self.decay * epoch**1.5) if self.step == "decay" else self.alpha


@dataclass(frozen=True)
class Factors:
    """A factor model: r̂ = mean + user_bias[u] + item_bias[i] + P[u]·Q[i].

    P: [n_users, K], Q: [n_items, K], user_bias: [n_users], item_bias: [n_items], all of one floating type. Rows of users
    and items without a training rating are zero, so they add nothing to a prediction.

    >>> P, Q = np.array([[1.0, 0.5], [0.0, 0.0]]), np.array([[2.0, 1.0]])
    >>> factors = Factors(P, Q, user_bias=np.zeros(2), item_bias=np.array([0.25]), mean=3.0)
    >>> factors.predict(users=np.array([0, 1]), items=np.array([0, 0])).tolist()
    [5.75, 3.25]
    """

    P: Floats
    Q: Floats
    user_bias: Floats
    item_bias: Floats
    mean: float

    def predict(self, users: Ints, items: Ints) -> Floats64:
        """float64 [n]: the prediction for each pair of indices; overflow gives inf or nan."""
        return predicted(vars(self), users, items)

    @staticmethod
    def of(arrays: Mapping[str, Array]) -> Factors | None:
        """The factors saved as these arrays, or None if they are a model of another kind."""
        try:
            P, Q, user_bias, item_bias, mean = (arrays[name] for name in ("P", "Q", "user_bias", "item_bias", "mean"))
        except KeyError:
            return None
        fit = all(array.dtype.kind in "iuf" for array in (P, Q, user_bias, item_bias, mean))
        fit = fit and P.ndim == Q.ndim == 2 and P.shape[1] == Q.shape[1] and mean.shape == ()
        fit = fit and user_bias.shape == P.shape[:1] and item_bias.shape == Q.shape[:1]
        return Factors(P, Q, user_bias, item_bias, float(mean)) if fit else None

    def arrays(self) -> dict[str, Floats]:
        """The arrays to save, by name."""
        return {
            "P": self.P,
            "Q": self.Q,
            "user_bias": self.user_bias,
            "item_bias": self.item_bias,
            "mean": np.array(self.mean, dtype=np.float64),
        }

    def filled(self) -> Floats64:
        """float64 [n_users, n_items]: the filled-in matrix mean + user_bias + item_bias + P Qᵀ."""
        interaction: Floats64 = np.einsum("uk,ik->ui", self.P.astype(np.float64), self.Q.astype(np.float64))
        return self.mean + self.user_bias[:, None] + self.item_bias[None, :] + interaction


def draw_start(train: Ratings, K: int, init: Mapping[str, Any], center: bool, rng: np.random.Generator) -> Factors:
    """The initial factors, float64: P, then Q, drawn from `init`; zero biases; the mean of `train` if `center`, else 0.

    init: `{"uniform": (lo, hi)}`, `{"normal": s}` (mean 0, standard deviation s) or `{"positive": c}`, uniform in
    [0, c / √K). Rows of users and items without a rating in `train` are set to zero after the draw, so the other rows do
    not depend on which ones are missing.
    """

    def draw(n: int) -> Floats64:
        if "uniform" in init:
            lo, hi = init["uniform"]
            return rng.uniform(lo, hi, (n, K))
        if "positive" in init:
            return rng.uniform(0.0, init["positive"] / max(K, 1) ** 0.5, (n, K))
        return rng.normal(0.0, init["normal"], (n, K))

    P, Q = draw(train.n_users), draw(train.n_items)
    P[~seen(train.users, train.n_users)] = 0.0
    Q[~seen(train.items, train.n_items)] = 0.0
    return Factors(P, Q, np.zeros(train.n_users), np.zeros(train.n_items), train.mean() if center else 0.0)


NOT_THE_MODEL = frozenset({"user_ids", "item_ids", "titles"})
"""The arrays in a model file that are not part of the model itself."""


def check_digest(arrays: Mapping[str, Array], digest: str | None, path: Path) -> None:
    """RecordError if the arrays of the file at `path` do not have the digest that its record has."""
    if digest_of(arrays) != digest:
        raise RecordError(f"{path}: this file does not match its record; if it is damaged, delete both, then train again")


def digest_of(arrays: Mapping[str, Array]) -> str:
    """sha256 over the arrays, sorted by name: name, dtype, shape and bytes of each; ids and titles do not count."""
    h = hashlib.sha256()
    for name in sorted(arrays.keys() - NOT_THE_MODEL):
        array = np.ascontiguousarray(arrays[name])
        h.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        h.update(array.tobytes())
    return h.hexdigest()
