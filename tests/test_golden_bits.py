"""Bits stay what they were: `golden_bits` against its file, on this CPU and with AVX2.

The usual run takes cases whose kernels other tests compile, too; ``tox -e aarch64`` compares the
same file on AArch64.
"""

from __future__ import annotations

import io
from contextlib import redirect_stdout

import golden_bits
import numpy as np
import pytest
from helpers import AVX2_CPU, run_child

import fastlstm

USUAL = [
    "one layer, float64, N=50",
    "one layer, float32, N=3",
    "one unit, float32, N=200",
    "one unit, float64, N=3",
    "several blocks, float64, N=2",
    "several blocks, float32, N=50",
    "reverse, float64, N=70",
    "go_backwards, float64, N=3",
    "learned states, float64, N=70",
    "bidirectional, two, float64, N=70",
    "bidirectional, sum, float64, N=70",
    "bidirectional, mul, float64, N=70",
    "bidirectional, ave, float64, N=70",
    "bidirectional, last, float64, N=70",
    "bidirectional, max, float64, N=3",
    "bidirectional, mean, float64, N=70",
    "projection, both, float64, N=70",
    "peepholes, float64, N=70",
    "coupled, clip, float64, N=70",
    "mixed cells, float64, N=70",
    "cell of hard_sigmoid, affine, elu, float64, N=70",
    "all options, float64, N=70",
    "embedding, short, float64, N=70",
    "embedding, dense, both, float64, N=70",
    "padding_id, float64, N=70",
    "dense everywhere, float64, N=70",
    "skip, float64, N=3",
    "mask, both, float64, N=37",
    "mask, last, float64, N=37",
    "conv, float64, N=70",
    "conv, both, float64, N=3",
    "conv, several blocks, float64, N=50",
    "conv behind, float64, N=70",
    "autoencoder, float64, N=70",
    "dense to steps, float64, N=70",
    "attention, float64, N=70",
    "attention, dot, float64, N=3",
    "norms, float64, N=70",
    "flatten, float64, N=70",
    "steps, float64, N=70",
    "branches, float64, N=70",
    "embedding, conv, float64, N=70",
    "mask, attention, float64, N=37",
]


def test_the_file_has_every_case():
    assert list(golden_bits.golden()) == list(golden_bits.CASES)
    assert set(golden_bits.SAMPLE) <= set(golden_bits.CASES)


def test_what_a_digest_sees():
    """Every bit, dtype and shape; not which NaN, nor how an array lies in memory."""
    x = np.array([[1.0, 0.0, np.nan]])
    found = golden_bits.digest([x])
    assert golden_bits.digest([np.asfortranarray(x).astype(">f8")]) == found
    assert golden_bits.digest([-x * -1.0]) == found
    assert golden_bits.digest([np.copysign(x, [1.0, 1.0, -1.0])]) == found
    for other in (np.copysign(x, -1.0), x[0], x.astype("f4"), x[:, :2], np.nextafter(x, 2.0)):
        assert golden_bits.digest([other]) != found


@pytest.mark.parametrize("name", USUAL)
def test_bits_of_usual_cases(name):
    assert not golden_bits.difference(name)


@pytest.mark.full
@pytest.mark.usual_tiles
@pytest.mark.parametrize("name", golden_bits.CASES)
def test_bits(name):
    assert not golden_bits.difference(name)


def simd() -> str:
    with redirect_stdout(io.StringIO()) as said:
        fastlstm.show_versions()
    return next(line for line in said.getvalue().splitlines() if line.startswith("SIMD"))


ON_AVX2 = """
import golden_bits, test_golden_bits
differences = [golden_bits.difference(name) for name in golden_bits.SAMPLE]
print(*filter(None, differences), test_golden_bits.simd(), sep="\\n")
"""


@pytest.mark.full
@pytest.mark.skipif("AVX-512" not in simd(), reason=f"needs a CPU with AVX-512, this has {simd()}")
def test_bits_on_avx2(tmp_path):
    """Of cases that have every kind of part, in a process for which Numba compiles for AVX2."""
    cache = str(tmp_path / "cache")
    said = run_child(ON_AVX2, timeout=600, NUMBA_CACHE_DIR=cache, **AVX2_CPU)
    assert said.split() == ["SIMD", "AVX2"]
