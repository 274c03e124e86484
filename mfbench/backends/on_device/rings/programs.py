"""The compiled programs of the ring: an epoch, the sums of errors, and a table gathered from all devices."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mfbench.backends.on_device.accelerator import dot
from mfbench.backends.on_device.sgd import sgd_epoch
from mfbench.matrix.steps import Adaptive

AXIS = "ring"
SPREAD, EVERYWHERE = PartitionSpec(AXIS), PartitionSpec()
CHUNK = 1024
"""Ratings that are scored at once."""
OF_ITEMS = ("Q", "item_bias", "G_item")

Tables = dict[str, Any]
"""P, Q, user_bias and item_bias, for adagrad also G_user and G_item: [parts, rows of a part, ...], spread over the devices."""


@partial(jax.jit, static_argnames=("mesh", "width", "bias", "adaptive"))
def epoch_on_ring(
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
def sums_on_ring(tables: Tables, ratings: Any, bounds: Any, mean: Any, *, mesh: Mesh) -> Any:
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
def sent_to_all(table: Any, first: Any, *, n: int, mesh: Mesh) -> Any:
    """The rows of all parts from `first` on, [parts, n, ...]."""
    rows = lax.dynamic_slice_in_dim(table, first, n, axis=1)
    return lax.with_sharding_constraint(rows, NamedSharding(mesh, EVERYWHERE))
