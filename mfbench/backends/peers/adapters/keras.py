"""Keras: embeddings and biases trained by its Adam on mini-batches, the model of `adam`, with JAX beneath, on the CPU.

alpha is Adam's learning rate. The loss of a batch is its mean of e² + beta/2 (|p|² + |q|² + user_bias² + item_bias²); a layer
adds the penalty, as Keras's own regularizers would penalize the whole table in every batch. The start is the one that the
spec draws; the order is new in each epoch, from a seed that the harness draws, in mini-batches of batch_size. With bias:
false there are no biases; the mean, with center: true, is fixed. float32.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np


def train(given: SimpleNamespace) -> Iterator[dict[str, Any]]:
    """A Keras model, one `fit` an epoch."""
    os.environ.update(KERAS_BACKEND="jax", KERAS_HOME=".", JAX_PLATFORMS="cpu")
    import keras

    class Penalized(keras.layers.Layer):  # type: ignore[misc]
        def call(self, rows: Any) -> Any:
            self.add_loss(given.beta / 2 * keras.ops.mean(keras.ops.sum(rows * rows, axis=-1)))
            return rows

    keras.utils.clear_session(free_memory=True)
    keras.utils.set_random_seed(given.seed)
    starts = {"P": given.P, "Q": given.Q}
    if given.bias:
        starts |= {"user_bias": given.user_bias[:, None], "item_bias": given.item_bias[:, None]}
    ids = [keras.Input((), dtype="int32") for _ in range(2)]
    tables = {name: keras.layers.Embedding(*start.shape) for name, start in starts.items()}
    rows = {name: Penalized()(table(one)) for (name, table), one in zip(tables.items(), [*ids, *ids], strict=False)}
    out = keras.layers.Dot(axes=1)([rows["P"], rows["Q"]])
    if given.bias:
        out = keras.layers.Add()([out, rows["user_bias"], rows["item_bias"]])
    model = keras.Model(ids, keras.layers.Rescaling(1.0, offset=given.mean)(out))
    for name, start in starts.items():
        tables[name].set_weights([start])
    model.compile(optimizer=keras.optimizers.Adam(given.alpha), loss="mean_squared_error")
    columns, rng = (given.users, given.items), np.random.default_rng(given.seed)
    values = given.values.astype(np.float32)
    nothing = {"user_bias": np.zeros(given.n_users, np.float32), "item_bias": np.zeros(given.n_items, np.float32)}
    yield {}
    for _ in range(given.epochs):
        order = rng.permutation(len(values))
        shuffled = [column[order] for column in columns]
        model.fit(shuffled, values[order], batch_size=given.batch_size, epochs=1, shuffle=False, verbose=0)
        learned = {name: table.get_weights()[0] for name, table in tables.items()}
        biases = {name: learned[name][:, 0] for name in nothing if name in learned}
        yield {**learned, **nothing, **biases, "mean": np.float64(given.mean)}
