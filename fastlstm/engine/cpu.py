"""What the CPU offers: how many numbers fit into one SIMD vector."""

from __future__ import annotations

import platform
from functools import cache

import numpy as np
from numpy.typing import DTypeLike

from fastlstm.engine.compiling import alone

# For CPUs named through NUMBA_CPU_NAME with no features given: LLVM knows their features, but
# does not tell. First match wins.
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
        The CPU has no fused multiply-add, which the order of summation is defined by.
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


def simd_name() -> str:
    """Return the name of the SIMD level in use."""
    return {512: "AVX-512", 256: "AVX2", 128: "NEON"}[vector_bits()]
