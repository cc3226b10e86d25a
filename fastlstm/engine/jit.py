"""The two decorators of the kernels, and the disk cache that never returns stale code.

Numba marks a cached function with the file that it is in, not with the modules that it calls, so
after an edit or an upgrade elsewhere it would still load the old machine code. Here the name of
the cache file contains a fingerprint of every source of the engine. Each compiled variant has its
own file, so that two processes that compile at the same time cannot mix theirs up.

Set `FASTLSTM_CACHE=0` to compile again in every process; `NUMBA_CACHE_DIR` moves the folder.
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
# A `helper` is inlined by LLVM (Numba's own inlining doubles the compile time); a `function`, which
# a kernel calls in several places, is not.
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
    """Numba's disk cache, whose trouble with files never reaches the caller.

    A cache is an optimisation: a full disk, a folder that went away or a damaged file means
    compiling again, not a failed call.
    """

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        # Numba adds the pickled closure, whose helpers differ in every process. The content of the
        # closure is already part of the file's name.
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
        The name of the variant: together with the fingerprint, it names the cache file.
    signature
        The one Numba signature that the kernel is compiled for.

    Returns
    -------
    dispatcher
        The compiled kernel, to be called with arguments of the signature. It releases the GIL.

    Raises
    ------
    RuntimeError
        If Numba's compiler is switched off by `NUMBA_DISABLE_JIT`.
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


def compile_entry(function: Callable[..., None], variant: str, signature: Any) -> Any:
    """Compile as `compile_kernel` does, and return what Numba's dispatcher calls in the end.

    The dispatcher finds out the types of all arguments, which takes microseconds. This entry checks
    only the element size of an array: the caller is responsible for the rest.
    """
    dispatcher = compile_kernel(function, variant, signature)
    (compiled,) = dispatcher.overloads.values()
    return compiled.entry_point


def cache_folder(function: Callable[..., Any]) -> str | None:
    """Return the cache folder of the kernels in the file of `function`, or None."""
    if os.environ.get("FASTLSTM_CACHE", "1") == "0":
        return None
    try:
        return str(_KernelCache(function).cache_path)
    except (RuntimeError, OSError):
        return None
