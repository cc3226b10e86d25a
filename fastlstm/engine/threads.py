"""How many threads a call takes; a cache of what one of them compiles."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_compiling = RLock()
MOST_THREADS = 1024


def default_threads() -> int:
    """Return the number of threads that a call uses unless told otherwise.

    The least of Numba's setting (`NUMBA_NUM_THREADS`, `numba.set_num_threads`), the CPUs this
    process may run on, and the CPU quota of its control group; one inside a Dask worker, which
    runs several tasks at once already.
    """
    if _inside_dask_worker():
        return 1
    return max(1, min(_numba_threads(), _affinity(), _quota()))


def compiled_once(build: F) -> F:
    """`functools.cache` of what compiles: threads that ask for it at once wait for one of them.

    Otherwise each would compile it in turn, where there is no disk cache.
    """
    cached = cache(build)

    @wraps(build)
    def locked(*key: Any) -> Any:
        with _compiling:
            return cached(*key)

    locked.cache_clear = cached.cache_clear  # type: ignore[attr-defined]
    return locked  # type: ignore[return-value]


def _forget_lock() -> None:
    global _compiling
    _compiling = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)


def _numba_threads() -> int:
    from numba.core import config
    from numba.np.ufunc import parallel

    # get_num_threads() would start Numba's own pool; before that there is nothing to ask it.
    if getattr(parallel, "_is_initialized", False):
        return int(parallel.get_num_threads())
    return int(config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _quota() -> int:
    """Return the CPUs that the control group grants, rounded up; v2, then v1."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            folder = Path("/sys/fs/cgroup/cpu")
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return MOST_THREADS
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return MOST_THREADS
    return max(1, -(-int(quota) // int(period)))


def _inside_dask_worker() -> bool:
    worker = sys.modules.get("distributed.worker")
    if worker is None:
        return False
    try:
        worker.get_worker()
    except ValueError:
        return False
    return True
