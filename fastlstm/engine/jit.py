"""The two decorators of the kernels, and the disk cache that never returns stale code.

Numba stamps a cached function with the file it stands in, not with the modules it calls, so
that an edit or an upgrade elsewhere would still hit the old machine code. Here the name of
the cache file carries a fingerprint of every source of the engine, and each compiled variant
has a file of its own, so that two processes that compile at once cannot mix theirs up.

Set `FASTLSTM_CACHE=0` to compile anew in every process; `NUMBA_CACHE_DIR` moves the folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.caching import FunctionCache

# Strict IEEE arithmetic: never fastmath, and a division by zero is inf or NaN, not an exception.
# Numba's own wrappers are left out: helpers are only called from kernels.
# A `helper` is inlined by LLVM (Numba's own inlining doubles the compile time), a `function`
# that a kernel calls in several places is not.
_njit: Any = numba.njit  # its stubs lack options that it has
function: Any = _njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
helper: Any = _njit(
    error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True
)


@cache
def fingerprint() -> str:
    """Return a digest of all engine sources and of the compilers' versions."""
    digest = hashlib.blake2b(digest_size=8)
    digest.update(f"{numba.__version__} {llvmlite.__version__}".encode())
    engine = Path(__file__).parent
    for source in sorted(engine.rglob("*.py")):
        digest.update(source.relative_to(engine).as_posix().encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()


class _KernelCache(FunctionCache):
    """Numba's disk cache, in which no trouble with files ever reaches the caller.

    A cache is an optimisation: a full disk, a folder that went away or a damaged file means
    compiling again, not a failed call.
    """

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        # Numba adds the pickled closure, whose helpers are different ones in every process. What
        # is in it is part of the file's name.
        return sig, codegen.magic_tuple()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # a damaged pickle can raise anything
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:
            pass
        except Exception:  # a damaged index, which is read before it is written
            with suppress(OSError):
                self.flush()
                super().save_overload(sig, data)


def compile_kernel(function: Callable[..., None], variant: str, signature: Any) -> Any:
    """Compile `function` for one signature, or load it from the disk cache.

    Parameters
    ----------
    function
        The kernel's Python function. Constants of the variant are in its closure.
    variant
        Names the variant: with the sources' fingerprint it is the name of the cache file.
    signature
        The one Numba signature that the kernel is compiled for.

    Returns
    -------
    dispatcher
        The compiled kernel, to be called with arguments of the signature. It releases the GIL.

    Raises
    ------
    RuntimeError
        Numba's compiler is switched off by `NUMBA_DISABLE_JIT`.
    """
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        raise RuntimeError(
            "fastlstm needs Numba's compiler: unset NUMBA_DISABLE_JIT, or compute with "
            "fastlstm.reference, which is plain NumPy"
        )
    function.__qualname__ = f"{function.__name__}_{variant}_{fingerprint()}"
    dispatcher: Any = _njit(error_model="numpy", nogil=True)(function)
    if os.environ.get("FASTLSTM_CACHE", "1") != "0":
        with suppress(RuntimeError, OSError):  # no folder to write to
            dispatcher._cache = _KernelCache(function)
    dispatcher.compile(signature)
    dispatcher.disable_compile()
    return dispatcher


def cache_folder(function: Callable[..., Any]) -> str | None:
    """Return the folder of kernels that stand in one file with `function`, or None."""
    if os.environ.get("FASTLSTM_CACHE", "1") == "0":
        return None
    try:
        return str(_KernelCache(function).cache_path)
    except (RuntimeError, OSError):
        return None
