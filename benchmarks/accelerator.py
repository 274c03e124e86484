"""What an accelerator gives: speed beside what its memory allows, trials side by side, agreement with the CPU, compile times.

    python benchmarks/accelerator.py [--device gpu] [--ratings 10000000] [--users 70000] [--items 10000] [--epochs 3] [--small]

An update reads and writes a row of P and a row of Q, 16 K bytes in float32, and reads 12 bytes of a rating; the memory limit
is the bandwidth, measured by a copy of a large array, over that; tables that fit a cache are faster. The ratings are
planted. A training is timed by epoch, until its model is there, and the fastest counts; compiling is the time to the first
yield. `against the CPU` is the norm of the difference of the predictions over that of their deviation from the mean, from
the same start and in the same order. Written to `results/accelerator-<device>/`.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mfbench.backends.base import SideBySide, Training
from mfbench.backends.on_device.accelerator import device_named, hardware_of
from mfbench.backends.registry import resolve
from mfbench.core.errors import SpecError
from mfbench.core.files import write_whole
from mfbench.core.paths import RESULTS
from mfbench.core.randomness import generator
from mfbench.core.tables import markdown
from mfbench.data.planted import planted
from mfbench.matrix.factors import HyperParams, draw_start
from mfbench.matrix.ratings import Ratings

ALPHAS = {"jax": 0.005, "adam": 0.002, "mlp": 0.002}
COPIED = 64 * 2**20  # float32 numbers, 256 MB


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default=jax.devices()[0].platform)
    for name, size in (("ratings", 10_000_000), ("users", 70_000), ("items", 10_000), ("epochs", 3), ("batch", 16_384)):
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--small", action="store_true", help="20,000 ratings, for a CPU")
    given = parser.parse_args()
    if given.small:
        given.ratings, given.users, given.items, given.batch, given.epochs = 20_000, 600, 400, 1024, 2
    train = planted(given.users, given.items, given.ratings, 0, "planted").ratings
    bandwidth = bandwidth_of(given.device)
    hardware = hardware_of(given.device)
    parts = [
        f"{hardware['kind']} ({hardware['platform']}), jax {jax.__version__}, copies {bandwidth / 1e9:.0f} GB/s;"
        f" {len(train):,} ratings of {given.users:,} users and {given.items:,} items.",
        "## One training\n\n" + table(training_rows(train, given, bandwidth)),
        "## Trials side by side\n\nMinibatch, K=32.\n\n" + table(side_by_side_rows(train, given)),
    ]
    text = f"# {__doc__.split(chr(10))[0]}\n\n" + "\n\n".join(parts) + "\n"
    print(text)
    device = re.sub(r"[^a-z0-9]+", "-", hardware["kind"].lower()).strip("-")
    write_whole(RESULTS / f"accelerator-{device}" / "accelerator.md", text.encode())


def table(rows: Sequence[dict[str, str]]) -> str:
    """Rows with the same keys as a table."""
    return markdown(list(rows[0]), [list(row.values()) for row in rows])


def bandwidth_of(name: str) -> float:
    """Bytes read and written per second by a copy of a large array."""
    array = jax.device_put(jnp.zeros(COPIED, jnp.float32), device_named(name))
    add = jax.jit(lambda x: x + 1)
    add(array).block_until_ready()
    seconds = []
    for _ in range(10):
        begun = time.perf_counter()
        add(array).block_until_ready()
        seconds.append(time.perf_counter() - begun)
    return 2.0 * int(array.nbytes) / min(seconds)


def training_rows(train: Ratings, given: argparse.Namespace, bandwidth: float) -> list[dict[str, str]]:
    """A row per backend, schedule and K."""
    settings: list[tuple[str, str, dict[str, Any]]] = [
        ("jax", "waves", {"schedule": "waves"}),
        ("jax", "minibatch", {"schedule": "minibatch", "batch_size": given.batch}),
        ("jax", "ring", {"schedule": "ring"}),
        ("adam", "", {"batch_size": given.batch}),
        ("mlp", "", {"batch_size": given.batch}),
        ("als", "", {}),
        ("bmf", "", {}),
    ]
    rows = []
    for name, schedule, options in settings:
        try:
            backend = resolve(name, {**options, "device": given.device})
            host = resolve(name, {**options, "device": "cpu"})
        except SpecError:
            continue  # a schedule that this version lacks
        for K in (32, 128):
            print(name, schedule, K, flush=True)
            compiling, epoch, predicted = trained(backend, train, name, K, given.epochs)
            again = trained(backend, train, name, K, given.epochs)[2]
            speed, limit = len(train) / epoch, bandwidth / (16 * K + 12)
            rows.append(
                {
                    "backend": f"{name} {schedule}".strip(),
                    "K": str(K),
                    "compile s": f"{compiling:.2f}",
                    "epoch s": f"{epoch:.3f}",
                    "M ratings/s": f"{speed / 1e6:.1f}",
                    "of the memory limit": f"{100 * speed / limit:.0f} %" if name == "jax" else "–",
                    "same bits again": "yes" if np.array_equal(predicted, again) else "no",
                    "against the CPU": "–"
                    if given.device == "cpu"
                    else distance(predicted, trained(host, train, name, K, given.epochs)[2]),
                }
            )
    return rows


def distance(predicted: Any, wanted: Any) -> str:
    """The norm of the difference over that of the deviation from the mean."""
    return f"{np.linalg.norm(predicted - wanted) / np.linalg.norm(wanted - wanted.mean()):.1e}"


def trained(backend: Any, train: Ratings, name: str, K: int, epochs: int) -> tuple[float, float, Any]:
    """Seconds of compiling and of the fastest epoch, and the predictions for some ratings after the last."""
    one, arranged = training(backend, train, name, K, 0, epochs)
    begun = time.perf_counter()
    models = backend.epochs(arranged, one.start, one.hyper, one.schedule, one.rng)
    model = next(models)
    compiling, seconds = time.perf_counter() - begun, []
    some = slice(0, 100_000)
    for _ in range(epochs):
        begun = time.perf_counter()
        model = next(models)
        jax.block_until_ready(list(model.arrays().values()))
        seconds.append(time.perf_counter() - begun)
    return compiling, min(seconds), model.predict(train.users[some], train.items[some])


def training(backend: Any, train: Ratings, name: str, K: int, seed: int, epochs: int) -> tuple[Training, Ratings]:
    """A training from a start and in an order of that seed, and the ratings arranged for it."""
    rng = generator(0, "order")
    arranged, schedule = backend.arrange(train, rng)
    start = draw_start(train, K, {"normal": 0.1}, True, generator(seed, "start"))
    alpha = ALPHAS.get(name) if "alpha" in backend.tunable else None
    beta = 0.05 if "beta" in backend.tunable else None
    return Training(start, HyperParams(K, alpha, beta, epochs, True), schedule, rng), arranged


def side_by_side_rows(train: Ratings, given: argparse.Namespace) -> list[dict[str, str]]:
    """A row per number of trials: how much faster than one after another."""
    backend = resolve("jax", {"schedule": "minibatch", "batch_size": given.batch, "device": given.device})
    assert isinstance(backend, SideBySide)
    rows, alone = [], 0.0
    for count in (1, 16, 64):
        print(count, "side by side", flush=True)
        made = [training(backend, train, "jax", 32, seed, given.epochs) for seed in range(count)]
        begun = time.perf_counter()
        models = backend.epochs_many(made[0][1], [one for one, _ in made])
        next(models)
        compiling, seconds = time.perf_counter() - begun, []
        for _ in range(given.epochs):
            begun = time.perf_counter()
            ended = models.send(np.ones(count, bool))
            jax.block_until_ready([list(model.arrays().values()) for model in ended])
            seconds.append(time.perf_counter() - begun)
        alone = alone or min(seconds)
        rows.append(
            {
                "trials": str(count),
                "compile s": f"{compiling:.2f}",
                "epoch s": f"{min(seconds):.3f}",
                "M ratings/s": f"{count * len(train) / min(seconds) / 1e6:.1f}",
                "times one by one": f"{count * alone / min(seconds):.1f}",
            }
        )
    return rows


if __name__ == "__main__":
    main()
