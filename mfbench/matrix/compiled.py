"""Functions compiled by Numba on first use and cached on disk; the only module that imports Numba."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from mfbench.core.arrays import Array, Ints

Function = TypeVar("Function", bound=Callable[..., Any])


CACHE_LINE = 64
REORDERED = {"reassoc", "contract", "nsz"}


def compiled(reordered: bool = False, unchecked_division: bool = False) -> Callable[[Function], Function]:
    """Decorator: compile a function of arrays and numbers; it releases the GIL while it runs.

    Numba caches the machine code beside the source file or, where that is read-only, in the user's cache folder; if both
    are read-only, each process compiles anew. reordered: the compiler may reorder the terms of a sum (the order is the
    same on the same kind of CPU), which lets a dot product use vector instructions; unlike under full fast math, nan and
    inf are preserved. unchecked_division: division by zero gives inf or nan, as in NumPy, instead of an exception; a loop that
    checks for it uses no vector instructions.
    """

    def decorate(function: Function) -> Function:
        @cache
        def machine_code() -> Function:
            from numba import njit  # here and not above: a process that trains nothing should not load it

            options: dict[str, Any] = {"nogil": True, "fastmath": REORDERED if reordered else False}
            if unchecked_division:
                options["error_model"] = "numpy"
            try:
                made: Function = njit(**options, cache=True)(function)
            except RuntimeError:  # Numba found no folder that it can write its cache to
                made = njit(**options)(function)
            return made

        @wraps(function)
        def call(*arguments: Any) -> Any:
            return machine_code()(*arguments)

        return cast(Function, call)

    return decorate


def load() -> None:
    """Import Numba, which takes half a second: for a process that will train, while it waits for what to train."""
    import numba  # noqa: F401


def aligned(array: Array, dtype: npt.DTypeLike) -> Array:
    """A copy that starts on a cache line, so that a row of 16 float32 is read from one line and not from two."""
    dtype = np.dtype(dtype)
    room = np.empty(array.size * dtype.itemsize + CACHE_LINE, np.uint8)
    first = -room.ctypes.data % CACHE_LINE
    copy = room[first : first + array.size * dtype.itemsize].view(dtype).reshape(array.shape)
    copy[...] = array
    return copy


def unsigned(*indices: Ints) -> tuple[npt.NDArray[np.uint32], ...]:
    """The same indices as uint32: compiled code then has no negative ones to handle, and the hot loops take a fifth less."""
    return tuple(index.view(np.uint32) for index in indices)
