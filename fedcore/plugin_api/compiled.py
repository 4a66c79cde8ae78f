"""Compiled kernels: a typed front to numba, and the array types that kernels take.

Kernels stand in modules of their own that are imported on first use, so that importing a plugin stays light.
Each names its signature, so there is one compilation, kept on disk, and importing the module is all the
warming up that a process needs before it forks. Input types are read-only: numba converts a writable array
to a read-only one, but never back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])


def _input(element: Any) -> Any:
    return types.Array(element, 1, "C", readonly=True)


def _output(element: Any) -> Any:
    return types.Array(element, 1, "C")


BYTES: Final = _input(types.uint8)
FLAGS: Final = _input(types.boolean)
CODES: Final = _input(types.int32)
NUMBERS: Final = _input(types.int64)
IDS: Final = _input(types.uint64)
BYTES_OUT: Final = _output(types.uint8)
CODES_OUT: Final = _output(types.int32)
NUMBERS_OUT: Final = _output(types.int64)
IDS_OUT: Final = _output(types.uint64)
FLOATS_OUT: Final = _output(types.float32)
INT: Final = types.int64
WORD: Final = types.uint64
FLAG: Final = types.boolean
NOTHING: Final = types.void


def compiled(result: Any, *arguments: Any) -> Callable[[Function], Function]:
    """Compile a function on numpy arrays and numbers for one signature; the code is kept on disk.

    Where no folder for it can be written, each process compiles for itself. Where a kernel calls another, editing
    the callee alone does not compile the caller again: delete the `__pycache__` folders after such an edit.
    """
    signature = result(*arguments)

    def decorate(function: Function) -> Function:
        kernel: Any
        try:
            kernel = njit(signature, cache=True, nogil=True)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            kernel = njit(signature, nogil=True)(function)
        return cast("Function", kernel)

    return decorate


def inlined(function: Function) -> Function:
    """Compile a small function into every kernel that calls it."""
    return cast("Function", njit(inline="always")(function))


def _lowest_bit(_context: Any, word: Any) -> Any:

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(word), generate


lowest_bit: Callable[[Any], Any] = cast("Any", intrinsic(_lowest_bit))
"""The place (0 to 63) of the lowest set bit of a uint64 that is not 0, as uint64. For kernels only."""
