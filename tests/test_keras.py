"""Adam and the network equal Keras, given the same start and batches."""

import numpy as np
import pytest

from mfbench.backends.adam import Adam
from mfbench.backends.mlp import Mlp
from mfbench.matrix.factors import HyperParams, draw_start
from mfbench.matrix.schedule import Shuffled
from mfbench.testing import small_ratings

BATCH = 16  # of 60 ratings: the last batch holds 12
EPOCHS, K = 8, 3


def trained(backend, train, start, alpha):
    """The first and the last model, and the order of each epoch."""
    orders = []

    class Listening(Shuffled):
        def epoch(self, rng):
            drawn = super().epoch(rng)
            orders.append(drawn.positions())
            return drawn

    hyper, schedule = HyperParams(K, alpha, 0.0, EPOCHS, False), Listening(len(train), BATCH)
    first, *_, last = backend.epochs(train, start, hyper, schedule, np.random.default_rng(5))
    return first, last, orders[-EPOCHS:]


@pytest.fixture
def keras(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    keras = pytest.importorskip("keras", reason="keras is not installed: nothing to compare with")
    if keras.backend.backend() != "jax":
        pytest.skip(f"keras was imported before, with the backend {keras.backend.backend()}")
    return keras


def fit(keras, over_embeddings, first, train, orders, alpha):
    """Keras's own training of a model over two embeddings; the trained embeddings."""
    user, item = keras.Input((1,), dtype="int32"), keras.Input((1,), dtype="int32")
    embeddings = [keras.layers.Embedding(n, K) for n in (train.n_users, train.n_items)]
    p, q = (keras.layers.Flatten()(embedding(x)) for embedding, x in zip(embeddings, (user, item), strict=True))
    model = keras.Model([user, item], over_embeddings([p, q]))
    for embedding, table in zip(embeddings, (first.P, first.Q), strict=True):
        embedding.set_weights([table])
    model.compile(optimizer=keras.optimizers.Adam(alpha), loss="mean_squared_error")
    for order in orders:
        x = [train.users[order][:, None], train.items[order][:, None]]
        model.fit(x, train.values[order], batch_size=BATCH, epochs=1, shuffle=False, verbose=0)
    return [embedding.get_weights()[0] for embedding in embeddings]


@pytest.mark.parametrize("alpha", [0.001, 0.01])
def test_adam_has_the_factors_of_keras(keras, alpha):
    train = small_ratings()
    start = draw_start(train, K, {"normal": 0.1}, False, np.random.default_rng(1))
    first, ours, orders = trained(Adam(BATCH), train, start, alpha)
    P, Q = fit(keras, keras.layers.Dot(axes=1), first, train, orders, alpha)
    assert np.abs(ours.P - start.P).max() > 10 * alpha  # it has come some way
    np.testing.assert_allclose(ours.P, P, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours.Q, Q, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("alpha", [0.001, 0.005])
def test_mlp_is_the_network_of_keras(keras, alpha):
    train = small_ratings()
    start = draw_start(train, K, {"uniform": (-0.05, 0.05)}, False, np.random.default_rng(1))
    first, ours, orders = trained(Mlp(BATCH), train, start, alpha)
    dense = [keras.layers.Dense(32, activation="relu"), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1)]

    def network(embedded):
        out = keras.layers.Concatenate()(embedded)
        for layer, weights in zip(dense, first.layers, strict=True):
            out = layer(out)
            layer.set_weights(weights)
        return out

    P, Q = fit(keras, network, first, train, orders, alpha)
    assert np.abs(ours.P - first.P).max() > alpha
    np.testing.assert_allclose(ours.P, P, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.Q, Q, rtol=1e-4, atol=1e-5)
    for (kernel, bias), layer in zip(ours.layers, dense, strict=True):
        np.testing.assert_allclose(kernel, layer.get_weights()[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(bias, layer.get_weights()[1], rtol=1e-4, atol=1e-5)
