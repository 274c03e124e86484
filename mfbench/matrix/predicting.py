"""From raw ids to predictions. MLflow serves this very file, so it imports NumPy and nothing of mfbench.

Each exported model holds a copy of this source with a call of `serve` at the end: to use that folder takes numpy,
pandas and mlflow, but not mfbench, which is on no package index; and served predictions come from the same code as
those of `mfbench.load_model`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

AT_ONCE = 1 << 16
LEAST_RIDGE = 1e-6
"""Without a penalty, a row with fewer ratings than factors has no unique solution; with this one it has that of least norm."""
KNOWN = np.array(["neither", "user only", "item only", "both"])

Array = npt.NDArray[Any]
Floats64 = npt.NDArray[np.float64]


def predicted(arrays: Mapping[str, Array], users: Array, items: Array) -> Floats64:
    """float64 [n]: mean + user_bias[u] + item_bias[i] + P[u]·Q[i] for each pair, all in float64; overflow gives inf or nan.

    arrays: P, Q, user_bias, item_bias, mean. users, items: indices [n]; -1 stands for an unknown id, a row of zeros.
    """
    out = np.empty(len(users), dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        for lo in range(0, len(users), AT_ONCE):
            u, i = users[lo : lo + AT_ONCE], items[lo : lo + AT_ONCE]
            interaction = np.einsum("nk,nk->n", _rows(arrays["P"], u), _rows(arrays["Q"], i))
            biases = float(arrays["mean"]) + _rows(arrays["user_bias"], u) + _rows(arrays["item_bias"], i)
            out[lo : lo + AT_ONCE] = biases + interaction
    return out


def answered(arrays: Mapping[str, Array], users: Array, items: Array) -> tuple[Floats64, Array]:
    """The prediction for each pair of raw ids, float64 [n], and which of the two ids are known, str [n].

    arrays: as for `predicted`, and the sorted user_ids and item_ids. An id is known if training had a rating of it: its
    bias and row are then not all zero. Unknown ids add nothing to the prediction, whether or not they have a row.
    """
    u, i = position(arrays["user_ids"], users), position(arrays["item_ids"], items)
    knows_user, knows_item = _learned(arrays["user_bias"], arrays["P"], u), _learned(arrays["item_bias"], arrays["Q"], i)
    return predicted(arrays, u, i), KNOWN[knows_user.astype(int) + 2 * knows_item]


def spread(arrays: Mapping[str, Array], users: Array, items: Array) -> Floats64 | None:
    """float64 [n]: the standard deviation of a rating around its prediction; None if the model is no posterior.

    Its variance is that of the samples' predictions, and the mean variance of the noise. arrays: as `Posterior.arrays` gives
    them, P [n_users, S K] for S samples. users, items: as for `predicted`.
    """
    if "sample_mean" not in arrays:
        return None
    out, S = np.empty(len(users), dtype=np.float64), len(arrays["sample_mean"])
    at_once = max(1, AT_ONCE // S)
    for lo in range(0, len(users), at_once):
        u, i = users[lo : lo + at_once], items[lo : lo + at_once]
        p, q = (_rows(arrays[name], at).reshape(len(at), S, -1) for name, at in (("P", u), ("Q", i)))
        each = S * np.einsum("nsk,nsk->ns", p, q) + arrays["sample_mean"]
        each += _rows(arrays["sample_user_bias"], u) + _rows(arrays["sample_item_bias"], i)
        out[lo : lo + at_once] = np.sqrt(each.var(axis=1) + np.mean(1 / arrays["sample_noise"]))
    return out


def refitted(
    arrays: Mapping[str, Array], side: Literal["user", "item"], at: Array, ratings: Array, ridge: float, with_bias: bool
) -> dict[str, Array]:
    """The row and bias of one new user or item given its ratings, in float64; see `models.fold_in` for the formula.

    side: of the new row. at, ratings: [n], the rated rows of the other side and the ratings. ridge: beta / 2; a posterior has
    priors instead. Returns P or Q [S K] and the bias [], and of a posterior sample_user_bias or sample_item_bias [S].
    """
    table, other, against = ("P", "Q", "item") if side == "user" else ("Q", "P", "user")
    is_posterior = "sample_mean" in arrays
    S = len(arrays["sample_mean"]) if is_posterior else 1
    fixed = _rows(arrays[other], at).reshape(len(at), S, -1) * S**0.5
    width = fixed.shape[2] + 1
    solved, used = np.zeros((S, width)), slice(None) if with_bias else slice(-1)
    for s in range(S):
        if is_posterior:
            mean, noise, bias = arrays["sample_mean"][s], arrays["sample_noise"][s], arrays[f"sample_{against}_bias"][at, s]
            mu, weight = arrays[f"sample_{side}_priors"][s].T
        else:
            mean, noise, bias = float(arrays["mean"]), 1.0, _rows(arrays[f"{against}_bias"], at)
            mu, weight = np.zeros(width), np.full(width, max(ridge, LEAST_RIDGE) * len(at))
        x = np.column_stack([fixed[:, s], np.ones(len(at))])[:, used]
        left, right = np.diag(weight[used]) + noise * x.T @ x, (weight * mu)[used] + noise * x.T @ (ratings - mean - bias)
        solved[s, used] = np.linalg.solve(left, right)
    row, biases = solved[:, :-1].ravel() / S**0.5, solved[:, -1]
    of_samples = {f"sample_{side}_bias": biases} if is_posterior else {}
    return {table: row, f"{side}_bias": biases.mean(), **of_samples}


def position(ids: Array, raw: Array) -> npt.NDArray[np.int64]:
    """int64 [n]: the index of each raw id in the sorted `ids`, or -1."""
    wanted = _typed(ids, raw)
    at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[at] == wanted, at, -1)


def _typed(ids: Array, raw: Array) -> Array:
    """Raw ids as an array of text or of int64, as `ids` is; pandas stores text in other arrays."""
    return np.asarray(raw, dtype=np.str_ if ids.dtype.kind == "U" else np.int64)


def _rows(table: Array, at: Array) -> Floats64:
    rows = table[at].astype(np.float64)
    rows[at < 0] = 0.0
    return rows


def _learned(bias: Array, table: Array, at: Array) -> npt.NDArray[np.bool_]:
    """bool [n]: whether the bias and the row are not all zero."""
    learned: npt.NDArray[np.bool_] = np.logical_or(_rows(bias, at) != 0, (_rows(table, at) != 0).any(axis=1))
    return learned


def completed(
    arrays: Mapping[str, Array], users: Array, items: Array, ratings: Array | None = None, ridge: float = 0.0
) -> dict[str, Array]:
    """The answers for n pairs of raw ids: `prediction` and `known`, see `answered`, and of a posterior `std`, see `spread`.

    ratings: [n], nan where there is none. A user with a rating of a known item is folded in, see `refitted`: the answers
    for this user come from these ratings alone, whether or not the user is known. ridge: beta / 2 of the training.
    """
    answers = _answers(arrays, users, items)
    if ratings is None or not len(found := np.flatnonzero(~np.isnan(ratings) & (position(arrays["item_ids"], items) >= 0))):
        return answers
    users = _typed(arrays["user_ids"], users)
    new, owner = np.unique(users[found], return_inverse=True)
    by_user = np.split(found[np.argsort(owner, kind="stable")], np.cumsum(np.bincount(owner))[:-1])
    with_bias = bool(np.any(arrays["user_bias"]))
    folded = [
        refitted(arrays, "user", position(arrays["item_ids"], items[mine]), ratings[mine], ridge, with_bias)
        for mine in by_user
    ]
    model = {**arrays, "user_ids": new, **{name: np.stack([one[name] for one in folded]) for name in folded[0]}}
    theirs = np.isin(users, new)
    for name, of_new in _answers(model, users[theirs], items[theirs]).items():
        answers[name][theirs] = of_new
    return answers


def _answers(arrays: Mapping[str, Array], users: Array, items: Array) -> dict[str, Array]:
    prediction, known = answered(arrays, users, items)
    std = spread(arrays, position(arrays["user_ids"], users), position(arrays["item_ids"], items))
    return {"prediction": prediction, "known": known, **({} if std is None else {"std": std})}


def serve(ridge: float) -> None:
    """Give MLflow the model defined here by `set_model`, as its models from code require. ridge: beta / 2 of the training."""
    import pandas as pd
    from mlflow.models import set_model
    from mlflow.pyfunc import PythonModel, PythonModelContext

    class Served(PythonModel):  # type: ignore[misc]
        """Takes raw ids in the columns `user` and `item` and, if given, `rating`; returns what `completed` does."""

        def load_context(self, context: PythonModelContext) -> None:
            """Read the arrays of the model."""
            with np.load(context.artifacts["arrays"], allow_pickle=False) as arrays:
                self._arrays = dict(arrays)

        # No type hints: MLflow would derive an input schema from them.
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
            """One output row for each input row, DataFrame to DataFrame."""
            users, items = (model_input[name].to_numpy() for name in ("user", "item"))
            ratings = model_input["rating"].to_numpy() if "rating" in model_input else None
            return pd.DataFrame(completed(self._arrays, users, items, ratings, ridge), index=model_input.index)

    set_model(Served())
