"""The network as a model: its start, its predictions, its file. `test_keras` has its training against Keras."""

from typing import Any

import numpy as np
import pytest

from mfbench.backends.embeddings.network import HIDDEN, Network
from mfbench.backends.mlp import Mlp
from mfbench.core.errors import RecordError
from mfbench.core.files import write_model
from mfbench.matrix.factors import Factors, digest_of, draw_start
from mfbench.models.trained import TrainedModel
from mfbench.testing import small_ratings, train_models


def test_the_start_is_that_of_keras():
    train, K = small_ratings(n_users=300, n_items=200, n=3000), 8
    start = draw_start(train, K, {"normal": 0.1}, True, np.random.default_rng(0))
    first: Any = train_models(Mlp(), train, K=K, epochs=1)[0]
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
    return train_models(Mlp(batch_size=16), small_ratings(), K=5)


def test_a_prediction_is_what_the_layers_make_of_both_embeddings_in_float64(models):
    users, items = np.divmod(np.arange(12 * 9, dtype=np.int32), 9)
    one = models[-1]
    out = np.hstack([one.P[users], one.Q[items]]).astype(float)
    for n, (kernel, bias) in enumerate(one.layers):
        out = (np.maximum(out, 0) if n else out) @ kernel.astype(float) + bias
    expected = one.mean + one.user_bias[users].astype(float) + one.item_bias[items] + out[:, 0]
    np.testing.assert_allclose(one.predict(users, items), expected, rtol=1e-12)


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
        TrainedModel.read(tmp_path / "model.npz", digest_of(models[-1].arrays()))
