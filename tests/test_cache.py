"""The disk cache: never the old result, and no trouble with files ever reaches a caller.

Each test scores in processes of its own, with a copy of the package and a cache folder that it
may spoil. What they score is so little that the time goes into compiling one kernel.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers import PACKAGE, TESTS, finish, run_child, some_of, start_child
from shapes import make_input, make_model


def score() -> str:
    """The bits of a few scores."""
    return make_model(1, (1,)).predict(make_input(3, 9, 1)).tobytes().hex()


# Runs in the children: `anew` scores as a new process would, which costs less than one.
PRELUDE = """
import os
import fastlstm
from fastlstm.engine import jit
from fastlstm.engine.kernel import compiled as kernels
from test_cache import score

def anew():
    kernels.kernel.cache_clear()
    return score()
"""


class Install:
    """A copy of the package, with a cache folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.package, self.cache = folder / "lib" / "fastlstm", folder / "cache"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE, self.package, ignore=ignored)
        self.env = {
            "PYTHONPATH": os.pathsep.join([str(self.package.parent), str(TESTS)]),
            "NUMBA_CACHE_DIR": str(self.cache),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(folder / "home"),
            "XDG_CACHE_HOME": None,
            "FASTLSTM_CACHE": None,
        }

    def run(self, code: str, *args: str, **env: str | None) -> list[str]:
        """Run code with this install in a new process and return the lines that it printed."""
        code = PRELUDE + textwrap.dedent(code) + "\nprint(fastlstm.__file__)\n"
        *lines, file = run_child(code, *args, **{**self.env, **env}).splitlines()
        assert Path(file).parent == self.package
        return lines

    def edit(self, name: str, old: str, new: str) -> None:
        """Change a source; neither its size nor its date tells."""
        path = self.package / "engine" / name
        before, text = path.stat(), path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        assert len(old) == len(new)
        path.write_text(text.replace(old, new), encoding="utf-8")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def files(self) -> dict[str, int]:
        """The files of the cache and when they were written."""
        return {path.name: path.stat().st_mtime_ns for path in self.cache.rglob("*.nb?")}


# What must leave its mark on the scores: (source, old text, new text).
EDITS = [
    ("simd/constants.py", '"1": 1.0', '"1": 1.5'),
    ("kernel/cells.py", "n_g / (d_i * d_g)", "n_g / (d_i + d_g)"),
]


def an_edit_of_any_source_is_noticed(install: Install) -> None:
    """Not only of the file that holds the kernel: Numba by itself would see no other."""
    first = install.run("print(score())")
    written = install.files()
    assert first == [score()]
    assert written
    assert install.run("print(any(os.scandir(kernels.cache_folder())))") == ["True"]
    assert install.run("print(score())") == first
    assert install.files() == written, "the second process compiled again"
    results = {*first}
    for name, old, new in EDITS:
        install.edit(name, old, new)
        results |= {*install.run("print(score())")}
        install.edit(name, new, old)
    assert len(results) == 1 + len(EDITS), "an edit gave an old result"
    assert install.run("print(score())") == first


def every_floor_has_a_part_in_the_fingerprint(install: Install) -> None:
    """It names the files of the cache, so that whatever changes it has kernels compiled anew."""
    code = """
    from pathlib import Path

    engine = Path(jit.__file__).parent
    for path in sorted(engine.rglob("*.py")):
        before, source = jit.fingerprint(), path.read_bytes()
        path.write_bytes(source + b"#")
        jit.fingerprint.cache_clear()
        print(path.relative_to(engine).as_posix(), before != jit.fingerprint())
        path.write_bytes(source)
        jit.fingerprint.cache_clear()
    """
    noticed = dict(line.rsplit(" ", 1) for line in install.run(code))
    assert {*noticed.values()} == {"True"}, noticed
    floors = {name.split("/")[0] for name in noticed if "/" in name}
    assert floors == {"simd", "kernel", "plan", "run"}


