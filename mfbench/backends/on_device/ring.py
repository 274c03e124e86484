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
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mfbench.backends.base import Training
from mfbench.backends.on_device.accelerator import dot, padded, use_compile_cache
from mfbench.backends.on_device.layout import Layout
from mfbench.backends.on_device.sgd import sgd_epoch
from mfbench.core.arrays import Array, Floats, Floats64, Ints, Positions
from mfbench.core.errors import SpecError, WorkError
from mfbench.core.files import load_model_arrays, write_model
from mfbench.matrix.factors import Factors
from mfbench.matrix.ratings import Ratings
from mfbench.matrix.schedule import Ring
from mfbench.matrix.steps import Adaptive, accumulators

AXIS = "ring"
SPREAD, EVERYWHERE = PartitionSpec(AXIS), PartitionSpec()
CHUNK = 1024
"""Ratings that are scored at once."""
GATHERED = 1 << 26
"""Bytes of a table that all devices are sent at once where it is gathered."""
OF_ITEMS = ("Q", "item_bias", "G_item")

Tables = dict[str, Any]
"""P, Q, user_bias and item_bias, for adagrad also G_user and G_item: [parts, rows of a part, ...], spread over the devices."""


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
            program = partial(_epoch, mesh=ring.mesh, width=width, bias=hyper.bias, adaptive=adaptive)
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
    wave of each block [devices, parts · held + 1], all for `_epoch`. platform: cpu, gpu or tpu.
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
                whole[:, first : first + n] = np.asarray(_sent_to_all(table, first, n=n, mesh=self.mesh))
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
        """These ratings on the devices, for `_sums`; kept there."""
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
            sums = np.asarray(_sums(tables, columns, bounds, np.float64(self.mean), mesh=self.ring.mesh))
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


# --- the programs ----------------------------------------------------------------------------------------------------


@partial(jax.jit, static_argnames=("mesh", "width", "bias", "adaptive"))
def _epoch(
    tables: Tables, ratings: Any, waves: Any, sequence: Any, told: Any, n_steps: Any,
    *, mesh: Mesh, width: int, bias: bool, adaptive: Adaptive | None,
) -> Tables:  # fmt: skip
    """The tables after the first `n_steps` steps of an epoch."""

    def on_device(tables: Tables, ratings: Any, waves: Any, sequence: Any, told: Any, n_steps: Any) -> Tables:
        columns, (offsets, bounds), sequence = jax.tree.map(lambda one: one[0], (ratings, waves, sequence))
        held = tables["P"].shape[0]

        def step(s: Any, tables: Tables) -> Tables:
            state: Any = tuple(tables[name] for name in ("P", "Q", "user_bias", "item_bias")), (), ()
            if adaptive is not None:
                state = (*state[:2], (tables["G_user"], tables["G_item"]))
            first, end = bounds[s * held], bounds[(s + 1) * held]
            state = sgd_epoch(
                state, columns, (None, sequence, offsets), end, told,
                width=width, bias=bias, exact=True, adaptive=adaptive, first=first,
            )  # fmt: skip
            trained = dict(zip(("P", "Q", "user_bias", "item_bias"), state[0], strict=True))
            trained |= dict(zip(("G_user", "G_item"), state[2], strict=False))
            return _passed_on(trained, s % held, held, mesh.size)

        return _stacked(lax.fori_loop(0, n_steps, step, _flat(tables)), held)

    places = (SPREAD, SPREAD, SPREAD, SPREAD, EVERYWHERE, EVERYWHERE)
    program = jax.shard_map(on_device, mesh=mesh, in_specs=places, out_specs=SPREAD, check_vma=False)
    return program(tables, ratings, waves, sequence, told, n_steps)  # type: ignore[no-any-return]


@partial(jax.jit, static_argnames="mesh")
def _sums(tables: Tables, ratings: Any, bounds: Any, mean: Any, *, mesh: Mesh) -> Any:
    """float64 [user parts, steps, 2], everywhere: Σ e² and Σ |e| of each block, in a fixed order."""

    def on_device(tables: Tables, ratings: Any, bounds: Any, mean: Any) -> Any:
        columns, bounds = jax.tree.map(lambda one: one[0], (ratings, bounds))
        held = tables["P"].shape[0]
        steps = (len(bounds) - 1) // held

        def block(g: Any, tables: Tables) -> Any:
            first, end = bounds[g], bounds[g + 1]

            def chunk(n: Any, sums: Any) -> Any:
                lo = first + n * CHUNK
                u, i, r = (lax.dynamic_slice_in_dim(column, lo, CHUNK) for column in columns)
                p, q, b_u, b_i = (
                    tables[name][at].astype(jnp.float64)
                    for name, at in (("P", u), ("Q", i), ("user_bias", u), ("item_bias", i))
                )
                e = jnp.where(lo + jnp.arange(CHUNK) < end, r - (mean + b_u + b_i + dot(p, q)), 0)
                return sums + jnp.stack([dot(one[None], jnp.ones_like(one)[None])[0] for one in (e * e, jnp.abs(e))])

            return lax.fori_loop(0, (end - first + CHUNK - 1) // CHUNK, chunk, jnp.zeros(2, jnp.float64))

        def step(carried: Any, s: Any) -> Any:
            sums = lax.map(lambda own: block(s * held + own, carried), jnp.arange(held))
            return _passed_on(carried, s % held, held, mesh.size), sums

        _, sums = lax.scan(step, _flat(tables), jnp.arange(steps))
        return lax.all_gather(jnp.swapaxes(sums, 0, 1), AXIS, tiled=True)

    places = (SPREAD, SPREAD, SPREAD, EVERYWHERE)
    return jax.shard_map(on_device, mesh=mesh, in_specs=places, out_specs=EVERYWHERE, check_vma=False)(
        tables, ratings, bounds, mean
    )


def _passed_on(tables: Tables, slot: Any, held: int, devices: int) -> Tables:
    """The tables after the item part in that slot of each device went to the device before it."""
    way = [(d, (d - 1) % devices) for d in range(devices)]
    passed = {}
    for name in (name for name in OF_ITEMS if name in tables):
        rows = len(tables[name]) // held
        part = lax.ppermute(lax.dynamic_slice_in_dim(tables[name], slot * rows, rows), AXIS, way)
        passed[name] = lax.dynamic_update_slice_in_dim(tables[name], part, slot * rows, 0)
    return {**tables, **passed}


def _flat(tables: Tables) -> Tables:
    return {name: table.reshape(-1, *table.shape[2:]) for name, table in tables.items()}


def _stacked(tables: Tables, held: int) -> Tables:
    return {name: table.reshape(held, -1, *table.shape[1:]) for name, table in tables.items()}


@partial(jax.jit, static_argnames=("n", "mesh"))
def _sent_to_all(table: Any, first: Any, *, n: int, mesh: Mesh) -> Any:
    """The rows of all parts from `first` on, [parts, n, ...]."""
    rows = lax.dynamic_slice_in_dim(table, first, n, axis=1)
    return lax.with_sharding_constraint(rows, NamedSharding(mesh, EVERYWHERE))
