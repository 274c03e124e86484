"""What the JAX backends share: the device, the compile cache, the padding of K, and the way of tables to and fro.

Shapes decide what JAX compiles, so K is padded to a few sizes and everything else that a sweep varies is passed as an
array: a sweep over K, alpha and beta compiles a handful of programs.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mfbench.errors import SpecError
from mfbench.factors import Factors
from mfbench.ratings import Array, Floats, Ratings
from mfbench.schedule import Epoch

PLATFORMS = ("cpu", "gpu", "tpu")
PADDED_SIZES = (4, 8, 16, 32, 64, 96, 128)
CACHE_BYTES = 1 << 30


def padded(K: int) -> int:
    """The number of columns that K columns are stored in: one of 4, 8, 16, 32, 64, 96, 128, then multiples of 64.

    The columns beyond K are zero and stay zero: their gradient is 2 e q - beta p = 0 as long as both are zero, and
    Adam's moments of a gradient that was always zero are zero.
    """
    return next((size for size in PADDED_SIZES if size >= K), -(-K // 64) * 64)


def device_named(name: str | None) -> Any:
    """The JAX device `cpu`, `gpu`, `tpu` or e.g. `gpu:1`; None is the best there is. SpecError if it is not there."""
    if name is None:
        return jax.devices()[0]
    there = _devices()
    device = there.get(name if ":" in name else f"{name}:0")
    if device is None:
        raise SpecError(f"device: {name!r} is not on this machine; it has {', '.join(there)}")
    return device


def devices() -> dict[str, str]:
    """The devices that JAX sees, by the name that `device` takes: what kind each is."""
    return {name: device.device_kind for name, device in _devices().items()}


def _devices() -> dict[str, Any]:
    found = {}
    for platform in PLATFORMS:
        try:
            found.update({f"{platform}:{n}": device for n, device in enumerate(jax.devices(platform))})
        except RuntimeError:  # how JAX says that it has no such platform
            continue
    return found


@cache
def use_compile_cache() -> None:
    """Keep compiled programs in `$MFBENCH_CACHE/jax` (default ~/.cache/mfbench/jax), so that a new process starts warm.

    A cache that the user gave to JAX stays; where ours cannot be written, JAX does without. With a limit on its size
    JAX locks the folder, which several workers at once need: it writes its files in place.
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


def ratings_on(device: Any, train: Ratings, dtype: str) -> tuple[Any, Any, Any]:
    """users, items (int32) and values (of `dtype`), all [n], on the device."""
    columns = (train.users.astype(np.int32), train.items.astype(np.int32), train.values.astype(dtype))
    return tuple(jax.device_put(column, device) for column in columns)


def tables_on(device: Any, start: Factors, dtype: str) -> tuple[Any, Any, Any, Any]:
    """P, Q (K padded), user_bias and item_bias on the device: copies, since an epoch writes into what it is given."""
    width = padded(start.P.shape[1])

    def columns(table: Floats) -> Floats:
        wide = np.zeros((len(table), width), dtype)
        wide[:, : table.shape[1]] = table
        return wide

    tables = (columns(start.P), columns(start.Q), start.user_bias.astype(dtype), start.item_bias.astype(dtype))
    return tuple(jax.device_put(table, device) for table in tables)


def factors_from(tables: tuple[Any, ...], K: int, mean: float) -> Factors:
    """The tables as Factors of K columns on the host, copied: the device's own are written over by the next epoch."""
    P, Q, user_bias, item_bias = tables
    return Factors(
        np.asarray(P)[:, :K].copy(),
        np.asarray(Q)[:, :K].copy(),
        np.array(user_bias),
        np.array(item_bias),
        mean,
    )


def pack(epoch: Epoch) -> tuple[Array, Array, int]:
    """The epoch as (order int32 [n + width], offsets int32 [groups + 1], width), width being that of its widest group.

    A program reads `width` positions from each offset on. Those beyond the group's end belong to the next group, or to
    the zeros at the end: real rows all of them, to be given no weight.
    """
    width = int(np.diff(epoch.offsets).max(initial=1))
    n = int(epoch.offsets[-1])
    order = np.zeros(n + width, np.int32)
    order[:n] = epoch.positions()
    offsets = np.append(0, np.cumsum(np.diff(epoch.offsets)[epoch.sequence]))
    return order, offsets.astype(np.int32), width
