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
from mfbench.models.factorize import ratings_of

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


def test_zeros_are_ratings_where_nan_marks_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    with_zero = np.where(R == 0, np.nan, R)
    with_zero[0, 0] = 0
    assert len(ratings_of(with_zero)) == np.count_nonzero(R)
    assert "NaN is missing, and the 1 zeros are ratings; give missing=0 to leave them out" in capsys.readouterr().err
    assert len(ratings_of(with_zero, missing=0)) == np.count_nonzero(R) - 1
    assert len(ratings_of(R)) == np.count_nonzero(R)
    assert f"the {np.count_nonzero(R == 0)} zeros are missing; give missing=" in capsys.readouterr().err
    assert len(ratings_of(R, missing=float("nan"))) == R.size
    assert len(ratings_of(np.where(R == 0, 99, R), missing=99)) == np.count_nonzero(R)
    assert capsys.readouterr().err == ""


def test_a_long_table_is_taken_too() -> None:
    users, items = np.nonzero(R)
    table = pd.DataFrame({"user": users + 10, "item": [f"D{i}" for i in items], "rating": R[users, items]})
    result = mfbench.factorize(table.sample(frac=1, random_state=1), epochs=7)
    assert np.array_equal(result.P, mfbench.factorize(R, epochs=7).P)
    assert isinstance(result.filled, pd.DataFrame)
    assert (list(result.filled.index), list(result.filled.columns)) == (list(range(10, 16)), ["D0", "D1", "D2", "D3"])
    whole = pd.DataFrame({"user": [1, 1, 2, 2], "item": [1, 2, 1, 2], "rating": [5, 0, 3, 4]})
    assert mfbench.factorize(whole, epochs=1, bias=True).train_rmse == pytest.approx(
        mfbench.factorize([[5, 0], [3, 4]], epochs=1, bias=True, missing=float("nan")).train_rmse
    )
    with pytest.raises(DataError, match="user 10 rates item D0 more than once"):
        mfbench.factorize(pd.concat([table, table[:1]]))


def test_a_large_matrix_is_left_to_the_compiled_backend_which_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mfbench.models.factorize.MANY_UPDATES", 1000)
    result = mfbench.factorize(R, epochs=100, alpha=1e-6, missing=0)
    assert "backend: numba is used, since loop would take long for" in capsys.readouterr().err
    assert result.P.dtype == np.float64
    assert mfbench.factorize(R, epochs=5, missing=0, backend="numba").P.dtype == np.float32
    assert capsys.readouterr().err == ""


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
        (scipy.sparse.coo_array(([1, 2, 3], ([0, 1, 1], [0, 2, 2]))), "row 1, column 2 is stored more than once"),
    ],
)
def test_an_R_that_cannot_be_used(bad: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        mfbench.factorize(bad)


def test_wrong_hyperparameters_and_divergence() -> None:
    with pytest.raises(SpecError, match="K: input should be greater than or equal to 1"):
        mfbench.factorize(R, K=0)
    with pytest.raises(SpecError, match="epochs: input should be a valid integer"):
        mfbench.factorize(R, epochs="many")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="unknown backend 'lop'; choose from loop"):
        mfbench.factorize(R, backend="lop")
    with pytest.raises(DataError, match="diverged with alpha 9"):
        mfbench.factorize(R, alpha=9.0)


def test_a_backend_without_factors_is_refused_before_it_trains() -> None:
    with pytest.raises(SpecError, match="backend: mlp does not train factors P and Q"):
        mfbench.factorize(R, backend="mlp", epochs=10**9)


def test_a_result_is_shown_in_one_line() -> None:
    result = mfbench.factorize([[5, 3, 0], [4, 0, 1]], K=2, epochs=1)
    assert repr(result) == f"<factorization of 2 × 3: K 2, train RMSE {result.train_rmse:.4f}>"
