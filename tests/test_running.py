"""How the tests are run: by the README's command, on every Python, and never none of them."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import child_env, some_of

ROOT = Path(__file__).resolve().parents[1]

SKIPPED = """
import pytest

@pytest.mark.skip(reason="as where something is not installed")
def test_skipped():
    pass
"""
ONE_RAN = SKIPPED + "\ndef test_ran():\n    pass\n"


@pytest.mark.parametrize("workers", some_of([0, 1], 1))
@pytest.mark.parametrize(
    ("tests", "status"), [(SKIPPED, 5), (ONE_RAN, 0)], ids=["all skipped", "one ran"]
)
def test_a_run_without_a_test_is_no_success(tests, status, workers, tmp_path):
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text(tests, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"-n{workers}", "-q"]
    done = subprocess.run(
        command, cwd=tmp_path, env=child_env(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert ("No test ran" in done.stdout) == (status != 0)


def commands_of_the_readme() -> list[str]:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^    (python -m venv .+)$", readme, re.M)


def test_the_readme_has_two_commands():
    first, second = commands_of_the_readme()
    assert first.endswith("fastlstm demo")
    assert second.startswith("python -m venv .venv && .venv/bin/pip install tox && .venv/bin/tox")


# Stands for every program that `.ci/run` starts: writes down its call, and may fail.
PROGRAM = """#!/bin/sh
set -e
echo "$(basename "$0") $*" >> "$CALLS"
env | grep -E '^(TOX|PYENV|PIP|PYTEST)' >> "$CALLS" || true
case "$0 $*" in *"$FAILS"*) exit 3 ;; esac
case "$*" in "-m venv .venv")
    mkdir -p .venv/bin
    cp "$0" .venv/bin/pip
    cp "$0" .venv/bin/tox ;;
esac
"""


@pytest.mark.skipif(os.name == "nt", reason="CI runs a shell script")
@pytest.mark.parametrize("fails", ["nothing", "venv", "install", "-p 2", "-e newest"])
def test_ci_runs_the_readmes_second_command_and_then_the_rest(fails, tmp_path):
    """With nothing set before, and whatever fails is a failure."""
    calls, programs = tmp_path / "calls", tmp_path / "programs"
    programs.mkdir()
    (programs / "python").write_text(PROGRAM, encoding="utf-8")
    (programs / "python").chmod(0o755)
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    shutil.copy(ROOT / "README.md", tmp_path)
    env = {"PATH": f"{programs}:/usr/bin:/bin", "CALLS": str(calls), "FAILS": fails}
    done = subprocess.run(["bash", ".ci/run"], cwd=tmp_path, env=env, timeout=60)
    called = calls.read_text(encoding="utf-8").splitlines()
    if fails == "nothing":
        _, second = commands_of_the_readme()
        assert done.returncode == 0
        assert called[:3] == [part.removeprefix(".venv/bin/") for part in second.split(" && ")]
        assert called[3:] == ["tox -e newest,oldest,full"]
    else:
        assert done.returncode == 3
        assert fails in called[-1]


def test_no_environment_of_tox_can_be_skipped():
    """One that needs a Python that is not there fails; the first runs on the one at hand."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "tox.ini", encoding="utf-8")
    assert not config.getboolean("tox", "skip_missing_interpreters")
    usual = [name.strip() for name in config["tox"]["env_list"].split(",")]
    assert "py" in usual
    assert not config.has_section("testenv:py")
    assert "base_python" not in config["testenv"]
    assert config["testenv"]["commands"].startswith("pytest ")