def without_a_cache(install: Install) -> None:
    assert install.run("print(score(), kernels.cache_folder())", FASTLSTM_CACHE="0") == [
        f"{score()} None"
    ]
    assert not install.files()


def nowhere_to_write(install: Install) -> None:
    """A read-only install in a home that is none: a file stands where folders should be made.

    (Permissions would not keep root from writing.)
    """
    (install.package / "engine" / "kernel" / "__pycache__").write_text("not a folder")
    file = str(install.package / "py.typed")
    code = """
    from numba.core import config
    for folder in ("", os.environ["HOME"] + "/folder"):
        config.CACHE_DIR = folder
        print(anew(), kernels.cache_folder())
    """
    lines = install.run(code, HOME=file, XDG_CACHE_HOME=file, NUMBA_CACHE_DIR=None)
    assert lines == [f"{score()} None"] * 2


def damaged_files(install: Install) -> None:
    """Of the index or of the code: compiled anew, with a cache that works again afterwards.

    Without a cache they are not even read.
    """
    code = """
    import sys
    from pathlib import Path

    damages = {
        "empty": lambda data: b"",
        "cut": lambda data: data[: len(data) // 2],
        "garbage": lambda data: bytes(range(256)) * 40,
    }
    expected = score()
    whole = {path: path.read_bytes() for path in Path(sys.argv[1]).rglob("*.nb?")}
    assert {path.suffix for path in whole} == {".nbi", ".nbc"}

    def spoil(suffix, name):
        for path, data in whole.items():
            path.write_bytes(damages[name](data) if path.suffix == suffix else data)

    def dates():
        return {path: path.stat().st_mtime_ns for path in Path(sys.argv[1]).rglob("*")}

    for suffix, name in [(".nbi", "empty"), (".nbi", "garbage"), (".nbc", "cut")]:
        spoil(suffix, name)
        assert anew() == expected, (suffix, name)
        repaired = dates()
        assert anew() == expected, (suffix, name)
        assert dates() == repaired, (suffix, name, "the cache stayed broken")
    spoil(".nbc", "garbage")
    spoilt = dates()
    os.environ["FASTLSTM_CACHE"] = "0"
    assert anew() == expected
    assert dates() == spoilt
    print(expected)
    """
    assert install.run(code, str(install.cache)) == [score()]


def a_full_disk(install: Install) -> None:
    """Writing fails half way: the call scores all the same, and the next one mends the cache."""
    code = """
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, most))
    print(anew())
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    print(anew())
    """
    assert install.run(code) == [score()] * 2
    written = install.files()
    assert install.run("print(score())") == [score()]
    assert install.files() == written


def two_processes_that_compile_at_once(install: Install) -> None:
    code = PRELUDE + "print(score())"
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(start_child(code, **install.env)) for _ in range(2)]
        ends = [finish(child) for child in children]
    assert ends == [(f"{score()}\n", "")] * 2
    written = install.files()
    assert install.run("print(score())") == [score()]
    assert install.files() == written


CHECKS = {
    check.__name__: check
    for check in (
        an_edit_of_any_source_is_noticed,
        every_floor_has_a_part_in_the_fingerprint,
        damaged_files,
        a_full_disk,
        without_a_cache,
        nowhere_to_write,
        two_processes_that_compile_at_once,
    )
}
USUAL = "every_floor_has_a_part_in_the_fingerprint", "nowhere_to_write", "damaged_files"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """All checks side by side: each waits for other processes most of the time."""
    with ThreadPoolExecutor(2) as pool:
        yield {
            name: pool.submit(check, Install(tmp_path_factory.mktemp(name)))
            for name, check in CHECKS.items()
        }


@pytest.mark.parametrize("check", some_of(CHECKS, *USUAL))
def test_cache(check, outcomes):
    if check == "a_full_disk" and os.name == "nt":
        pytest.skip("Windows cannot limit the size of files")
    outcomes[check].result()
