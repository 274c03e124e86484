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


def compiled(
    reordered: bool = False, unchecked_division: bool = False, disjoint: bool = False
) -> Callable[[Function], Function]:
    """Decorator: compile a function of arrays and numbers; it releases the GIL while it runs.

    Numba caches the machine code beside the source file or, where that is read-only, in the user's cache folder; if both
    are read-only, each process compiles anew. reordered: the compiler may reorder the terms of a sum (the order is the
    same on the same kind of CPU), which lets a dot product use vector instructions; unlike under full fast math, nan and
    inf are preserved. unchecked_division: division by zero gives inf or nan, as in NumPy, instead of an exception; a loop that
    checks for it uses no vector instructions. disjoint: no array that is written shares memory with another argument, so that
    a loop need not check for it before it uses vector instructions; those checks take longer than a short loop.
    """

    def decorate(function: Function) -> Function:
        @cache
        def machine_code() -> Function:
            from numba import njit  # here and not above: a process that trains nothing should not load it

            _teach_prefetch()
            options: dict[str, Any] = {"nogil": True, "fastmath": REORDERED if reordered else False}
            if unchecked_division:
                options["error_model"] = "numpy"
            if disjoint:
                options["pipeline_class"] = _disjoint()
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


def _disjoint() -> Any:
    """Numba's compiler, with the pointers of the arguments declared as `noalias`, for which `njit` has no option."""
    from numba.core.compiler import Compiler

    class Disjoint(Compiler):  # type: ignore[misc]  # Numba has no types
        def define_pipelines(self) -> Any:
            self.state.flags.noalias = True
            return super().define_pipelines()

    return Disjoint


def prefetch(table: Array, row: int, column: int) -> None:
    """In compiled code: start to bring the cache line of table[row, column] into the cache. No result depends on it."""


@cache
def _teach_prefetch() -> None:
    """Tell Numba that `prefetch` is LLVM's instruction of that name."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import lower_builtin, type_callable

    @type_callable(prefetch)  # type: ignore[untyped-decorator]
    def result(context: Any) -> Any:  # noqa: ARG001
        return lambda table, row, column: types.none  # noqa: ARG005

    @lower_builtin(prefetch, types.Array, types.Integer, types.Integer)  # type: ignore[untyped-decorator]
    def instruction(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        of_array, *of_indices = signature.args
        table = context.make_array(of_array)(context, builder, arguments[0])
        indices = [context.cast(builder, *each, types.intp) for each in zip(arguments[1:], of_indices, strict=True)]
        address = cgutils.get_item_pointer(context, builder, of_array, table, indices)
        number, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        takes = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        known = builder.module.declare_intrinsic("llvm.prefetch", [pointer], takes)
        to_write, into_all_caches, data = number(1), number(3), number(1)
        builder.call(known, [builder.bitcast(address, pointer), to_write, into_all_caches, data])
        return context.get_dummy_value()


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
