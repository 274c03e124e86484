"""Numba's only home: functions compiled to machine code at their first use, kept on disk for the next process."""

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


def compiled(reordered: bool = False) -> Callable[[Function], Function]:
    """Decorate a function of arrays and numbers; while it runs, other Python threads do too.

    Numba keeps the code beside the source file, or in a folder of the user's where that cannot be written; where neither
    can, each process compiles anew. reordered: the terms of a sum may be added in another order (always the same one on
    the same kind of CPU), which is what lets a dot product use vector instructions; nan and inf are kept, other than with
    all of fast math.
    """

    def decorate(function: Function) -> Function:
        @cache
        def machine_code() -> Function:
            from numba import njit  # here and not above: a process that trains nothing should not load it

            told = {"nogil": True, "fastmath": REORDERED if reordered else False}
            try:
                made: Function = njit(**told, cache=True)(function)
            except RuntimeError:  # how Numba says that it can write in neither place
                made = njit(**told)(function)
            return made

        @wraps(function)
        def call(*arguments: Any) -> Any:
            return machine_code()(*arguments)

        return cast(Function, call)

    return decorate


def aligned(array: Array, dtype: npt.DTypeLike) -> Array:
    """A copy that starts on a cache line: a row of 16 floats is then read from one line and not from two."""
    dtype = np.dtype(dtype)
    room = np.empty(array.size * dtype.itemsize + CACHE_LINE, np.uint8)
    first = -room.ctypes.data % CACHE_LINE
    copy = room[first : first + array.size * dtype.itemsize].view(dtype).reshape(array.shape)
    copy[...] = array
    return copy


def unsigned(*indices: Ints) -> tuple[npt.NDArray[np.uint32], ...]:
    """The same indices, of which compiled code knows that none counts from the end: a fifth less time in the hot loops."""
    return tuple(index.view(np.uint32) for index in indices)
