"""`fastlstm versions` and `fastlstm.show_versions`: what a bug report needs."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import fastlstm
from fastlstm.commands.parsers import new_parser

if TYPE_CHECKING:
    from fastlstm.commands.parsers import Commands

__all__ = ["facts", "show_versions"]

REQUIRED = ("numpy", "numba", "llvmlite")
OPTIONAL = (
    "safetensors",
    "tqdm",
    "matplotlib",
    "pyarrow",
    "duckdb",
    "zarr",
    "h5py",
    "onnx",
    "keras",
    "torch",
    "dask",
)


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    what = "what a bug report needs: versions, CPU, threads, cache folder"
    new_parser(
        commands,
        "versions",
        run,
        help=f"print {what}",
        description=f"Print {what}.",
        examples=("fastlstm versions",),
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    show_versions()


def show_versions(file: TextIO | None = None) -> None:
    """Print what a bug report needs: versions, CPU, lanes, threads and the cache folder.

    Parameters
    ----------
    file : text stream, optional
        Where to print; standard output if left out.
    """
    found = facts()
    width = max(map(len, found))
    for name, value in found.items():
        print(f"{name:{width}s}  {value}", file=sys.stdout if file is None else file)


def facts() -> dict[str, str]:
    """What `show_versions` prints, by name."""
    return {**_packages(), **_machine(), **_engine()}


def _packages() -> dict[str, str]:
    """Versions by name, read without importing the packages; optional ones only if installed."""
    found = {
        "fastlstm": fastlstm.__version__,
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    }
    for name in REQUIRED + OPTIONAL:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name in REQUIRED:
                found[name] = "not installed"
    return found


def _machine() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "CPU": f"{_cpu_name()}, {os.cpu_count()} logical",
    }


def _engine() -> dict[str, str]:
    from fastlstm.engine import cpu
    from fastlstm.engine.kernel import compiled
    from fastlstm.engine.run import threads

    lanes = (f"{cpu.lanes(dtype)} {dtype}" for dtype in ("float32", "float64"))
    return {
        "SIMD": cpu.simd_name(),
        "lanes": ", ".join(lanes),
        "threads": str(threads.default_threads()),
        "kernel cache": compiled.cache_folder() or "none: every process compiles its own",
    }


def _cpu_name() -> str:
    """Return the CPU's product name, if the system tells it."""
    try:
        if sys.platform == "darwin":
            answer = subprocess.run(
                ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"],
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
            )
            return answer.stdout.strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except (OSError, subprocess.SubprocessError):
        pass
    return platform.processor() or platform.machine() or "unknown"
