"""Compare ``golden/bits.json`` on an emulated AArch64: ``tox -e aarch64``.

On Debian, with ``qemu-user-static`` installed. Python and the C library come from Debian's arm64
packages by apt-get, which leaves this machine's own packages and lists alone, NumPy and Numba as
wheels by pip, all into the folder that is the first argument. What follows it goes to
``golden/generate_bits.py --check``: ``--sample``, or names of cases. A kernel takes up to a minute
to compile there. Timings mean nothing, bits do: the emulator's arithmetic is exact.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

EMULATOR = "qemu-aarch64-static"
TOOLS = {"apt-get": "apt", "dpkg": "dpkg", EMULATOR: "qemu-user-static"}  # and their packages
PACKAGES = ["python3", "libstdc++6"]  # with all that they depend on
WHEELS = ["numpy", "numba", "llvmlite"]
GLIBC = ["2_28", "2_27", "2_17"]  # what the wheels may be made for: Debian's is newer
REPOSITORY = Path(__file__).resolve().parents[1]


def run(*command: str | Path) -> None:
    print("+", *command, flush=True)
    subprocess.run(command, check=True)


def unpack_debian(folder: Path) -> Path:
    """Fetch and unpack Debian packages for arm64; the folder that is their root."""
    state, cache, root = (folder / name for name in ("state", "cache", "root"))
    for empty in (state / "lists" / "partial", cache / "archives" / "partial", root):
        empty.mkdir(parents=True)
    (state / "status").touch()  # no package is installed, so that all are fetched
    options = [
        "APT::Architecture=arm64",
        "APT::Architectures=arm64",
        "APT::Sandbox::User=",
        f"Dir::State={state}",
        f"Dir::State::lists={state / 'lists'}",
        f"Dir::State::status={state / 'status'}",
        f"Dir::Cache={cache}",
    ]
    apt_get = ["apt-get", "-q", "-y", *(f"-o{option}" for option in options)]
    run(*apt_get, "update")
    run(*apt_get, "install", "--download-only", "--no-install-recommends", *PACKAGES)
    for package in sorted((cache / "archives").glob("*.deb")):
        subprocess.run(["dpkg", "-x", package, root], check=True)
    return root


def unpack_wheels(folder: Path, version: str) -> Path:
    """Fetch and unpack the wheels for a version of Python; the folder to import them from."""
    wheels, site = folder / "wheels", folder / "site"
    platforms = [f"--platform=manylinux_{glibc}_aarch64" for glibc in GLIBC]
    of_python = [f"--python-version={version}", "--implementation=cp", *platforms]
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    run(*pip, *of_python, f"--dest={wheels}", *WHEELS)
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    return site


def emulate(folder: Path, *arguments: str) -> None:
    """Run ``golden/generate_bits.py --check`` on AArch64."""
    root = unpack_debian(folder)
    python = next(root.glob("usr/bin/python3.*[0-9]"))
    site = unpack_wheels(folder, python.name.removeprefix("python"))
    libraries = [root / start / "aarch64-linux-gnu" for start in ("lib", "usr/lib")]
    variables = {
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        "PYTHONHOME": root / "usr",
        "PYTHONPATH": os.pathsep.join(map(str, (site, REPOSITORY))),
        "NUMBA_CACHE_DIR": folder / "kernels",
    }
    settings = [word for name, value in variables.items() for word in ("-E", f"{name}={value}")]
    emulated = [EMULATOR, "-L", root, *settings, python]
    run(*emulated, "-m", "fastlstm", "versions")
    script = REPOSITORY / "tests" / "golden" / "generate_bits.py"
    run(*emulated, script, "--check", *arguments)


def main() -> str | int:
    """0, or what went wrong."""
    if platform.machine() in ("aarch64", "arm64"):
        return "This machine is AArch64: tox -e py and tox -e full compare the same file here."
    missing = [name for name in TOOLS if shutil.which(name) is None]
    if missing:
        packages = " ".join(TOOLS[name] for name in missing)
        return f"Not found: {', '.join(missing)}. On Debian: apt-get install {packages}"
    folder = Path(sys.argv[1]).resolve() / "aarch64"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        emulate(folder, *sys.argv[2:])
    except subprocess.CalledProcessError as error:
        return f"{error.cmd[0]} failed with exit code {error.returncode}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
