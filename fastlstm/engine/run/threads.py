"""How many threads a call uses unless told otherwise."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

MOST_THREADS = 1024


def default_threads() -> int:
    """Return the number of threads that a call uses unless told otherwise.

    It is the least of Numba's setting (`NUMBA_NUM_THREADS`, `numba.set_num_threads`), the CPUs that
    this process may run on, and the CPU quota of its control group. Inside a Dask worker, which
    already runs several tasks at once, it is one.
    """
    if _inside_dask_worker():
        return 1
    return max(1, min(_numba_threads(), _affinity(), _quota()))


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
    """Return the CPU quota of the control group, rounded up; version 2 first, then version 1."""
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
