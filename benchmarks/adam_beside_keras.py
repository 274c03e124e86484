"""An epoch of `adam` and `mlp` beside Keras 3 on JAX, and a step of `adam` beside the memory traffic of a dense Adam step.

    python benchmarks/adam_beside_keras.py [--ratings 1000000] [--model adam mlp] [--batch 5000 512] [--K 8 32] [--rounds 3]

Keras trains two embeddings and their dot product, or its network over them, without biases and penalty; ours have a penalty
too. Each measurement is a process of its own, as JAX reads its settings once; Keras keeps the defaults, and so all cores. The
rounds are interleaved, and the table shows medians. A dense step reads and writes w, m and v of all rows, 24 bytes an
element; the bandwidth is that of adding a number to each element of an array of that size, in compiled code on one core.
Written to `results/adam-beside-keras/`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from mfbench.backends.adam import Adam
from mfbench.backends.mlp import Mlp
from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.core.randomness import generator
from mfbench.core.tables import markdown
from mfbench.data.planted import planted
from mfbench.matrix.compiled import compiled
from mfbench.matrix.factors import HyperParams, draw_start
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Shuffled

USERS, ITEMS, ALPHA, BETA, EPOCHS = 6040, 3706, 0.001, 0.05, 4


def main() -> None:
    """Measure, print and write the table; or, for a process of its own, print the seconds of one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=int, default=1_000_000)
    parser.add_argument("--model", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--batch", type=int, nargs="+", default=[5000, 512])
    parser.add_argument("--K", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=MEASURED, help="one measurement, of the first model, batch size and K")
    given = parser.parse_args()
    if given.only:
        train = planted(USERS, ITEMS, given.ratings, 0, "planted").ratings
        print(MEASURED[given.only](train, given.model[0], given.K[0], given.batch[0]))
        return
    header = [
        "model", "batch", "K", "Keras s", "ours s", "ours / Keras", "in JAX s", "dense step MB", "GB/s", "dense step ms",
        "our step ms", "ours / dense",
    ]  # fmt: skip
    body = []
    for model, batch, K in itertools.product(given.model, given.batch, given.K):
        body.append(line(given.ratings, model, batch, K, given.rounds))
        print(dict(zip(header, body[-1], strict=True)), file=sys.stderr, flush=True)
    table = markdown(header, body)
    text = f"{__doc__.split(chr(10))[0]}\n\n{given.ratings:,} ratings by {USERS:,} users of {ITEMS:,} items.\n\n{table}"
    print(text)
    write_whole(RESULTS / "adam-beside-keras" / "adam-beside-keras.md", text.encode())


def line(ratings: int, model: str, batch: int, K: int, rounds: int) -> list[str]:
    """One line of the table."""
    found: dict[str, list[float]] = {name: [] for name in MEASURED}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XLA_", "PJRT_", "JAX_"))}
    for _ in range(rounds):
        for name, values in found.items():
            words = ["--only", name, "--ratings", ratings, "--model", model, "--batch", batch, "--K", K]
            done = subprocess.run(
                [sys.executable, __file__, *map(str, words)], check=True, capture_output=True, text=True,
                env={**kept, "KERAS_BACKEND": "jax"},
            )  # fmt: skip
            values.append(float(done.stdout.split()[-1]))
    keras, ours, in_jax, bandwidth = (median(found[name]) for name in MEASURED)
    dense = 24 * (USERS + ITEMS) * K
    least, step = dense / bandwidth, ours / -(-ratings // batch)
    return [
        model, f"{batch}", f"{K}", f"{keras:.3f}", f"{ours:.3f}", f"{ours / keras:.2f}", f"{in_jax:.3f}",
        f"{dense / 1e6:.1f}", f"{bandwidth / 1e9:.1f}", f"{1000 * least:.3f}", f"{1000 * step:.3f}", f"{step / least:.2f}",
    ]  # fmt: skip


def of_keras(train: Ratings, model: str, K: int, batch: int) -> float:
    """Seconds of an epoch in Keras."""
    import keras

    ids = [keras.Input((1,), dtype="int32") for _ in range(2)]
    rows = [keras.layers.Flatten()(keras.layers.Embedding(n, K)(one)) for n, one in zip((USERS, ITEMS), ids, strict=True)]
    if model == "adam":
        out = keras.layers.Dot(axes=1)(rows)
    else:
        hidden = keras.layers.Dense(32, activation="relu")(keras.layers.Concatenate()(rows))
        out = keras.layers.Dense(1)(keras.layers.Dense(4, activation="relu")(hidden))
    made = keras.Model(ids, out)
    made.compile(optimizer=keras.optimizers.Adam(ALPHA), loss="mean_squared_error")
    x, y = [train.users[:, None], train.items[:, None]], train.values
    return shortest(lambda: made.fit(x, y, batch_size=batch, epochs=1, shuffle=True, verbose=0))


def ours(train: Ratings, model: str, K: int, batch: int, device: str | None = None) -> float:
    """Seconds of an epoch of the backend."""
    start = draw_start(train, K, {"uniform": (-0.05, 0.05)}, False, generator(0, "start"))
    hyper, schedule = HyperParams(K, ALPHA, BETA, EPOCHS, bias=False), Shuffled(len(train), batch)
    models = BACKENDS[model](batch, device).epochs(train, start, hyper, schedule, generator(0, "order"))
    next(models)
    return shortest(lambda: next(models))


def in_jax(train: Ratings, model: str, K: int, batch: int) -> float:
    """Seconds of an epoch of the backend's JAX form on the CPU."""
    return ours(train, model, K, batch, "cpu")


def bytes_a_second(train: Ratings, model: str, K: int, batch: int) -> float:  # noqa: ARG001
    """The bytes read and written each second by adding to all elements of an array as large as the tables and moments."""
    array = np.zeros(3 * (USERS + ITEMS) * K, np.float32)
    return 50 * 2 * array.nbytes / shortest(lambda: [_add(array, np.float32(1)) for _ in range(50)])


@compiled()
def _add(array: np.ndarray, one: np.float32) -> None:
    for n in range(np.uint64(len(array))):
        array[n] += one


def shortest(epoch: Callable[[], object]) -> float:
    """The least seconds of all calls but the first."""
    seconds = []
    for _ in range(EPOCHS):
        begun = time.perf_counter()
        epoch()
        seconds.append(time.perf_counter() - begun)
    return min(seconds[1:])


BACKENDS: dict[str, Any] = {"adam": Adam, "mlp": Mlp}
MEASURED: dict[str, Callable[[Ratings, str, int, int], float]] = {
    "Keras": of_keras, "ours": ours, "in JAX": in_jax, "bytes a second": bytes_a_second,
}  # fmt: skip

if __name__ == "__main__":
    main()
