"""The network: against one written down a second time; `test_keras` has it against Keras."""

from dataclasses import replace

import numpy as np
import pytest

from mfbench.backends.mlp import HIDDEN, Mlp, Network
from mfbench.core.errors import RecordError
from mfbench.core.files import write_model
from mfbench.matrix.factors import Factors, HyperParams, draw_start
from mfbench.matrix.schedule import Shuffled
from mfbench.models.scoring import score
from mfbench.models.trained import TrainedModel
from mfbench.testing import small_ratings, train_models

BATCH = 16  # of 60 ratings: the last batch holds 12


def trained(train, start, *, K, alpha, beta, epochs, bias):
    """The first and the last model, and the order of each epoch."""
    orders = []

    class Listening(Shuffled):
        def epoch(self, rng):
            drawn = super().epoch(rng)
            orders.append(drawn.positions())
            return drawn

    hyper, schedule = HyperParams(K, alpha, beta, epochs, bias), Listening(len(train), BATCH)
    first, *_, last = Mlp(BATCH).epochs(train, start, hyper, schedule, np.random.default_rng(5))
    return first, last, orders[-epochs:]


def predicted(w, u, i):
    """All that a batch computes on its way forwards, in float64."""
    x = np.hstack([w["user_embedding"][u], w["item_embedding"][i]])
    a = x @ w["kernel_1"] + w["bias_1"]
    b = np.maximum(a, 0) @ w["kernel_2"] + w["bias_2"]
    c = np.maximum(b, 0) @ w["kernel_3"] + w["bias_3"]
    return x, a, b, w["mean"] + w["user_bias"][u] + w["item_bias"][i] + c[:, 0]


def adam_in_numpy(train, first, orders, alpha, beta, bias):
    """Back-propagation by hand, and Keras's Adam: dense moments, epsilon beside √v before the bias correction."""
    w = {name: np.array(array, dtype=float) for name, array in first.arrays().items()}
    m, v, t = {k: np.zeros_like(x) for k, x in w.items()}, {k: np.zeros_like(x) for k, x in w.items()}, 0
    K = w["user_embedding"].shape[1]
    for order in orders:
        for lo in range(0, len(order), BATCH):
            at, t = order[lo : lo + BATCH], t + 1
            u, i, n = train.users[at], train.items[at], len(at)
            x, a, b, out = predicted(w, u, i)
            g = {name: np.zeros_like(array) for name, array in w.items()}
            dc = -2 * (train.values[at] - out)[:, None] / n
            db = dc @ w["kernel_3"].T * (b > 0)
            da = db @ w["kernel_2"].T * (a > 0)
            dx = da @ w["kernel_1"].T
            for layer, into, d in ((1, x, da), (2, np.maximum(a, 0), db), (3, np.maximum(b, 0), dc)):
                g[f"kernel_{layer}"], g[f"bias_{layer}"] = into.T @ d, d.sum(0)
            np.add.at(g["user_embedding"], u, dx[:, :K] + beta * x[:, :K] / n)
            np.add.at(g["item_embedding"], i, dx[:, K:] + beta * x[:, K:] / n)
            if bias:
                np.add.at(g["user_bias"], u, dc[:, 0] + beta * w["user_bias"][u] / n)
                np.add.at(g["item_bias"], i, dc[:, 0] + beta * w["item_bias"][i] / n)
            for name in w:
                m[name] += 0.1 * (g[name] - m[name])
                v[name] += 0.001 * (g[name] ** 2 - v[name])
                w[name] -= alpha * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m[name] / (np.sqrt(v[name]) + 1e-7)
    return w


@pytest.mark.parametrize(("K", "bias"), [(5, False), (5, True), (1, True)])
def test_training_is_the_one_written_down_a_second_time(K, bias):
    train, epochs = small_ratings(), 3
    start = draw_start(train, K, {"normal": 0.3}, True, np.random.default_rng(1))
    first, last, orders = trained(train, start, K=K, alpha=0.01, beta=0.3, epochs=epochs, bias=bias)
    theirs = adam_in_numpy(train, first, orders, 0.01, 0.3, bias)
    assert np.abs(last.P - first.P).max() > 0.01  # it has come some way
    for name, array in theirs.items():
        np.testing.assert_allclose(last.arrays()[name], array, rtol=1e-4, atol=2e-5, err_msg=name)
    everyone = np.divmod(np.arange(train.n_users * train.n_items, dtype=np.int32), train.n_items)
    ours = {name: np.asarray(array, dtype=float) for name, array in last.arrays().items()}
    np.testing.assert_allclose(last.predict(*everyone), predicted(ours, *everyone)[-1], rtol=1e-12)


def test_the_start_is_that_of_keras():
    train, K = small_ratings(n_users=300, n_items=200, n=3000), 8
    start = draw_start(train, K, {"uniform": (-0.05, 0.05)}, True, np.random.default_rng(1))
    first, _, _ = trained(train, start, K=K, alpha=0.001, beta=0.0, epochs=1, bias=False)
    np.testing.assert_array_equal(first.P, start.P.astype(np.float32))
    np.testing.assert_array_equal(first.Q, start.Q.astype(np.float32))
    sizes = (2 * K, *HIDDEN, 1)
    for (kernel, bias), inputs, outputs in zip(first.layers, sizes, sizes[1:], strict=False):
        limit = np.sqrt(6 / (inputs + outputs))
        assert kernel.shape == (inputs, outputs)
        assert 0.6 * limit < np.abs(kernel).max() <= limit
        assert not bias.any()


@pytest.fixture(scope="module")
def models():
    return train_models(Mlp(batch_size=BATCH), small_ratings(), K=5)


def test_the_embeddings_of_who_has_no_rating_stay_zero(models):
    for model in models:
        assert isinstance(model, Network)
        assert not model.P[-1].any()
        assert not model.Q[-1].any()


def test_its_arrays_do_not_pass_for_factors(models, tmp_path):
    assert Factors.of(models[-1].arrays()) is None
    write_model(tmp_path / "model.npz", models[-1].arrays())
    says = "model is a network and has no factors P and Q; give a run of a factor backend .numba, jax, adam, als, loop.$"
    with pytest.raises(RecordError, match=says):
        TrainedModel.read(tmp_path / "model.npz")


def test_scores_are_those_of_its_predictions(models):
    train = small_ratings()
    e = train.values - models[-1].predict(train.users, train.items)
    assert score(models[-1], train) == pytest.approx((np.sqrt(np.mean(e**2)), np.mean(np.abs(e))), rel=1e-12)


def test_overflow_shows_in_the_predictions(models):
    broken = replace(models[-1], P=np.full_like(models[-1].P, np.nan))
    assert not np.isfinite(broken.predict(np.zeros(1, np.int32), np.zeros(1, np.int32))).any()
