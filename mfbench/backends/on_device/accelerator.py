"""Shared by the JAX backends: the device, the compile cache, the padding of K, and copying tables to and from the device.

JAX compiles a program for each shape, so K is padded to a few sizes and everything else that a sweep varies is passed as
an array: a sweep over K, alpha and beta compiles a handful of programs.
"""

from __future__ import annotations

import copy
import os
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from mfbench.core.machine import OWN_XLA_FLAG

# Set before the import, as JAX reads them once. One thread for each CPU device: the steps are so short that a second one slows
# them down.
# No preallocation of memory: several processes may share a device. And no fused multiply-add, which comes with AVX2: where
# XLA uses it depends on the whole program, so the last bit of a trial would depend on the trials beside it (doing without
# costs about a third of the speed).
os.environ.setdefault("PJRT_NPROC", os.environ.get("JAX_NUM_CPU_DEVICES", "1"))
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
if platform.machine() in ("x86_64", "AMD64") and "xla_cpu_max_isa" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {OWN_XLA_FLAG}".strip()

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from mfbench.backends.base import Model, SideBySideTraining, Training
from mfbench.core.arrays import Array
from mfbench.core.errors import SpecError
from mfbench.matrix.factors import Factors, HyperParams
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Epoch, Schedule

PLATFORMS = ("cpu", "gpu", "tpu")
PADDED_SIZES = (4, 8, 16, 32, 64, 96, 128)
CACHE_BYTES = 1 << 30
DRIVER = Path("/sys/module/nvidia/version")


class OnDevice:
    """Base class of backends that compute on the JAX device named by their `device` knob."""

    device: str | None

    @property
    def accelerated(self) -> bool:
        """Whether the device is not a CPU."""
        return bool(device_named(self.device).platform != "cpu")

    @property
    def hardware(self) -> dict[str, str]:
        """See `hardware_of`."""
        return hardware_of(self.device)

    @property
    def exact(self) -> bool:
        """Whether two runs give the same bits: only on a CPU; elsewhere additions to the same row have no fixed order."""
        return not self.accelerated


class SideBySideOnDevice(OnDevice, ABC):
    """Base class of backends that train trials side by side: implements `epochs` by `epochs_many` with one trial."""

    def epochs(
        self, train: Ratings, start: Factors, hyper: HyperParams, schedule: Schedule, rng: np.random.Generator
    ) -> Iterator[Model]:
        """Yield the start once compiled, then a model after each epoch; overflow shows as inf or nan."""
        for (model,) in self.epochs_many(train, [Training(start, hyper, schedule, rng)]):
            yield model

    @abstractmethod
    def epochs_many(self, train: Ratings, trainings: Sequence[Training]) -> SideBySideTraining:
        """Train all trials in one program, see `backends.base.SideBySide`."""


