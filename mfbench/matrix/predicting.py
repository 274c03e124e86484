"""From raw ids to predictions. MLflow serves this very file, so it imports NumPy and nothing of mfbench.

Each exported model holds a copy of this source with a call of `serve()` at the end: to use that folder takes numpy,
pandas and mlflow, but not mfbench, which is on no package index; and served predictions come from the same code as
those of `mfbench.load_model`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

AT_ONCE = 1 << 16
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


def position(ids: Array, raw: Array) -> npt.NDArray[np.int64]:
    """int64 [n]: the index of each raw id in the sorted `ids`, or -1."""
    wanted = np.asarray(raw, dtype=np.str_ if ids.dtype.kind == "U" else np.int64)
    at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[at] == wanted, at, -1)


def _rows(table: Array, at: Array) -> Floats64:
    rows = table[at].astype(np.float64)
    rows[at < 0] = 0.0
    return rows


def _learned(bias: Array, table: Array, at: Array) -> npt.NDArray[np.bool_]:
    """bool [n]: whether the bias and the row are not all zero."""
    learned: npt.NDArray[np.bool_] = np.logical_or(_rows(bias, at) != 0, (_rows(table, at) != 0).any(axis=1))
    return learned


def serve() -> None:
    """Give MLflow the model defined here by `set_model`, as its models from code require."""
    import pandas as pd
    from mlflow.models import set_model
    from mlflow.pyfunc import PythonModel, PythonModelContext

    class Served(PythonModel):  # type: ignore[misc]
        """Takes raw ids in the columns `user` and `item`, returns `prediction` and `known`, see `answered`.

        Of a posterior there is `std` too, see `spread`.
        """

        def load_context(self, context: PythonModelContext) -> None:
            """Read the arrays of the model."""
            with np.load(context.artifacts["arrays"], allow_pickle=False) as arrays:
                self._arrays = dict(arrays)

        # No type hints: MLflow would derive an input schema from them.
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
            """One output row for each input row, DataFrame to DataFrame."""
            users, items = (model_input[name].to_numpy() for name in ("user", "item"))
            prediction, known = answered(self._arrays, users, items)
            answer = {"prediction": prediction, "known": known}
            ids = (position(self._arrays[f"{name}_ids"], raw) for name, raw in (("user", users), ("item", items)))
            if (std := spread(self._arrays, *ids)) is not None:
                answer["std"] = std
            return pd.DataFrame(answer, index=model_input.index)

    set_model(Served())
