"""The update rule of the reference backend: by hand, and against the notebook's formula written down a second time."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mfbench.backends.loop import Loop
from mfbench.matrix.factors import Factors, HyperParams, draw_start
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Rows, Shuffled
from mfbench.testing import BackendContract, train_models

NOTEBOOK = [[5, 3, 0, 1], [4, 0, 0, 1], [1, 1, 0, 5], [1, 0, 0, 4], [0, 1, 5, 4], [2, 1, 3, 0]]


def observed(R):
    R = np.array(R, dtype=np.float32)
    users, items = np.nonzero(R)
    return Ratings(users.astype(np.int32), items.astype(np.int32), R[users, items], *R.shape)


def train(ratings, start, schedule, *, alpha, beta, epochs, bias=False, seed=0):
    hyper = HyperParams(start.P.shape[1], alpha, beta, epochs, bias)
    return list(Loop().epochs(ratings, start, hyper, schedule, np.random.default_rng(seed)))[-1]


def column(*numbers):
    return np.array(numbers, dtype=float)[:, None]


def test_one_epoch_by_hand():
    # alpha 0.1, beta 0.5, the ratings in rows:
    # r = 5 of (0, 0): e = 5 - 1*1 = 4                p0 = 1 + 0.1 (2*4*1 - 0.5*1)             = 1.75
    #                                                 q0 = 1 + 0.1 (2*4*1.75 - 0.5*1)          = 2.35
    # r = 3 of (0, 1): e = 3 - 1.75*0.5 = 2.125       p0 = 1.75 + 0.1 (4.25*0.5 - 0.5*1.75)    = 1.875
    #                                                 q1 = 0.5 + 0.1 (4.25*1.875 - 0.5*0.5)    = 1.271875
    # r = 4 of (1, 0): e = 4 - 2*2.35 = -0.7          p1 = 2 + 0.1 (-1.4*2.35 - 0.5*2)         = 1.571
    #                                                 q0 = 2.35 + 0.1 (-1.4*1.571 - 0.5*2.35)  = 2.01256
    ratings = observed([[5, 3], [4, 0]])
    start = Factors(column(1, 2), column(1, 0.5), np.zeros(2), np.zeros(2), 0.0)
    model = train(ratings, start, Rows(3), alpha=0.1, beta=0.5, epochs=1)
    np.testing.assert_allclose(model.P, column(1.875, 1.571), rtol=1e-15)
    np.testing.assert_allclose(model.Q, column(2.01256, 1.271875), rtol=1e-15)
    assert not model.user_bias.any()


def test_two_epochs_with_mean_and_biases_by_hand():
    # one rating, 5, around the mean 4; alpha 0.1, beta 0.5, p = 1, q = 0.5:
    # e = 5 - 4 - 0.5 = 0.5                  p = 1 + 0.1 (1*0.5 - 0.5*1) = 1       q = 0.5 + 0.1 (1*1 - 0.25) = 0.575
    #                                        both biases 0 + 0.1 (1 - 0) = 0.1
    # e = 5 - 4 - 0.1 - 0.1 - 0.575 = 0.225  p = 1 + 0.1 (0.45*0.575 - 0.5) = 0.975875
    #                                        q = 0.575 + 0.1 (0.45*0.975875 - 0.2875) = 0.590164375
    #                                        both biases 0.1 + 0.1 (0.45 - 0.05) = 0.14
    start = Factors(column(1), column(0.5), np.zeros(1), np.zeros(1), 4.0)
    model = train(observed([[5]]), start, Rows(1), alpha=0.1, beta=0.5, epochs=2, bias=True)
    np.testing.assert_allclose(model.P, column(0.975875), rtol=1e-14)
    np.testing.assert_allclose(model.Q, column(0.590164375), rtol=1e-14)
    np.testing.assert_allclose([model.user_bias[0], model.item_bias[0]], 0.14, rtol=1e-14)
    assert model.mean == 4.0


def notebook(R, P, Q, K, steps, alpha, beta):
    """The well-known `matrix_factorization(R, P, Q, K, steps, alpha, beta)`, Q given and returned as [n_items, K]."""
    P, Q = P.copy(), Q.T.copy()
    for _ in range(steps):
        for i in range(len(R)):
            for j in range(len(R[i])):
                if R[i][j] > 0:
                    eij = R[i][j] - np.dot(P[i, :], Q[:, j])
                    for k in range(K):
                        P[i][k] = P[i][k] + alpha * (2 * eij * Q[k][j] - beta * P[i][k])
                        Q[k][j] = Q[k][j] + alpha * (2 * eij * P[i][k] - beta * Q[k][j])
    return P, Q.T


def test_the_notebook_gives_the_same_factors():
    ratings = observed(NOTEBOOK)
    start = draw_start(ratings, 3, {"uniform": (0, 1)}, False, np.random.default_rng(3))
    P, Q = notebook(NOTEBOOK, start.P, start.Q, 3, 200, 0.002, 0.02)
    model = train(ratings, start, Rows(len(ratings)), alpha=0.002, beta=0.02, epochs=200)
    np.testing.assert_allclose(model.P, P, rtol=1e-12)
    np.testing.assert_allclose(model.Q, Q, rtol=1e-12)


@given(
    cells=st.sets(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1),
    K=st.integers(1, 5),
    seed=st.integers(0, 9),
)
def test_any_matrix_gives_what_the_notebook_gives(cells, K, seed):
    R = np.zeros((4, 4))
    for user, item in cells:
        R[user, item] = 1 + (user + 2 * item) % 5
    ratings = observed(R)
    start = draw_start(ratings, K, {"normal": 0.5}, False, np.random.default_rng(seed))
    P, Q = notebook(R, start.P, start.Q, K, 3, 0.05, 0.1)
    model = train(ratings, start, Rows(len(ratings)), alpha=0.05, beta=0.1, epochs=3)
    np.testing.assert_allclose(model.P, P, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(model.Q, Q, rtol=1e-10, atol=1e-12)


def test_groups_of_a_schedule_make_no_difference():
    ratings = observed(NOTEBOOK)
    start = draw_start(ratings, 2, {"normal": 0.1}, True, np.random.default_rng(0))
    one, other = (train(ratings, start, Shuffled(len(ratings), n), alpha=0.01, beta=0.1, epochs=3) for n in (1, 4))
    np.testing.assert_array_equal(one.P, other.P)


def test_order_decides():
    shuffled: Any
    rows: Any
    shuffled, rows = (train_models(Loop(order), BackendContract.train)[-1] for order in ("shuffled", "rows"))
    assert not np.array_equal(shuffled.P, rows.P)


def test_fixed_biases_count_in_the_error():
    ratings = observed([[5]])
    start = Factors(column(0), column(1), np.array([2.0]), np.array([1.0]), 0.0)
    model = train(ratings, start, Rows(1), alpha=0.1, beta=0.0, epochs=1)
    np.testing.assert_allclose(model.P, column(0.1 * 2 * (5 - 3)))
    assert (model.user_bias[0], model.item_bias[0]) == (2.0, 1.0)
