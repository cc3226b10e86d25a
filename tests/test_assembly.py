"""The compiled kernels: full-width vector FMAs, and nothing else, in the loop that takes the time.

The bits would be right without; the speed would not.
"""

from __future__ import annotations

import platform
import re

import pytest
from helpers import AVX2_CPU, run_child, some_of
from shapes import make_input, make_model

from fastlstm.engine import cpu, jit
from fastlstm.engine.kernel import compiled as kernels
from fastlstm.engine.plan.chain import make_chain
from fastlstm.engine.plan.cost import choose_tile

FMA = re.compile(r"^\tvfn?m(?:add|sub)\d+([ps][sd])\s+(.*)$", re.M)
DIVISION = re.compile(r"^\tvdiv([ps][sd])\s+(.*)$", re.M)
SUFFIX = {"float32": "s", "float64": "d"}

pytestmark = [
    pytest.mark.usual_tiles,
    pytest.mark.skipif(
        platform.machine().lower() not in ("x86_64", "amd64"),
        reason=f"reads the assembly of x86-64, this is {platform.machine()}",
    ),
]


def assembly(dtype: str, size: int, patch: pytest.MonkeyPatch) -> tuple[str, int]:
    """The assembly of the kernel that large batches use, and its vectors a tile."""
    found = []
    compile_kernel = jit.compile_kernel

    def spy(*args):
        found.append(compile_kernel(*args))
        return found[-1]

    rows = 48 * cpu.lanes(dtype)
    with patch.context() as p:
        p.setenv("FASTLSTM_CACHE", "0")  # a kernel that was loaded has no assembly
        p.setattr(jit, "compile_kernel", spy)
        kernels.kernel.cache_clear()
        model = make_model(size, (size,), 0, dtype)
        model.predict(make_input(rows, 3, size, dtype), threads=1)
    kernels.kernel.cache_clear()
    (dispatcher,) = found
    (text,) = dispatcher.inspect_asm().values()
    return text, choose_tile(*[k.of for k in make_chain(model.layers)], rows, 1, False).kind.vectors


def hot_loops(text: str) -> list[str]:
    """The innermost loops that sum products: blocks that jump to their own start."""
    parts = re.split(r"^(\.\w+):", text, flags=re.M)
    blocks = zip(parts[1::2], parts[2::2], strict=True)
    loops = [body for label, body in blocks if re.search(rf"\tj\w+\s+{re.escape(label)}\b", body)]
    most = max((len(FMA.findall(body)) for body in loops), default=0)
    return [body for body in loops if most and len(FMA.findall(body)) == most]


def check(dtype: str, size: int, patch: pytest.MonkeyPatch) -> None:
    text, vectors = assembly(dtype, size, patch)
    _, _, features = cpu.target()
    register, packed = "zmm" if "+avx512f" in features else "ymm", "p" + SUFFIX[dtype]
    for name, found in (("FMAs", FMA.findall(text)), ("divisions", DIVISION.findall(text))):
        other = {f"{kind} {operands}" for kind, operands in found if kind != packed}
        narrow = {operands for _, operands in found if register not in operands}
        print(f"{cpu.simd_name()} {dtype} H = {size}: {len(found)} {name}")
        assert not other, name
        assert not narrow, name
        assert len(found) >= {"FMAs": 50, "divisions": 1}[name] * vectors
    assert not re.search(r"\b(?:fmaf?|expf?|tanhf?)\b", text), "calls the mathematical library"
    if size == 1:
        return  # no sums
    loops = hot_loops(text)
    assert loops
    for body in loops:
        fmas = len(FMA.findall(body))
        broadcasts = re.findall(
            rf"^\tvbroadcasts{SUFFIX[dtype]}\s+-?\d*\(%r\w+\), %{register}|\{{1to\d+\}}", body, re.M
        )
        loads = re.findall(rf"^\tvmovup{SUFFIX[dtype]}\s+-?\d*\(%r\w+\), %{register}", body, re.M)
        print(f"  {fmas} FMAs, {len(broadcasts)} weights, {len(loads)} vectors of input")
        # every weight is read once for all vectors of the tile; all gates share the inputs
        assert fmas == len(broadcasts) * vectors
        assert fmas % (4 * vectors) == 0
        assert len(loads) * 4 <= fmas
        assert "%rsp" not in body, "sums that were spilled to the stack"
        assert not re.findall(r"\tcall", body)


@pytest.mark.parametrize(
    ("dtype", "size"),
    some_of([("float32", 40), ("float64", 40), ("float32", 1)], ("float32", 40)),
)
def test_full_width_fmas(dtype, size, monkeypatch):
    check(dtype, size, monkeypatch)


@pytest.mark.full
def test_full_width_fmas_with_avx2():
    """On a CPU with AVX-512 in a process of its own, which compiles for an older one."""
    if cpu.vector_bits() == 256:
        pytest.skip("this CPU has AVX2: the test above is the same")
    print(
        run_child(
            """
            import pytest
            import test_assembly
            assert test_assembly.cpu.simd_name() == "AVX2"
            with pytest.MonkeyPatch.context() as patch:
                test_assembly.check("float32", 40, patch)
            """,
            **AVX2_CPU,
        )
    )
