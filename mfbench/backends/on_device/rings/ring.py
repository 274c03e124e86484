"""One training over several devices and processes: distributed SGD on a ring.

Users and items are divided into D parts each; block (a, b) has the ratings of user part a and item part b. In step s of an
epoch, s = 0 ... D - 1, the blocks (a, a + s mod D) are trained, which share no user and no item (Gemulla et al., *Large-scale
matrix factorization with distributed stochastic gradient descent*, KDD 2011). Device d of n keeps L = D / n user parts and
the ratings of these users. It also has the L item parts of its current blocks: after a step it passes the first of them on to
device d - 1 and gets the next one from device d + 1, so after D steps all are back. What is computed for a block depends
neither on the number of devices nor on that of processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding

from mfbench.backends.base import Training
from mfbench.backends.on_device.accelerator import padded, use_compile_cache
from mfbench.backends.on_device.rings.layout import Layout
from mfbench.backends.on_device.rings.programs import (
    AXIS,
    CHUNK,
    SPREAD,
    Tables,
    epoch_on_ring,
    sent_to_all,
    sums_on_ring,
)  # fmt: skip
from mfbench.core.arrays import Array, Floats, Floats64, Ints, Positions
from mfbench.core.errors import SpecError, WorkError
from mfbench.core.files import load_model_arrays, write_model
from mfbench.matrix.factors import Factors
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Ring
from mfbench.matrix.steps import Adaptive, accumulators

GATHERED = 1 << 26
"""Bytes of a table that all devices are sent at once where it is gathered."""


def train_on_ring(
    train: Ratings, training: Training, platform: str, dtype: str, width: int, done: int = 0, folder: Path | None = None
) -> Iterator[RingModel]:
    """Yield the start once compiled, then a model after each epoch.

    train: sorted by block. width: of the widest wave. done, folder: to go on after that many epochs, from what the model of
    the last one saved there.
    """
    use_compile_cache()
    hyper, start, schedule = training.hyper, training.start, training.schedule
    assert isinstance(schedule, Ring)
    ring = Devices(train, schedule, platform, dtype, start.P.shape[1], width)
    adaptive = Adaptive.of(train) if hyper.step == "adagrad" else None
    tables = ring.tables_of(start, adaptive is not None) if folder is None else ring.saved(folder)

    def trained(tables: Tables, sequence: Positions, number: int, n_steps: int = schedule.parts) -> Tables:
        told = np.array([hyper.rate(number), hyper.beta, start.mean, start.P.shape[1], number > 0], dtype)
        with ring.computing():
            program = partial(epoch_on_ring, mesh=ring.mesh, width=width, bias=hyper.bias, adaptive=adaptive)
            # Of several CPU devices in one process, epochs that wait in a queue can block each other.
            return jax.block_until_ready(program(tables, *ring.on_them, ring.sequences(sequence), told, n_steps))  # type: ignore[no-any-return]

    trained(tables, np.arange(len(schedule.offsets) - 1), done, n_steps=0)  # compiles, and changes nothing
    model = RingModel(ring, tables, start.mean)
    model.score(train)  # likewise
    for _ in range(done):
        schedule.epoch(training.rng)
    yield model
    for number in range(done, hyper.epochs):
        tables = trained(tables, schedule.epoch(training.rng).sequence, number)
        yield RingModel(ring, tables, start.mean)


class Devices:
    """The devices of a training and what lies on them all the time: the ratings, and the waves of each block.

    on_them: users, items and values of the ratings [devices, n], the offsets of the waves [devices, waves + 1], and the first
    wave of each block [devices, parts · held + 1], all for `epoch_on_ring`. platform: cpu, gpu or tpu.
    """

    def __init__(self, train: Ratings, schedule: Ring, platform: str, dtype: str, K: int, width: int) -> None:
        devices, at = _devices(platform, schedule.parts), schedule.offsets[schedule.blocks]
        self.mesh = Mesh(np.array(devices), (AXIS,))
        self.layout = Layout.of(train, at, schedule.parts, len(devices))
        self.dtype, self.K = dtype, K
        self._beyond = max(width, CHUNK)  # positions that a step may read after the last rating
        sizes = np.diff(schedule.offsets)
        self._waves, bounds = zip(*(self.layout.on_device(d, schedule.blocks) for d in range(len(devices))), strict=True)
        self._n_waves = int(max(one[-1] for one in bounds))
        with self.computing():
            columns, by_block = self._placed(train, at)
            offsets = [np.cumsum(np.concatenate([[0], *(sizes[one] for one in slices)])) for slices in self._waves]
            self.on_them = columns, (self._padded(offsets, self._n_waves + 1), self._padded(bounds))
        self._scored: dict[int, tuple[Ratings, Any]] = {id(train): (train, (columns, by_block))}

    @contextmanager
    def computing(self) -> Iterator[None]:
        """In the block JAX computes in `dtype`; WorkError if another process has ended. No generator may yield in it."""
        try:
            with jax.enable_x64(self.dtype == "float64"):
                yield
        except jax.errors.JaxRuntimeError as error:
            if jax.process_count() == 1:
                raise
            why = " ".join(str(error).split())[:120]
            raise WorkError(f"another process of this training has ended ({why}); rerun the command to go on") from None

    # --- tables ------------------------------------------------------------------------------------------------------

    def tables_of(self, start: Factors, adagrad: bool) -> Tables:
        """The tables of a start, K padded as in `accelerator.padded`."""
        of_users = {"P": start.P, "user_bias": start.user_bias}
        of_items = {"Q": start.Q, "item_bias": start.item_bias}
        if adagrad:
            of_users["G_user"], of_items["G_item"] = (accumulators(len(one), self.dtype) for one in (start.P, start.Q))
        widths = {"P": (padded(self.K),), "Q": (padded(self.K),), "G_user": (3,), "G_item": (3,)}
        # A step of 0 may read any row, also one that a part lacks; there 1 / √G must be finite.
        return {
            name: self._spread(
                self.layout.parts,
                partial(side.table, whole, width=widths.get(name, ()), dtype=self.dtype, beyond=int(name[:2] == "G_")),
            )
            for side, tables in ((self.layout.users, of_users), (self.layout.items, of_items))
            for name, whole in tables.items()
        }

    def saved(self, folder: Path) -> Tables:
        """The tables that a model has saved; of each part its own file."""
        held = self.layout.held
        mine = [part for d, _ in self._own for part in range(d * held, (d + 1) * held)]
        files = {part: load_model_arrays(_file(folder, part)) for part in mine}
        names = next(iter(files.values()))
        return {name: self._spread(self.layout.parts, lambda part, name=name: files[part][name]) for name in names}  # type: ignore[misc]

    def gathered(self, table: Any) -> Array:
        """The whole table [parts, rows, ...] in the memory of each process."""
        if jax.process_count() == 1:
            return np.asarray(table)
        rows = table.shape[1]
        whole = np.empty(table.shape, table.dtype)
        n = max(1, min(rows, GATHERED // (table.nbytes // rows)))
        for first in range(0, rows, n):
            first = min(first, rows - n)
            with self.computing():
                whole[:, first : first + n] = np.asarray(sent_to_all(table, first, n=n, mesh=self.mesh))
        return whole

    # --- ratings -----------------------------------------------------------------------------------------------------

    def sequences(self, sequence: Positions) -> Any:
        """int32 [devices, waves]: the sequence of waves of an epoch, for each device in its own numbering."""
        own = []
        for slices in self._waves:
            starts = np.cumsum([0, *(one.stop - one.start for one in slices)])
            own.append(np.concatenate([sequence[one] - one.start + at for one, at in zip(slices, starts[:-1], strict=True)]))
        return self._padded(own, self._n_waves)

    def placed(self, ratings: Ratings) -> Any:
        """These ratings on the devices, for `sums_on_ring`; kept there."""
        if id(ratings) not in self._scored:
            self._scored[id(ratings)] = ratings, self._placed(*self.layout.by_block(ratings))
        return self._scored[id(ratings)][1]

    def _placed(self, ratings: Ratings, at: Positions) -> tuple[tuple[Any, ...], Any]:
        slices, bounds = zip(*(self.layout.on_device(d, at) for d in range(self.layout.devices)), strict=True)
        n = int(max(one[-1] for one in bounds)) + self._beyond
        columns = {d: self.layout.columns(ratings, slices[d]) for d, _ in self._own}
        kinds = ("int32", "int32", self.dtype)
        placed = (self._padded({d: one[c] for d, one in columns.items()}, n, kind) for c, kind in enumerate(kinds))
        return tuple(placed), self._padded(bounds)

    def _padded(self, arrays: Any, length: int | None = None, dtype: str = "int32") -> Any:
        """[devices, length]: one array for each device, with zeros at its end."""

        def fill(device: int) -> Array:
            row = np.zeros(len(arrays[device]) if length is None else length, dtype)
            row[: len(arrays[device])] = arrays[device]
            return row

        return self._spread(self.layout.devices, fill)

    @property
    def _own(self) -> list[tuple[int, Any]]:
        """The devices of this process, with their numbers."""
        return [(d, one) for d, one in enumerate(self.mesh.devices) if one.process_index == jax.process_index()]

    def _spread(self, count: int, fill: Callable[[int], Array]) -> Any:
        """The array whose row r, of `count`, is fill(r), the rows spread over the devices; it is called for those here."""
        n = count // self.layout.devices
        with self.computing():
            shards = [jax.device_put(np.stack([fill(d * n + r) for r in range(n)]), device) for d, device in self._own]
            sharding = NamedSharding(self.mesh, SPREAD)
            return jax.make_array_from_single_device_arrays((count, *shards[0].shape[1:]), sharding, shards)


@dataclass(frozen=True)
class RingModel:
    """A factor model whose tables lie spread over devices and processes. All processes call its methods alike."""

    ring: Devices
    tables: Tables
    mean: float

    def score(self, ratings: Ratings) -> tuple[float, float]:
        """RMSE and MAE over n > 0 ratings: each device predicts those of its users, while the parts of the items go round."""
        columns, bounds = self.ring.placed(ratings)
        tables = {name: table for name, table in self.tables.items() if not name.startswith("G_")}
        with self.ring.computing(), jax.enable_x64(True), np.errstate(over="ignore", invalid="ignore"):
            sums = np.asarray(sums_on_ring(tables, columns, bounds, np.float64(self.mean), mesh=self.ring.mesh))
            squared, absolute = sums.reshape(-1, 2).sum(axis=0) / len(ratings)
        return math.sqrt(squared), float(absolute)

    def gathered(self) -> Factors:
        """The whole model, in the memory of each process."""
        return self._factors

    @cached_property
    def _factors(self) -> Factors:
        layout, K = self.ring.layout, self.ring.K
        P, Q, user_bias, item_bias = (
            side.whole(self.ring.gathered(self.tables[name]))
            for side, name in (
                (layout.users, "P"), (layout.items, "Q"), (layout.users, "user_bias"), (layout.items, "item_bias")
            )
        )  # fmt: skip
        return Factors(P[:, :K].copy(), Q[:, :K].copy(), user_bias, item_bias, self.mean)

    def predict(self, users: Ints, items: Ints) -> Floats64:
        """float64 [n]: the prediction for each pair of indices."""
        return self.gathered().predict(users, items)

    def arrays(self) -> dict[str, Floats]:
        """The arrays of the whole model."""
        return self.gathered().arrays()

    def save(self, folder: Path) -> None:
        """Write the parts that lie in this process, each into a file; return when all processes have."""
        files: dict[int, dict[str, Array]] = {}
        for name, table in self.tables.items():
            for shard in table.addressable_shards:
                first = shard.index[0].start or 0
                for part, one in enumerate(np.asarray(shard.data), first):
                    files.setdefault(part, {})[name] = one
        for part, arrays in files.items():
            write_model(_file(folder, part), arrays)
        if jax.process_count() > 1:
            with self.ring.computing():
                multihost_utils.sync_global_devices("saved")


def _file(folder: Path, part: int) -> Path:
    return folder / f"part-{part:04d}.npz"


def _devices(platform: str, parts: int) -> list[Any]:
    """As many devices as divide the number of parts, of one process; of several all, or SpecError."""
    there: list[Any] = jax.devices(platform)
    n = next(n for n in range(min(len(there), parts), 0, -1) if parts % n == 0)
    if jax.process_count() > 1 and n < len(there):
        raise SpecError(
            f"model.options.jax.parts: {parts} parts cannot be divided among the {len(there)} devices of"
            f" {jax.process_count()} processes; set it to a multiple of {len(there)}"
        )
    return there[:n]
