"""From raw ids to predictions. This very file is what MLflow serves, so it imports numpy alone, and nothing of mfbench.

A copy of its source, with a call of `serve()` at the end, goes with each exported model: whoever has that folder needs
numpy, pandas and mlflow, not mfbench, which no registry has; and what is served is computed by the same lines as
`mfbench.load_model`.
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

    arrays: P, Q, user_bias, item_bias, mean. users, items: integers [n]; -1 is one without a row, which counts as zeros.
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
    """The prediction for each pair of raw ids, float64 [n], and of which of the two the model knows something, str [n].

    arrays: as for `predicted`, with user_ids and item_ids, sorted. Known is an id that the training had a rating of: its
    bias and its row are not all zero. The others add nothing to the prediction, whether their id is in the maps or not.
    """
    u, i = position(arrays["user_ids"], users), position(arrays["item_ids"], items)
    knows_user, knows_item = _learned(arrays["user_bias"], arrays["P"], u), _learned(arrays["item_bias"], arrays["Q"], i)
    return predicted(arrays, u, i), KNOWN[knows_user.astype(int) + 2 * knows_item]


def position(ids: Array, raw: Array) -> npt.NDArray[np.int64]:
    """int64 [n]: where each raw id stands in the sorted ids; -1 where it does not."""
    wanted = np.asarray(raw, dtype=np.str_ if ids.dtype.kind == "U" else np.int64)
    at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[at] == wanted, at, -1)


def _rows(table: Array, at: Array) -> Floats64:
    rows = table[at].astype(np.float64)
    rows[at < 0] = 0.0
    return rows


def _learned(bias: Array, table: Array, at: Array) -> npt.NDArray[np.bool_]:
    """bool [n]."""
    learned: npt.NDArray[np.bool_] = np.logical_or(_rows(bias, at) != 0, (_rows(table, at) != 0).any(axis=1))
    return learned


def serve() -> None:
    """Hand MLflow the model of this file, as `mlflow.models.set_model` wants it of a model from code."""
    import pandas as pd
    from mlflow.models import set_model
    from mlflow.pyfunc import PythonModel, PythonModelContext

    class Served(PythonModel):  # type: ignore[misc]
        """Raw ids in the columns `user` and `item`; out come `prediction` and `known`, see `answered`."""

        def load_context(self, context: PythonModelContext) -> None:
            """Read the arrays that the model was saved with."""
            with np.load(context.artifacts["arrays"], allow_pickle=False) as arrays:
                self._arrays = dict(arrays)

        # Without type hints, which MLflow would take for a schema of its own kind.
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
            """A line for each line of the input, DataFrame to DataFrame."""
            users, items = (model_input[name].to_numpy() for name in ("user", "item"))
            prediction, known = answered(self._arrays, users, items)
            return pd.DataFrame({"prediction": prediction, "known": known}, index=model_input.index)

    set_model(Served())
