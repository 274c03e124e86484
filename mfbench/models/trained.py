"""A trained model with the raw ids of its users and items: raw ids in, predictions out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mfbench.core.arrays import Array, Floats, Floats64
from mfbench.core.errors import InputError, RecordError
from mfbench.core.files import load_model_arrays
from mfbench.matrix.factors import Factors, check_digest
from mfbench.matrix.predicting import answered, position, spread
from mfbench.models.fold_in import Side, fold_in


@dataclass(frozen=True)
class Predicted:
    """Predictions for n pairs of user and item.

    prediction: float64 [n]. known: str [n], which of user and item had a rating in training: `both`, `user only`,
    `item only` or `neither`; an unknown one adds nothing to the prediction. std: float64 [n], the standard deviation of a
    rating around its prediction; None if the model is not a posterior (see backend `bmf`).
    """

    prediction: Floats64
    known: npt.NDArray[np.str_]
    std: Floats64 | None = None


@dataclass(frozen=True)
class TrainedModel:
    """P [n_users, K], Q [n_items, K], user_bias [n_users], item_bias [n_items], mean, and the raw id of each row.

    user_ids: [n_users], item_ids: [n_items], int64 or str, sorted. titles: str [n_items], None if the data has none.
    samples: the additional arrays of a posterior, see `Posterior.arrays`; empty for other models. ridge: beta / 2 of the
    training, the penalty used to fold in new users and items.
    """

    P: Floats
    Q: Floats
    user_bias: Floats
    item_bias: Floats
    mean: float
    user_ids: Array
    item_ids: Array
    titles: Array | None = None
    samples: Mapping[str, Array] = field(default_factory=dict)
    ridge: float = 0.0

    @staticmethod
    def read(path: Path, digest: str | None, ridge: float = 0.0) -> TrainedModel:
        """Read the model in a run's npz file; RecordError if it is missing or damaged, or has no factors with ids.

        digest: of the model, from the run's record; RecordError if the file does not match it. ridge: see `TrainedModel`.
        """
        arrays = load_model_arrays(path)
        check_digest(arrays, digest, path)
        factors = Factors.of(arrays)
        if factors is None:
            if "kernel_1" in arrays:  # the first layer of an `mlp`
                raise RecordError(
                    f"{path}: this run's model is a network and has no factors P and Q; give a run of a factor backend"
                    " (numba, jax, adam, als, loop)"
                )
            raise RecordError(
                f"{path}: this is not a factor model (P, Q, user_bias, item_bias and mean that fit together); read its arrays"
                f" {', '.join(sorted(arrays)) or '(none)'} with numpy.load"
            )
        if not fit(arrays, factors):
            raise RecordError(
                f"{path}: user_ids and item_ids do not fit P and Q, or titles item_ids; give a model file that mfbench wrote"
            )
        return TrainedModel(
            factors.P, factors.Q, factors.user_bias, factors.item_bias, factors.mean,
            arrays["user_ids"], arrays["item_ids"], arrays.get("titles"),
            {name: array for name, array in arrays.items() if name.startswith("sample_")}, ridge,
        )  # fmt: skip

    def predict(self, users: Any, items: Any) -> Predicted:
        """Predict the rating of each pair of raw ids: two lists or arrays of the same length n, or one id and a list.

        Unknown ids are allowed, see `Predicted`. InputError if the ids are numbers and the model's are text, or vice versa.

        >>> P, Q = np.array([[1.0], [0.5]]), np.array([[2.0], [-1.0]])
        >>> user_ids, item_ids = np.array(["ann", "bob"]), np.array([10, 20])
        >>> model = TrainedModel(P, Q, np.zeros(2), np.zeros(2), 3.0, user_ids, item_ids)
        >>> answer = model.predict(["ann", "bob", "eve"], [10, 20, 10])
        >>> answer.prediction.tolist(), answer.known.tolist()
        ([5.0, 2.5, 3.0], ['both', 'both', 'item only'])
        """
        try:
            user, item = np.broadcast_arrays(raw_ids("user", users, self.user_ids), raw_ids("item", items, self.item_ids))
        except ValueError:
            raise InputError(
                f"users and items: {len(users)} and {len(items)} ids do not make pairs; give two lists of the same length"
            ) from None
        prediction, known = answered(vars(self), user, item)
        rows = position(self.user_ids, user), position(self.item_ids, item)
        return Predicted(prediction, known, spread({**vars(self), **self.samples}, *rows))

    def factors(self) -> Factors:
        """The model without the ids; of a posterior, its mean."""
        return Factors(self.P, self.Q, self.user_bias, self.item_bias, self.mean)

    def arrays(self) -> dict[str, Array]:
        """The arrays of the model by name, without the ids."""
        named = {name: np.asarray(getattr(self, name)) for name in ("P", "Q", "user_bias", "item_bias", "mean")}
        return {**named, **self.samples}

    def fold_in(self, items: Any, ratings: Any, users: Any = None) -> TrainedModel:
        """A model for new users, given their ratings, without retraining; see `models.fold_in`.

        items: [n] raw ids. ratings: [n] numbers. users: [n], the id of each rating's user; by default all ratings are of one
        user, `new`. The new users replace those of this model. Ratings of unknown items are ignored; InputError if a user
        has no rating of a known item.

        >>> P, Q = np.zeros((1, 1)), np.array([[1.0], [0.5], [-1.0]])
        >>> ids = np.array([1]), np.array([10, 20, 30])
        >>> model = TrainedModel(P, Q, np.zeros(1), np.zeros(3), 3.0, *ids, ridge=0.05)
        >>> model.fold_in([10, 20], [5, 4]).predict(["new"], [30]).prediction.round(2).tolist()
        [1.15]
        """
        return self._folded("user", users, items, ratings)

    def fold_in_items(self, users: Any, ratings: Any, items: Any = None) -> TrainedModel:
        """Like `fold_in`, for new items, given ratings of them by known users."""
        return self._folded("item", items, users, ratings)

    def _folded(self, side: Side, new: Any, others: Any, ratings: Any) -> TrainedModel:
        against = "item" if side == "user" else "user"
        known_ids = self.item_ids if side == "user" else self.user_ids
        at, values = position(known_ids, raw_ids(against, others, known_ids)), np.asarray(ratings, np.float64)
        named = np.full(len(at), "new") if new is None else np.asarray(new)
        if not len(at) == len(values) == len(named) or not np.all(np.isfinite(values)):
            raise InputError(f"ratings: give one finite number for each of the {len(at)} {against}s")
        if len(at) == 0:
            raise InputError(f"ratings: there are none; give at least one of a known {against}")
        ids, rows = np.unique(named, return_inverse=True)
        known = at >= 0
        if len(unknown := np.setdiff1d(np.arange(len(ids)), rows[known])):
            raise InputError(f"{side} {ids[unknown[0]]}: no rating of a known {against}; give at least one")
        cells = rows[known].astype(np.int32), at[known].astype(np.int32)
        folded = fold_in(self.arrays(), side, *cells, values[known], self.ridge)
        changes: dict[str, Any] = {"samples": {name: folded.pop(name, array) for name, array in self.samples.items()}}
        changes |= {f"{side}_ids": ids, "titles": self.titles if side == "user" else None}
        return replace(self, **{**folded, **changes})


def fit(arrays: Mapping[str, Array], factors: Factors) -> bool:
    """Whether the ids and titles in a model file are those of as many users and items as its factors have rows."""
    users, items = (arrays.get(name, np.empty(0)) for name in ("user_ids", "item_ids"))
    titles = arrays.get("titles", np.empty(len(factors.Q), "U1"))
    titled = titles.dtype.kind == "U" and titles.shape == (len(factors.Q),)
    return titled and _is_map(users, len(factors.P)) and _is_map(items, len(factors.Q))


def _is_map(ids: Array, n: int) -> bool:
    return ids.dtype.kind in "iU" and ids.shape == (n,) and n > 0 and bool(np.all(ids[1:] > ids[:-1]))


def raw_ids(what: str, given: Any, ids: Array) -> Array:
    """The given ids as an array [n]; InputError if they are numbers and the model's are text, or vice versa."""
    raw = np.atleast_1d(np.asarray(given))
    raw = np.array(raw.tolist()) if raw.dtype.kind in "OT" else raw  # pandas stores text in such arrays
    text = ids.dtype.kind == "U"
    if raw.ndim != 1 or (len(raw) and raw.dtype.kind not in ("U" if text else "iu")):
        wanted = "text" if text else "whole numbers"
        raise InputError(f"{what} ids: {str(given)[:60]!r} is not a list of {wanted}; give ids like {ids[0].item()!r}")
    return raw
