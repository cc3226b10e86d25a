"""The command line as a whole: help, exit codes, completions."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import child_env

import fastlstm
from fastlstm import cli
from fastlstm.commands import versions
from fastlstm.commands.hints import HINTS as FLAGS
from fastlstm.commands.hints import READS, given_hints
from fastlstm.loading import READERS
from fastlstm.network import reading

COMMANDS = ("demo", "info", "convert", "verify", "score", "trace", "speed", "versions")


def run_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fastlstm", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=child_env())


def help_of(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_python_m_fastlstm_is_the_command():
    """In a process of its own: the exit code and the program's name are the process's."""
    done = run_module("--version")
    assert (done.returncode, done.stdout) == (0, f"fastlstm {fastlstm.__version__}\n")
    assert run_module("score", "nowhere.npy").returncode == 2


def test_help_names_every_command_and_exit_code(capsys):
    text = help_of(capsys)
    listed = re.findall(r"^    ([a-z]+)  ", text, re.M)
    assert tuple(listed) == COMMANDS
    codes = re.findall(r"^  (\d+) +\w", text[text.index("exit codes:") :], re.M)
    assert codes == ["0", "1", "2", "130"]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_a_command_can_be_run(command, capsys):
    """They are parsed, not run."""
    text = help_of(capsys, command)
    examples = re.findall(r"^  (fastlstm .*)$", text[text.rindex("\nexample") :], re.M)
    assert examples
    for example in examples:
        words = shlex.split(example.partition(" > ")[0])
        assert words[:2] == ["fastlstm", command]
        options = cli.make_parser().parse_args(words[1:])
        assert options.run.__module__ == f"fastlstm.commands.{command}"


@pytest.mark.parametrize(
    "arguments", [[], ["no-such-command"], ["demo", "extra"], ["--no-such-option"]], ids=" ".join
)
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage: fastlstm" in capsys.readouterr().err


def test_ctrl_c_is_exit_code_130(monkeypatch, capsys):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(versions, "facts", interrupted)
    assert cli.main(["versions"]) == 130
    assert capsys.readouterr().err == "fastlstm: interrupted\n"


def test_no_memory_has_a_name(monkeypatch, capsys):
    def full():
        raise MemoryError

    monkeypatch.setattr(versions, "facts", full)
    assert cli.main(["versions"]) == 1
    assert capsys.readouterr().err == "fastlstm: error: MemoryError\n"


def test_errors_show_no_traceback(tmp_path):
    """In a process of its own, where nothing catches what main lets through."""
    np.save(tmp_path / "wide.npy", np.zeros((20, 7, 3)))
    done = run_module("info", str(tmp_path / "wide.npy"))
    assert done.returncode == 1
    assert re.fullmatch(r"fastlstm: error: [^\n]+\n", done.stderr)


@pytest.mark.parametrize("arguments", [["versions"], ["--help"], ["trace", "--help"]], ids=" ".join)
def test_a_reader_that_stops_early_is_no_error(arguments):
    """In a process of its own: its standard output is a buffered pipe that nobody reads."""
    code = (
        "import os, sys\n"
        "read, write = os.pipe(); os.close(read); os.dup2(write, 1)\n"
        "from fastlstm.cli import main\n"
        f"sys.exit(main({arguments!r}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
        env=child_env(PYTHONUNBUFFERED=None),
    )
    assert (done.returncode, done.stderr) == (0, "")


# --- completions --------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completions_name_every_command(shell, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--print-completion", shell])
    assert stop.value.code == 0
    script = capsys.readouterr().out
    assert all(re.search(rf"\b{command}\b", script) for command in COMMANDS)
    assert "return-sequences" in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash on this machine")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["fastlstm", "tr"], ["trace"]),
        (["fastlstm", "score", "--ret"], ["--return-sequences"]),
        (["fastlstm", "verify", "--rea"], ["--read"]),
        (["fastlstm", "speed", "--read", "fin"], ["final"]),
        (["fastlstm", "convert", "--dtype", "float3"], ["float32"]),
        (["fastlstm", "info", "check"], ["checkpoint.pt"]),
        (["fastlstm", "trace", "--model", "check"], ["checkpoint.pt"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_bash_completes(tmp_path, capsys, words, expected):
    with pytest.raises(SystemExit):
        cli.main(["--print-completion", "bash"])
    (tmp_path / "checkpoint.pt").touch()
    script = capsys.readouterr().out + (
        f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}\n"
        "complete -p fastlstm >/dev/null || exit 3\n"
        f"_shtab_fastlstm fastlstm {words[-1]} {words[-2]}\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert (done.stdout.split(), done.stderr, done.returncode) == (expected, "", 0)


def test_completions_need_shtab(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["--print-completion", "bash"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        'fastlstm: error: --print-completion needs shtab: pip install "fastlstm[cli]"\n'
    )


def test_completions_for_another_shell(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--print-completion", "csh"])
    assert stop.value.code == 2


@pytest.mark.parametrize("command", ["info", "convert", "verify", "score", "trace", "speed"])
def test_every_command_that_takes_a_model_takes_hints(command, capsys):
    text = help_of(capsys, command)
    for name in FLAGS:
        assert f"--{name.replace('_', '-')}" in text


def test_a_hint_of_one_name_is_no_list():
    words = ["info", "m.pt", "--head", "fc", "--prefix", "a", "b", "--skip", "1"]
    words += ["--config", "c.json"]
    given = {"head": "fc", "prefix": ["a", "b"], "skip": 1, "config": Path("c.json")}
    assert given_hints(cli.make_parser().parse_args(words)) == given


def test_a_misspelt_flag_is_refused_by_name(capsys):
    for flag, meant in (("--haed", "; did you mean --head?"), ("--rnu", ""), ("--zzz", "")):
        with pytest.raises(SystemExit) as stop:
            cli.main(["info", "model.pt", flag, "fc"])
        assert stop.value.code == 2
        printed = capsys.readouterr().err
        assert printed.startswith("usage: fastlstm info ")
        assert f"unrecognized arguments: {flag} fc{meant}\n" in printed


def test_hints_are_the_same_words_everywhere():
    """In what readers take, in `load`, `score` and the commands, whose dtype is one for all."""
    words = {name for reader in READERS.values() for name in reader.HINTS}
    assert {*inspect.signature(fastlstm.load).parameters} - {"path"} == words
    assert words <= {*inspect.signature(fastlstm.score).parameters}
    assert {*FLAGS} == words - {"dtype"}
    assert READS == reading.READS
