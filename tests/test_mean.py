"""The floor: means and damped biases."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfbench.backends.mean import Mean
from mfbench.matrix.ratings import Ratings
from mfbench.testing import train_models


def ratings(rows, n_users=4, n_items=4):
    users, items, values = zip(*rows, strict=True)
    return Ratings(np.array(users, np.int32), np.array(items, np.int32), np.array(values, np.float32), n_users, n_items)


ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 5)), min_size=1, max_size=20)


@given(rows=ROWS, item_damping=st.floats(0, 30), user_damping=st.floats(0, 30))
def test_biases_are_damped_means(rows, item_damping, user_damping):
    train = ratings(rows)
    start: Any
    model: Any
    start, model = train_models(Mean("both", item_damping, user_damping), train, center=False)
    mean = np.mean([r for _, _, r in rows])
    b_i, b_u = np.zeros(4), np.zeros(4)
    for item in {i for _, i, _ in rows}:
        rest = [r - mean for _, i, r in rows if i == item]
        b_i[item] = sum(rest) / (item_damping + len(rest))
    for user in {u for u, _, _ in rows}:
        rest = [r - mean - b_i[i] for u, i, r in rows if u == user]
        b_u[user] = sum(rest) / (user_damping + len(rest))
    np.testing.assert_allclose(model.item_bias, b_i, atol=1e-12)
    np.testing.assert_allclose(model.user_bias, b_u, atol=1e-12)
    assert start.mean == model.mean == pytest.approx(mean)
    assert not start.item_bias.any()
    assert model.P.shape == model.Q.shape == (4, 0)


def test_the_item_term_without_damping_is_the_mean_of_the_item():
    train = ratings([(0, 0, 5), (1, 0, 2), (2, 1, 4)])
    model = train_models(Mean("item", item_damping=0), train)[-1]
    everyone = np.zeros(4, np.int32)
    predictions = model.predict(everyone, np.arange(4, dtype=np.int32))
    np.testing.assert_allclose(predictions, [3.5, 4, 11 / 3, 11 / 3])  # an item without ratings: the mean of all


def test_the_global_term_is_the_mean():
    train = ratings([(0, 0, 5), (1, 0, 2)])
    model = train_models(Mean("global"), train)[-1]
    np.testing.assert_allclose(model.predict(train.users, train.items), 3.5)
