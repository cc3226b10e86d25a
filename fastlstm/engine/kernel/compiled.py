"""The compiled kernels, one for every kind of tile."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import from_dtype, types

from fastlstm.engine import jit
from fastlstm.engine.compiling import compiled_once
from fastlstm.engine.kernel import sequences_in_lanes, units_in_lanes
from fastlstm.engine.kernel.forms import UNITS, Form, Kind, possible_kinds
from fastlstm.engine.kernel.loop import make_kernel
from fastlstm.engine.kernel.records import PLAN


@compiled_once
def kernel(kind: Kind) -> Any:
    """Return the compiled kernel for a kind of tile."""
    layouts = units_in_lanes if kind.lanes_hold == UNITS else sequences_in_lanes
    function = make_kernel(kind, layouts.make_layout(kind))
    dispatcher = jit.compile_kernel(function, str(kind), signature(kind))
    # What Numba's dispatcher calls once it knows the types of all arguments. Here these are always
    # the same, and finding them out takes half a microsecond (on a Xeon at 2.8 GHz). This entry
    # checks only the element size of an array: the caller is responsible for the rest.
    (compiled,) = dispatcher.overloads.values()
    return compiled.entry_point


def signature(kind: Kind) -> tuple[Any, ...]:
    """Return the types of a kernel's arguments, in the order of `loop.make_kernel`."""
    number, plan = from_dtype(np.dtype(kind.dtype)), from_dtype(PLAN)
    numbers, integers = types.Array(number, 1, "C"), types.Array(types.int64, 1, "C")
    integer = types.int64
    return (
        types.Array(plan, 1, "C"),
        integers,  # counter
        integer,  # others
        integer,  # rows
        integer,  # steps
        integers if kind.form.embedded else numbers,  # values
        integers,  # order
        integers,  # starts
        integers,  # lengths
        integers,  # rows of the outputs
        integer,  # steps of them
        integer,  # the first step
        integer,  # rows of the states
        numbers,  # h and c before the first step
        numbers,
        numbers,  # h and c after the last step
        numbers,
        numbers,  # outputs
        numbers,  # gates
    )


def cache_folder() -> str | None:
    """Return the folder that holds compiled kernels, or None when there is none."""
    return jit.cache_folder(make_kernel)


def warm_kernels(dtype: str, form: Form) -> None:
    """Compile the kernels of every kind of tile for layers of a form, except those of traces."""
    for kind in possible_kinds(dtype, form, traced=False):
        kernel(kind)
