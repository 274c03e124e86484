"""Planted data sets: what was asked for, to the cell; the truth is the truth; the look of MovieLens."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfbench.data.dataset import Dataset
from mfbench.data.planted import NOISE, planted


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int, int]:
    users, items = draw(st.integers(1, 60)), draw(st.integers(2, 60))
    return users, items, draw(st.integers(1, users * items // 2))


@pytest.fixture(scope="module")
def small() -> Dataset:
    return planted(943, 1_682, 100_000, 0, "planted-100k")


@given(sizes(), st.integers(0, 2**70))
@settings(max_examples=60, deadline=None)
def test_exactly_the_cells_asked_for_in_canonical_order(size: tuple[int, int, int], seed: int) -> None:
    users, items, n = size
    d = planted(users, items, n, seed, "p")
    r = d.ratings
    assert len(r) == len(d.truth.mean) == len(d.truth.median) == n
    cells = r.users.astype(np.int64) * items + r.items
    assert np.all(np.diff(cells) > 0)
    assert r.users.min() >= 0
    assert r.users.max() < users
    assert r.items.min() >= 0
    assert r.items.max() < items
    assert (r.n_users, r.n_items) == (users, items)
    assert np.isin(r.values, np.arange(1, 11) / 2).all()
    assert np.isin(d.truth.median, np.arange(1, 11) / 2).all()
    assert d.user_ids.tolist() == list(range(1, users + 1))
    assert d.item_ids.tolist() == list(range(1, items + 1))
    assert r.users.dtype == r.items.dtype == np.int32
    assert r.values.dtype == np.float32


@pytest.mark.parametrize("size", [(1, 2, 1), (2_100, 8, 8_400), (40, 5_000, 100_000), (3, 10_000, 15_000)])
def test_up_to_half_of_the_matrix(size: tuple[int, int, int]) -> None:
    r = planted(*size, 1, "p").ratings
    assert len(np.unique(r.users.astype(np.int64) * r.n_items + r.items)) == size[2]


def test_the_seed_decides_every_bit() -> None:
    one, same, other = (planted(1_500, 200, 20_000, seed, "p") for seed in (3, 3, 4))
    assert one.digest == same.digest != other.digest
    for part in ("mean", "median"):
        assert getattr(one.truth, part).tobytes() == getattr(same.truth, part).tobytes()


def test_the_global_generator_has_no_part() -> None:
    np.random.seed(0)  # noqa: NPY002
    one = planted(50, 60, 500, 0, "p").digest
    np.random.seed(1)  # noqa: NPY002
    state = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    assert planted(50, 60, 500, 0, "p").digest == one
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], state)  # noqa: NPY002


def test_truth_mean_is_the_conditional_mean(small: Dataset) -> None:
    """Within each slice of like truth the ratings average to it, and nothing simple of the truth does better."""
    values, mean = small.ratings.values.astype(np.float64), small.truth.mean
    edges = np.quantile(mean, np.linspace(0, 1, 21)[1:-1])
    part = np.digitize(mean, edges)
    error = values - mean
    for k in range(20):
        inside = error[part == k]
        assert abs(inside.mean()) < 5 * inside.std() / np.sqrt(len(inside))
    mae = np.abs(values - small.truth.median).mean()
    assert mae < np.abs(error).mean()
    assert 0.8 * NOISE < np.sqrt(np.mean(error**2)) < NOISE  # the scale's ends take some of the noise


def test_it_looks_like_movielens(small: Dataset) -> None:
    r = small.ratings
    assert 3.3 < r.mean() < 3.7
    assert 0.95 < r.values.std() < 1.15
    of_user, of_item = np.bincount(r.users, minlength=943), np.bincount(r.items, minlength=1_682)
    assert of_user.min() >= 20  # MovieLens-100k: 20, median 65, 737
    assert 45 < np.median(of_user) < 85
    assert 500 < of_user.max() < 900
    assert 15 < np.median(of_item) < 40  # MovieLens-100k: median 27, 583
    assert 400 < of_item.max() < 700
    assert np.mean(of_item == 0) < 0.01


def test_factors_can_beat_biases_and_cannot_reach_the_truth() -> None:
    """On the 80/20 split, biases with damping stand well above the oracle, and rank-8 ridge factors between them."""
    d = planted(300, 200, 24_000, 0, "p")
    u, i, v = d.ratings.users, d.ratings.items, d.ratings.values.astype(np.float64)
    test = np.random.default_rng(0).random(len(v)) < 0.2
    U, ii, V = u[~test], i[~test], v[~test]
    mu = V.mean()
    bi = np.bincount(ii, V - mu, minlength=200) / (np.bincount(ii, minlength=200) + 5)
    bu = np.bincount(U, V - mu - bi[ii], minlength=300) / (np.bincount(U, minlength=300) + 5)
    biases = mu + bu[u] + bi[i]
    rest = np.full((300, 200), np.nan)
    rest[U, ii] = V - biases[~test]
    rng = np.random.default_rng(0)
    P, Q = rng.normal(0, 0.1, (300, 8)), rng.normal(0, 0.1, (200, 8))
    for _ in range(15):
        for A, B, R in ((P, Q, rest), (Q, P, rest.T)):
            for row in range(len(A)):
                there = np.isfinite(R[row])
                X = B[there]
                A[row] = np.linalg.solve(X.T @ X + 6 * np.eye(8), X.T @ R[row, there])
    factors = biases + np.einsum("nk,nk->n", P[u], Q[i])

    def rmse(prediction: np.ndarray) -> float:
        return float(np.sqrt(np.mean((v - prediction)[test] ** 2)))

    floor, fitted, oracle = rmse(biases), rmse(factors), rmse(d.truth.mean)
    assert oracle < fitted < floor
    assert floor - fitted > (floor - oracle) / 3