def padded(K: int) -> int:
    """The number of columns that K factors are stored in: 4, 8, 16, 32, 64, 96, 128, or a multiple of 64.

    The columns beyond K are zero and stay zero: their gradient is 2 e q - beta p = 0 as long as both are zero, and
    Adam's moments of a gradient that was always zero are zero.
    """
    return next((size for size in PADDED_SIZES if size >= K), -(-K // 64) * 64)


def device_named(name: str | None) -> Any:
    """The JAX device `cpu`, `gpu`, `tpu` or e.g. `gpu:1`; None for the best available. SpecError if there is none."""
    if name is None:
        return jax.devices()[0]
    there = _devices()
    device = there.get(name if ":" in name else f"{name}:0")
    if device is None:
        raise SpecError(f"device: {name!r} is not on this machine; choose from {', '.join(there)}")
    return device


def hardware_of(name: str | None) -> dict[str, str]:
    """The platform and kind of a device and, unless it is a CPU, its runtime, driver and libraries."""
    device = device_named(name)
    found = {"platform": str(device.platform), "kind": str(device.device_kind)}
    if device.platform == "cpu":
        return found
    found["runtime"] = " ".join(str(device.client.platform_version).split())
    if DRIVER.exists():
        found["driver"] = DRIVER.read_text().strip()
    libraries = {one.name: one.version for one in distributions() if one.name.startswith(("jax-", "nvidia-", "libtpu"))}
    return found | dict(sorted(libraries.items()))


def devices() -> dict[str, str]:
    """The kind of each device that JAX sees, by the name that the `device` knob takes."""
    return {name: device.device_kind for name, device in _devices().items()}


def _devices() -> dict[str, Any]:
    found = {}
    for kind in PLATFORMS:
        try:
            found.update({f"{kind}:{n}": device for n, device in enumerate(jax.devices(kind))})
        except RuntimeError:  # how JAX says that it has no such platform
            continue
    return found


@cache
def use_compile_cache() -> None:
    """Cache compiled programs in `$MFBENCH_CACHE/jax` (default ~/.cache/mfbench/jax), for later processes.

    A cache folder that the user has set for JAX takes precedence; if ours is not writable, there is no cache. JAX locks the
    folder only if its size is limited, and concurrent workers need the lock, as JAX writes the files in place.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        return
    folder = Path(os.environ.get("MFBENCH_CACHE") or Path.home() / ".cache" / "mfbench") / "jax"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_compilation_cache_dir", str(folder))


def ratings_on(device: Any, train: Ratings, dtype: str, beyond: int = 0) -> tuple[Any, Any, Any]:
    """users, items (int32) and values (of `dtype`) on the device, all [n + beyond], zero beyond n."""

    def column(values: Array, kind: str) -> Any:
        padded = np.zeros(len(values) + beyond, kind)
        padded[: len(values)] = values
        return jax.device_put(padded, device)

    return column(train.users, "int32"), column(train.items, "int32"), column(train.values, dtype)


def tables_on(device: Any, trainings: Sequence[Training], dtype: str) -> tuple[Any, Any, Any, Any]:
    """Copies of P, Q (padded to the largest K), user_bias and item_bias on the device, with a leading axis of trials."""
    starts = [one.start for one in trainings]
    width = max(padded(start.P.shape[1]) for start in starts)

    def stacked(name: str) -> Any:
        tables = [getattr(start, name) for start in starts]
        wide = np.zeros((len(tables), *tables[0].shape[:1], *((width,) if tables[0].ndim == 2 else ())), dtype)
        for trial, table in zip(wide, tables, strict=True):
            trial[..., : table.shape[-1]] = table
        return jax.device_put(wide, device)

    return stacked("P"), stacked("Q"), stacked("user_bias"), stacked("item_bias")


def side_by_side(
    run: Callable[[Any, int, Array], tuple[Any, ...]], trainings: Sequence[Training], width: int, dtype: str
) -> SideBySideTraining:
    """The loop of `epochs_many`.

    run(epochs, groups, values) runs the first `groups` groups of packed epochs and returns the tables of all trials: P, Q,
    user_bias and item_bias with a leading axis of trials. values: [trials, 5], the step size of the epoch, beta, mean, K,
    and 0 in the first epoch, 1 in the others. A trial that has ended gets a step size of 0.
    """

    def told(number: int, going: npt.NDArray[np.bool_] | None = None) -> Array:
        given = [
            (one.hyper.rate(number), one.hyper.beta, one.start.mean, one.start.P.shape[1], number > 0) for one in trainings
        ]
        columns = np.array(given, dtype)
        columns[:, 0] *= 1 if going is None else going
        return columns

    def epochs(draws: Sequence[np.random.Generator]) -> tuple[Any, int]:
        drawn = [one.schedule.epoch(rng) for one, rng in zip(trainings, draws, strict=True)]
        return jax.tree.map(lambda *one: np.stack(one), *(packed(epoch, width) for epoch in drawn)), len(drawn[0])

    def factors(tables: tuple[Any, ...], j: int) -> Factors:
        # Copy them, as the next epoch overwrites the tables on the device.
        P, Q, user_bias, item_bias = (np.asarray(table)[j] for table in tables)
        start = trainings[j].start
        K = start.P.shape[1]
        return Factors(P[:, :K].copy(), Q[:, :K].copy(), user_bias.copy(), item_bias.copy(), start.mean)

    rngs = [one.rng for one in trainings]
    first, _ = epochs(copy.deepcopy(rngs))
    tables = run(first, 0, told(0))  # compiles for the shapes to come, and changes nothing
    models: list[Model] = [factors(tables, j) for j in range(len(trainings))]
    going = yield models
    for number in range(trainings[0].hyper.epochs):
        tables = run(*epochs(rngs), told(number, going))
        models = [models[j] if going is not None and not going[j] else factors(tables, j) for j in range(len(trainings))]
        going = yield models


def in_turn(runs: Sequence[Iterator[Model]], epochs: int) -> SideBySideTraining:
    """The loop of `epochs_many` where each training has a program of its own."""
    models = [next(run) for run in runs]
    going = yield models
    for _ in range(epochs):
        models = [one if going is not None and not going[j] else next(runs[j]) for j, one in enumerate(models)]
        going = yield models


def widest(trainings: Sequence[Training]) -> int:
    """The size of the largest group in an epoch of any trial."""
    drawn = [one.schedule.epoch(copy.deepcopy(one.rng)) for one in trainings]
    return max(int(np.diff(epoch.offsets).max(initial=1)) for epoch in drawn)


def dot(p: Any, q: Any) -> Any:
    """p·q of each row, [n], summed in a fixed order: XLA's order depends on the whole program, and so on the other trials."""
    K = p.shape[1]
    terms = jnp.pad(p * q, ((0, 0), (0, (1 << (K - 1).bit_length()) - K)))
    while terms.shape[1] > 1:
        half = terms.shape[1] // 2
        terms = terms[:, :half] + terms[:, half:]
    return terms[:, 0]


def packed(epoch: Epoch, width: int) -> tuple[Array | None, Array, Array]:
    """The epoch as int32 arrays: order [n + width] (None if it has none), sequence [groups], offsets [groups + 1].

    A program reads `width` positions, the size of the largest group, from each offset on. Those beyond the end of the group
    belong to the next group or to the zeros at the end: valid positions, which must be given no weight.
    """
    order = epoch.order
    if order is not None:
        order = np.concatenate([order, np.zeros(width, np.int32)]).astype(np.int32)
    return order, epoch.sequence.astype(np.int32), epoch.offsets.astype(np.int32)
