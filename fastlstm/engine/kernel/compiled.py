"""The compiled kernels, one for every kind of tile."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlstm.engine import cpu
from fastlstm.engine.compiling import compiled_once
from fastlstm.engine.kernel import loop as tiles
from fastlstm.engine.kernel import unit_loop as unit_tiles
from fastlstm.engine.kernel.forms import Form
from fastlstm.engine.plan.cost import INPUT_ROWS, UNITS, Kind, possible_kinds


@compiled_once
def kernel(kind: Kind) -> Any:
    """Return the compiled kernel for a kind of tile."""
    from numba import from_dtype, types

    from fastlstm.engine.jit import compile_kernel

    number = types.Array(from_dtype(np.dtype(kind.dtype)), 1, "C")
    integers, table = types.Array(types.int64, 1, "C"), types.Array(types.int64, 2, "C")
    integer = types.int64
    signature = (
        (integers, integer, integer, integer, integer, integer, table, integers, number)
        + (number, integers, integers, integers, integers, integers, integer, integer)
        + (number,) * 4
        + (number, number, types.UniTuple(number, 5), number, integers)
    )
    lanes, vectors, group, traced = kind.vector_lanes, kind.vectors, kind.group, kind.traced
    if kind.lanes_hold == UNITS:
        input_rows = INPUT_ROWS[cpu.vector_bits()]
        function = unit_tiles.make_unit_kernel(lanes, vectors, group, input_rows, traced, kind.form)
    else:
        function = tiles.make_kernel(lanes, vectors, group, traced, kind.form)
    sizes = f"{kind.dtype}_{lanes}x{vectors}x{group}"
    variant = f"{sizes}_{kind.lanes_hold}_{'traced' if traced else 'plain'}_{kind.form}"
    return compile_kernel(function, variant, signature)


def warm_kernels(dtype: str, form: Form) -> None:
    """Compile the kernels of every kind of tile for layers of a form, but for traces."""
    for kind in possible_kinds(dtype, form, traced=False):
        kernel(kind)
