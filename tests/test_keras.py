"""Adam and the network equal Keras, given the same start and batches: its gradients, its optimizer, its dense layers."""

from typing import Any

import numpy as np
import pytest

from mfbench.backends.adam import Adam
from mfbench.backends.mlp import Mlp
from mfbench.matrix.factors import HyperParams, draw_start
from mfbench.matrix.schedule import Shuffled
from mfbench.testing import small_ratings

BATCH = 16  # of 60 ratings: the last batch holds 12
EPOCHS = 8
TRAIN = small_ratings()

CASES = [(3, 0.001, 0.0, False), (5, 0.005, 0.3, False), (1, 0.01, 0.3, True), (5, 0.01, 0.3, True)]
each_case = pytest.mark.parametrize(("K", "alpha", "beta", "bias"), CASES)
each_form = pytest.mark.parametrize("device", [None, "cpu"], ids=["compiled", "in JAX"])


def trained(backend, start, alpha, beta, bias):
    """The first and the last model, and the order of each epoch."""
    orders = []

    class Listening(Shuffled):
        def epoch(self, rng):
            drawn = super().epoch(rng)
            orders.append(drawn.positions())
            return drawn

    hyper, schedule = HyperParams(start.P.shape[1], alpha, beta, EPOCHS, bias), Listening(len(TRAIN), BATCH)
    first, *_, last = backend.epochs(TRAIN, start, hyper, schedule, np.random.default_rng(5))
    return first, last, orders[-EPOCHS:]


@pytest.fixture
def keras(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    keras = pytest.importorskip("keras", reason="keras is not installed: nothing to compare with")
    if keras.backend.backend() != "jax":
        pytest.skip(f"keras was imported before, with the backend {keras.backend.backend()}")
    return keras


def fit(keras, over_embeddings, first, orders, alpha, beta, bias):
    """Keras's own training of a model over two embeddings, and over biases where they are learned; the trained arrays."""

    def call(self, rows):
        self.add_loss(beta / 2 * keras.ops.mean(keras.ops.sum(rows * rows, axis=-1)))
        return rows

    penalised: Any = type("Penalised", (keras.layers.Layer,), {"call": call})
    ids = [keras.Input((1,), dtype="int32") for _ in range(2)]
    starts = {"P": first.P, "Q": first.Q, "user_bias": first.user_bias[:, None], "item_bias": first.item_bias[:, None]}
    tables = {name: keras.layers.Embedding(*table.shape) for name, table in starts.items()}
    rows = {
        name: penalised()(keras.layers.Flatten()(table(one)))
        for (name, table), one in zip(tables.items(), [*ids, *ids], strict=True)
        if bias or not name.endswith("bias")
    }
    out = over_embeddings([rows["P"], rows["Q"]])
    out = keras.layers.Add()([out, rows["user_bias"], rows["item_bias"]]) if bias else out
    model = keras.Model(ids, keras.layers.Rescaling(1.0, offset=first.mean)(out))
    for name in rows:
        tables[name].set_weights([starts[name]])
    model.compile(optimizer=keras.optimizers.Adam(alpha), loss="mean_squared_error")
    for order in orders:
        x = [TRAIN.users[order][:, None], TRAIN.items[order][:, None]]
        model.fit(x, TRAIN.values[order], batch_size=BATCH, epochs=1, shuffle=False, verbose=0)
    return {name: tables[name].get_weights()[0].reshape(getattr(first, name).shape) for name in rows}


def assert_the_same(ours, theirs):
    for name, table in theirs.items():
        np.testing.assert_allclose(getattr(ours, name), table, rtol=1e-4, atol=2e-5, err_msg=name)


@each_form
@each_case
def test_adam_is_that_of_keras(keras, device, K, alpha, beta, bias):
    start = draw_start(TRAIN, K, {"normal": 0.3}, bias, np.random.default_rng(1))
    first, ours, orders = trained(Adam(BATCH, device), start, alpha, beta, bias)
    assert np.abs(ours.P - start.P).max() > 5 * alpha  # it has come some way
    assert_the_same(ours, fit(keras, keras.layers.Dot(axes=1), first, orders, alpha, beta, bias))


@each_form
@each_case
def test_mlp_is_the_network_of_keras(keras, device, K, alpha, beta, bias):
    start = draw_start(TRAIN, K, {"uniform": (-0.05, 0.05)}, bias, np.random.default_rng(1))
    first, ours, orders = trained(Mlp(BATCH, device), start, alpha, beta, bias)
    dense = [keras.layers.Dense(32, activation="relu"), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1)]

    def network(embedded):
        out = keras.layers.Concatenate()(embedded)
        for layer, weights in zip(dense, first.layers, strict=True):
            out = layer(out)
            layer.set_weights(weights)
        return out

    theirs = fit(keras, network, first, orders, alpha, beta, bias)
    assert np.abs(ours.P - first.P).max() > alpha
    assert_the_same(ours, theirs)
    for pair, layer in zip(ours.layers, dense, strict=True):
        for array, weights in zip(pair, layer.get_weights(), strict=True):
            np.testing.assert_allclose(array, weights, rtol=1e-4, atol=2e-5)
