"""``fastlstm versions`` and `show_versions`: what they print, and that nothing is imported."""

from __future__ import annotations

import io
import platform
import sys
from importlib import metadata

import fastlstm
from fastlstm import cli
from fastlstm.commands import versions
from fastlstm.engine import cpu
from fastlstm.engine.run import threads


def rows() -> dict[str, str]:
    out = io.StringIO()
    fastlstm.show_versions(out)
    return dict(line.split("  ", 1) for line in out.getvalue().splitlines())


def stripped() -> dict[str, str]:
    return {name.strip(): value.strip() for name, value in rows().items()}


def test_show_versions_names_what_a_bug_report_needs():
    found = stripped()
    assert found["fastlstm"] == fastlstm.__version__
    assert found["Python"].endswith(platform.python_version())
    for name in ("numpy", "numba", "llvmlite"):
        assert found[name] == metadata.version(name)
    assert found["SIMD"] == cpu.simd_name()
    assert found["lanes"] == f"{cpu.lanes('float32')} float32, {cpu.lanes('float64')} float64"
    assert found["threads"] == str(threads.default_threads())
    assert found["CPU"]
    assert found["kernel cache"]


def test_an_optional_package_is_listed_only_if_installed(monkeypatch):
    def version(name: str) -> str:
        if name in versions.OPTIONAL or name == "numba":
            raise metadata.PackageNotFoundError(name)
        return "1.2.3"

    monkeypatch.setattr(versions.metadata, "version", version)
    found = stripped()
    assert not set(versions.OPTIONAL) & set(found)
    assert found["numba"] == "not installed"
    assert found["numpy"] == "1.2.3"


def test_no_cache_folder_is_said_in_words(monkeypatch):
    from fastlstm.engine.kernel import compiled

    monkeypatch.setattr(compiled, "cache_folder", lambda: None)
    assert stripped()["kernel cache"] == "none: every process compiles its own"


def test_optional_packages_are_not_imported(monkeypatch):
    """What stands as None among the modules cannot be imported."""
    before = stripped()
    for name in versions.OPTIONAL:
        monkeypatch.setitem(sys.modules, name, None)
    assert stripped() == before


def test_the_command_prints_the_same(capsys):
    assert cli.main(["versions"]) == 0
    out = io.StringIO()
    fastlstm.show_versions(out)
    assert capsys.readouterr().out == out.getvalue()
