"""What the CPU offers: how wide its SIMD vectors are, and what is known about each width.

A new width needs a row of `WIDTHS`, and a line in `vector_bits` that recognises it.
"""

from __future__ import annotations

import platform
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from fastlstm.engine.compiling import alone


class Simd(NamedTuple):
    """What is known about a width of vectors."""

    name: str
    # Vector registers that sums may use.
    sum_registers: int
    # Vectors of hidden units, and sequences, that are summed up together where sequences are few.
    unit_groups: tuple[tuple[int, int], ...]
    # Vectors of outputs, and windows of numbers, that are summed up together in convolutions and
    # dense layers: for many outputs, and for few.
    window_sums: tuple[tuple[int, int], tuple[int, int]]
    # Rows of inputs that are summed up together there, for one vector of hidden units.
    input_rows: int
    # Relative speed of tiles of 1, 2, 3 and 4 vectors of sequences, measured with everything in
    # cache: more vectors hide more latency, until the registers are full. First for layers, then
    # for a single cell, whose state stays in registers.
    layer_speed: tuple[float, ...]
    cell_speed: tuple[float, ...]


# By the bits of a vector. There are 32 registers with AVX-512 and NEON, 16 with AVX2.
WIDTHS = {
    512: Simd(
        name="AVX-512",
        sum_registers=24,
        unit_groups=((2, 1), (4, 1), (2, 2), (1, 4)),
        window_sums=((4, 6), (2, 8)),
        input_rows=4,
        layer_speed=(0.78, 0.97, 1.0, 0.98),
        cell_speed=(0.35, 0.69, 0.85, 1.0),
    ),
    256: Simd(
        name="AVX2",
        sum_registers=12,
        unit_groups=((1, 1), (2, 1), (1, 2)),
        window_sums=((3, 4), (2, 6)),
        input_rows=2,
        layer_speed=(0.6, 0.9, 1.0, 0.8),
        cell_speed=(0.45, 0.8, 1.0, 0.9),
    ),
    128: Simd(
        name="NEON",
        sum_registers=24,
        unit_groups=((2, 1), (4, 1), (2, 2), (1, 4)),
        window_sums=((4, 6), (2, 8)),
        input_rows=4,
        layer_speed=(0.5, 0.8, 0.95, 1.0),
        cell_speed=(0.35, 0.69, 0.85, 1.0),
    ),
}

# For CPUs that are named by NUMBA_CPU_NAME without features: LLVM knows their features, but does
# not say them. The first match wins.
_VECTOR_BITS_BY_NAME = (
    (("avx512", "icelake", "sapphire", "granite", "rocketlake", "tigerlake"), 512),
    (("znver4", "znver5", "x86-64-v4"), 512),
    (("haswell", "broadwell", "skylake", "alderlake", "raptorlake", "znver", "x86-64-v3"), 256),
)


@cache
def target() -> tuple[str, str, str]:
    """Return (triple, CPU name, features) that Numba compiles for in this process."""
    with alone():  # it starts LLVM
        from numba.core.registry import cpu_target

        triple, name, features = cpu_target.target_context.codegen().magic_tuple()
        return str(triple), str(name), str(features)


@cache
def vector_bits() -> int:
    """Return the width of the SIMD registers that the kernels use, in bits.

    Raises
    ------
    RuntimeError
        If the CPU has no fused multiply-add, on which the order of summation is based.
    """
    triple, name, features = target()
    switched = {item[1:]: item[0] == "+" for item in features.split(",") if item}
    if triple.startswith(("aarch64", "arm64")):
        return 128
    if switched.get("avx512f"):
        return 512
    if switched.get("avx2") and switched.get("fma"):
        return 256
    if "avx2" not in switched:
        for names, bits in _VECTOR_BITS_BY_NAME:
            if any(part in name for part in names):
                return bits
    raise RuntimeError(
        f"fastlstm needs a CPU with fused multiply-add (AVX2 and FMA, AVX-512 or NEON); Numba "
        f"compiles for {name!r} on {platform.machine()}"
    )


def lanes(dtype: DTypeLike) -> int:
    """Return how many numbers of `dtype` one SIMD vector holds."""
    return vector_bits() // (8 * np.dtype(dtype).itemsize)


def simd() -> Simd:
    """Return what is known about the vectors in use."""
    return WIDTHS[vector_bits()]


def simd_name() -> str:
    """Return the name of the SIMD level in use."""
    return simd().name
