"""What a stored result says about where it was measured: no name of a host, no path."""

from __future__ import annotations

import io
import platform
import re
import subprocess
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import fastlstm

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("fastlstm", "Python", "numpy", "numba", "llvmlite")


def describe(threads: int, packages: Iterable[str] = ()) -> dict[str, Any]:
    """The machine, the versions of fastlstm's packages and of others, the commit."""
    text = io.StringIO()
    fastlstm.show_versions(text)
    facts = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in text.getvalue().splitlines())
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "cpu": facts["CPU"],
        "simd": facts["SIMD"],
        "lanes": facts["lanes"],
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {name: facts[name] for name in PACKAGES}
        | {"BLAS of NumPy": f"{blas['name']} {blas['version']}"}
        | {name: version for name in packages if (version := installed(name))},
    }


def installed(name: str) -> str | None:
    """The version of a package, without importing it; None if it is not there."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of the sources, with a plus if they were edited since; None without git."""
    try:
        head = git("rev-parse", "HEAD")
        edited = git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if edited else "")


def git(*arguments: str) -> str:
    command = ["git", *arguments]
    answer = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=10
    )
    return answer.stdout.strip()
