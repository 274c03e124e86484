"""`mfbench.factorize`: the notebook's call, whatever R is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import mfbench
from mfbench.core.errors import DataError, SpecError
from mfbench.matrix.ratings import Ratings

R = np.array([[5, 3, 0, 1], [4, 0, 0, 1], [1, 1, 0, 5], [1, 0, 0, 4], [0, 1, 5, 4], [2, 1, 3, 0]])


def test_the_notebooks_example() -> None:
    result = mfbench.factorize(R, K=3, alpha=0.0002, beta=0.02, epochs=5000)
    assert result.P.shape == (6, 3)
    assert result.Q.shape == (4, 3)
    assert result.train_rmse < 0.15
    assert np.abs(result.filled - R)[R > 0].max() < 0.5
    assert np.allclose(result.filled, result.P @ result.Q.T)


def test_the_labels_of_a_dataframe_come_back() -> None:
    frame = pd.DataFrame(R, index=[f"U{n}" for n in range(1, 7)], columns=[f"D{n}" for n in range(1, 5)])
    filled = mfbench.factorize(frame, epochs=5).filled
    assert isinstance(filled, pd.DataFrame)
    assert list(filled.index) == list(frame.index)
    assert list(filled.columns) == list(frame.columns)


@pytest.mark.parametrize(
    "same",
    [
        np.where(R == 0, np.nan, R),
        R.tolist(),
        pd.DataFrame(R).replace(0, np.nan),
        scipy.sparse.csr_matrix(R),
        scipy.sparse.coo_array(R),
        Ratings(np.nonzero(R)[0].astype(np.int32), np.nonzero(R)[1].astype(np.int32), R[R > 0].astype(np.float32), 6, 4),
    ],
    ids=["nan", "list", "frame", "csr", "coo", "ratings"],
)
def test_every_form_of_R_is_the_same_matrix(same: Any) -> None:
    assert np.array_equal(mfbench.factorize(same, epochs=7).P, mfbench.factorize(R, epochs=7).P)


def test_another_backend_and_its_knobs() -> None:
    result = mfbench.factorize(R, K=2, alpha=0.05, beta=0.0, epochs=300, backend="adam", options={"batch_size": 4})
    assert result.train_rmse < 0.5


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.zeros((3, 3)), "no cell is observed"),
        (np.array([1.0, 2.0]), "has 1"),
        ([["a", "b"]], "a matrix of numbers"),
        (np.array([[np.inf, 1.0]]), "infinite"),
    ],
)
def test_an_R_that_cannot_be_used(bad: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        mfbench.factorize(bad)


def test_wrong_hyperparameters_and_divergence() -> None:
    with pytest.raises(SpecError, match="K: input should be greater than or equal to 1"):
        mfbench.factorize(R, K=0)
    with pytest.raises(SpecError, match="unknown backend 'lop'; choose from loop"):
        mfbench.factorize(R, backend="lop")
    with pytest.raises(DataError, match="diverged with alpha 9"):
        mfbench.factorize(R, alpha=9.0)
