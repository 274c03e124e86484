"""Lists of the best unseen items: what a plain sort gives, ties by item, on any number of threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfbench.core.arrays import Floats64, Ints
from mfbench.matrix.factors import Factors
from mfbench.matrix.ratings import Ratings
from mfbench.models import ranking
from mfbench.models.ranking import AT_ONCE, best_unseen

N = 2 * AT_ONCE + 9


def case(seed: int, n_items: int = 12, share: float = 0.3, K: int = 2) -> tuple[Factors, Ratings]:
    """Factors of few different values, so that predictions tie; train has some users and items not, and some users all."""
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((N, n_items)) < rng.choice([0.0, share, share, 1.0], (N, 1)))
    known = items != 3
    users, items = users[known].astype(np.int32), items[known].astype(np.int32)
    order = rng.permutation(len(users))
    train = Ratings(users[order], items[order], rng.integers(1, 6, len(users)).astype(np.float32), N, n_items)
    sizes: list[tuple[int, ...]] = [(N, K), (n_items, K), (N,), (n_items,)]
    P, Q, user_bias, item_bias = (rng.integers(-1, 2, size) / 2 for size in sizes)
    return Factors(P, Q, user_bias, item_bias, mean=3.5), train


class Plain:
    """The same model, known by its predictions alone."""

    def __init__(self, model: Factors):
        self.predict = model.predict
        self.arrays = model.arrays


def sorted_out(model: Factors, train: Ratings, user: int) -> list[tuple[float, int]]:
    """(prediction, item) of all candidates of a user, best first."""
    rated = set(train.items[train.users == user].tolist())
    candidates = sorted(set(train.items.tolist()) - rated)
    predicted = {item: float(model.predict(np.array([user]), np.array([item]))[0]) for item in candidates}
    return sorted(((value, item) for item, value in predicted.items()), key=lambda one: (-one[0], one[1]))


@settings(deadline=None)  # the first has its code compiled
@given(seed=st.integers(0, 10**6), n=st.integers(1, 14), K=st.integers(0, 3), threads=st.integers(1, 4))
def test_it_is_a_sort_by_prediction_then_item_of_what_the_user_has_not_rated(seed: int, n: int, K: int, threads: int) -> None:
    model, train = case(seed, K=K)
    users = np.random.default_rng(seed).permutation(N)[: N - 3].astype(np.int32)
    items, scores = best_unseen(model, users, train, n, threads)
    for place in (0, 1, AT_ONCE - 1, AT_ONCE, len(users) - 1):
        expected = sorted_out(model, train, users[place])[:n]
        padding = n - len(expected)
        assert items[place].tolist() == [item for _, item in expected] + [-1] * padding
        assert scores[place].tolist() == [value for value, _ in expected] + [-np.inf] * padding
    for known_how in (Plain(model), model):
        again = best_unseen(known_how, users, train, n)
        assert np.array_equal(items, again[0])
        assert np.array_equal(scores, again[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("K", [1, 19, 64])
def test_equal_rows_tie_and_stand_in_the_order_of_the_items(K: int, dtype: str) -> None:
    rng = np.random.default_rng(K)
    row, bias = rng.normal(size=K).astype(dtype), rng.normal(size=N).astype(dtype)
    model = Factors(rng.normal(size=(N, K)).astype(dtype), np.tile(row, (50, 1)), bias, np.full(50, 0.1, dtype), 3.3)
    train = Ratings(np.arange(50, dtype=np.int32), np.arange(50, dtype=np.int32), np.ones(50, np.float32), N, 50)
    items, scores = best_unseen(model, np.arange(N, dtype=np.int32), train, 49)
    for user in range(N):
        assert items[user].tolist() == [item for item in range(50) if item != user][:49]
        assert len(set(scores[user])) == 1


def test_a_list_has_no_more_places_to_look_through_than_there_are_items(monkeypatch: pytest.MonkeyPatch) -> None:
    model, train = case(2)
    users, widths = np.arange(N, dtype=np.int32), set()
    few, _ = best_unseen(model, users, train, 12)
    work = ranking._keep_best

    def keep_best(items: Any, *rest: Any) -> Any:
        widths.add(items.shape[1])
        return work(items, *rest)

    monkeypatch.setattr(ranking, "_keep_best", keep_best)
    items, scores = best_unseen(model, users, train, 5000)
    assert widths == {12}
    assert np.array_equal(items[:, :12], few)
    assert items.shape == scores.shape == (N, 5000)
    assert set(items[:, 12:].ravel().tolist()) == {-1}
    assert set(scores[:, 12:].ravel().tolist()) == {-np.inf}


def test_what_is_no_number_is_never_recommended() -> None:
    class Doubtful:
        def predict(self, users: Ints, items: Ints) -> Floats64:  # noqa: ARG002
            return np.where(items % 2 == 0, np.nan, items).astype(float)

        def arrays(self) -> dict[str, Floats64]:
            return {}

    _, train = case(1, n_items=6)
    items, _ = best_unseen(Doubtful(), np.arange(N, dtype=np.int32), train, 5)
    assert set(items.ravel().tolist()) == {-1, 1, 5}  # 3 is not in train
