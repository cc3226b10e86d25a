"""What several test modules need: comparing bits, and running Python in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastlstm
from fastlstm import reference
from fastlstm.engine.kernel.cells import Cell, cell_of
from fastlstm.engine.kernel.forms import Form, Tile, possible_kinds
from fastlstm.engine.plan.cost import make_tile

TESTS = Path(__file__).resolve().parent
PACKAGE = Path(fastlstm.__file__).resolve().parent

EVERY_CELL = False  # whether this is `pytest -m full`: see `runs_in_engine`

# Numba compiles for a CPU of this kind instead of the one at hand.
AVX2_CPU = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"}


def some_of(table: Iterable[Any], *usual: Any) -> list[Any]:
    """The rows of a table for `parametrize`: all of them for `pytest -m full`, else the usual."""
    rows = []
    for row in table:
        values = row if isinstance(row, tuple) else (row,)
        rows.append(pytest.param(*values, marks=[] if row in usual else pytest.mark.full))
    return rows


def choose_of_few_tiles(stack: Any, n_rows: int, n_threads: int, traced: bool) -> Tile:
    """What the fixture `few_kernels` has instead of `cost.choose_tile`."""
    form = stack.form
    possible = possible_kinds(str(stack.layers[0].dtype), form, traced)
    units = form.projected or form.cell.clipped or form.embedded or (n_rows < 4 and form == Form())
    return make_tile(possible[len(possible) // 2 if units else 0], n_rows, n_threads)


def assert_same_bits(actual: Any, expected: Any, what: str = "") -> None:
    """Fail unless both arrays are the same in dtype, shape and every bit, NaN included."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape), what
    bits = f"u{actual.dtype.itemsize}"
    a, b = (np.ascontiguousarray(v).view(bits) for v in (actual, expected))
    if not np.array_equal(a, b):
        differ = np.argwhere(a != b)
        first = tuple(int(k) for k in differ[0])
        raise AssertionError(
            f"{what}: {len(differ)} of {actual.size} numbers differ, first at {list(first)}: "
            f"{actual[first]!r}, expected {expected[first]!r}"
        )


def runs_in_engine(model: fastlstm.LSTM) -> bool:
    """Whether `predictions` and `outputs` run the engine, too: its kernels are compiled already.

    What a file means for a network is seen by the reference alone, and the engine beside the
    reference in `test_kinds_of_network`: so of the usual tests only those of usual cells compile
    a kernel. `pytest -m full` sets `EVERY_CELL`.
    """
    cells = [cell for layer in model.recurrent for cell in layer.cells]
    return EVERY_CELL or all(cell_of(cell) == Cell() for cell in cells)


def predictions(
    model: fastlstm.LSTM, x: Any, lengths: Any = None, state: Any = None
) -> Iterator[tuple[str, np.ndarray]]:
    """What the model gives for x, by the reference and by the engine."""
    yield "reference", reference.predict(model.network, x, lengths, state)
    if runs_in_engine(model):
        yield "engine", model.predict(x, lengths, state)


def outputs(
    model: fastlstm.LSTM, x: Any, state: Any = None, lengths: Any = None
) -> Iterator[tuple[str, np.ndarray, fastlstm.State]]:
    """Outputs and state of a call of the model likewise."""
    yield "reference", *reference.lstm(model.network, x, state, lengths)
    if runs_in_engine(model):
        yield "engine", *model(x, state, lengths)


def child_env(**changes: str | None) -> dict[str, str]:
    """The environment of a child that imports the same package as this process, and the tests.

    A change to None takes a variable away.
    """
    path = [str(PACKAGE.parent), str(TESTS), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))}
    for name, value in changes.items():
        env.pop(name, None)
        if value is not None:
            env[name] = value
    return env


@contextmanager
def start_child(code: str, *args: str, **env: str | None) -> Iterator[subprocess.Popen[str]]:
    """Python code at work in a process of its own; nothing that it started outlives the block."""
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=child_env(**env),
        cwd=TESTS,  # -c looks there first: in the root it would find the sources
        start_new_session=True,
    )
    try:
        yield child
    finally:
        _kill_group(child)
        child.communicate()


def finish(child: subprocess.Popen[str], timeout: float = 120) -> tuple[str, str]:
    """What a child printed, and what went wrong: a failure, an abort or a hang; "" if nothing."""
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill_group(child)
        out, err = child.communicate()
        return out, f"hung for {timeout} s\n{out}\n{err}"
    return out, f"exit code {child.returncode}\n{out}\n{err}" if child.returncode else ""


def wait_for(child: subprocess.Popen[str], timeout: float = 120) -> str:
    """What a child printed; if anything went wrong the test fails with all of it."""
    out, trouble = finish(child, timeout)
    assert not trouble, trouble
    return out


def run_child(code: str, *args: str, timeout: float = 120, **env: str | None) -> str:
    """Run Python code in a process of its own and return what it printed; see `wait_for`."""
    with start_child(code, *args, **env) as child:
        return wait_for(child, timeout)


def _kill_group(child: subprocess.Popen[str]) -> None:
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):  # all gone
            os.killpg(child.pid, signal.SIGKILL)
    elif child.poll() is None:
        child.kill()
