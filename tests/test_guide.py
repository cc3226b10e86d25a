"""The user guide: its commands run and print what the page shows.

A line that begins with ``$`` in a block ``console`` is a command, the lines below are what it
prints on standard error and then on standard output. ``...`` stands for anything, as any time does.
A command fails with exit code 1 if an error is shown, else it succeeds.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import child_env

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scoring.md"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the page's commands are those of bash")


def blocks() -> list[tuple[str, str]]:
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S)


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Each command with what it should print."""
    for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
        command, _, printed = part.partition("\n")
        yield command, printed


def pattern(printed: str) -> str:
    """What the page shows as a regular expression."""
    escaped = re.escape(printed).replace(re.escape("..."), "(?s:.*)")
    return re.sub(r"in\\ [\d\\.]+\\ s\b", r"in\\ [\\d.,]+\\ s", escaped)


@pytest.mark.full
def test_the_page(tmp_path, monkeypatch):
    binaries = tmp_path / "bin"
    binaries.mkdir()
    for name, more in (("fastlstm", "-m fastlstm "), ("python", "")):
        (binaries / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {more}"$@"\n')
        (binaries / name).chmod(0o755)
    env = child_env(PATH=f"{binaries}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    run = 0
    for language, block in blocks():
        if language == "python":
            exec(compile(block, str(PAGE), "exec"), names)
            continue
        assert language == "console"
        for command, printed in commands(block):
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command],
                capture_output=True,
                text=True,
                timeout=300,  # a disk that others keep busy
                env=env,
            )
            found = done.stderr + done.stdout
            assert done.returncode == (1 if "error:" in printed else 0), f"{command}\n{found}"
            assert re.fullmatch(pattern(printed), found), f"{command}\n{found}\nnot\n{printed}"
            run += 1
    assert run >= 18


def test_every_option_of_the_page_is_one_of_the_command():
    """And every option that changes what is read or written is on the page."""
    from fastlstm.cli import make_parser
    from fastlstm.commands.hints import HINTS

    actions = make_parser()._subparsers._group_actions[0].choices["score"]._actions
    there = {name for action in actions for name in action.option_strings if name[:2] == "--"}
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`(--[a-z-]+)", text)) | set(re.findall(r" (--[a-z-]+)", text))
    assert named - {"--rows"} <= there
    left_out = {"--help", "--output", "--progress", "--dtype"}
    hints = {f"--{name.replace('_', '-')}" for name in HINTS}
    assert there - named == left_out | (hints - named)
