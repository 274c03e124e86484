"""Numba's only home: functions compiled to machine code at their first use, kept on disk for the next process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


REORDERED = {"reassoc", "contract", "nsz"}


def compiled(reordered: bool = False) -> Callable[[Function], Function]:
    """Decorate a function of arrays and numbers; while it runs, other Python threads do too.

    Numba keeps the code beside the source file, or in a folder of the user's where that cannot be written; where neither
    can, each process compiles anew. reordered: the terms of a sum may be added in another order (always the same one on
    the same kind of CPU), which is what lets a dot product use vector instructions; nan and inf are kept, other than with
    all of fast math.
    """

    def decorate(function: Function) -> Function:
        try:
            made: Function = njit(nogil=True, fastmath=REORDERED if reordered else False, cache=True)(function)
        except RuntimeError:  # how Numba says that it can write in neither place
            made = njit(nogil=True, fastmath=REORDERED if reordered else False)(function)
        return made

    return decorate
