"""A section of `loop`: how long processes take to import, and to their first result.

Every figure is that of a fresh process. For a first result it is
`python -m bench.loop.start ENGINE NAME DTYPE N THREADS`, which prints a line when the result is
there.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.harness import child
from bench.harness.engine import Engine
from bench.harness.engines import ENGINES
from bench.harness.goals import Goal, at_most
from bench.harness.own import OWN
from bench.harness.rounds import timed
from bench.harness.tables import number, quartiles_ms, table
from bench.harness.workload import Workload

if TYPE_CHECKING:  # the child need not import all that measures
    from bench.harness.run import Run

IMPORTS = {
    "numpy": "import numpy",
    "fastlstm": "import fastlstm",
    "fastlstm.LSTM": "from fastlstm import LSTM",
}
TIMED_IMPORT = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
NAMES, SEQUENCES = ("seed", "mid"), 1_000  # one for each of the two kinds of kernel

MOST_TIMES_IMPORT_NUMPY = 1.3
PLAIN_TIMES = ("{:g}", "{:.2f}")
MOST_SECONDS = {"warm": 0.7, "cold": 8.0}  # from the start of a process to its first result
SECONDS = ("{:g} s", "{:.2f} s")


def measure(run: Run) -> dict[str, Any]:
    """Times of imports, and of first calls with few sequences."""
    run.say("imports and first calls")
    seconds = import_seconds(3 if run.quick else 15, run.threads)
    first = []
    for dtype in run.options.dtypes:
        for name in NAMES:
            workload = Workload.named(name, dtype).with_sequences(SEQUENCES)
            calls = first_calls(ENGINES[OWN], workload, run.threads, cold=1 if run.quick else 3)
            first.append(asdict(workload) | {"first_call": calls})
    return {"imports": {name: timed(k) for name, k in seconds.items()}, "first_calls": first}


def import_seconds(repeats: int, threads: int) -> dict[str, list[float]]:
    """Seconds of each of `IMPORTS`, in turn, not counting the start of Python itself."""
    seconds: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(repeats + 1):
        for name, statement in IMPORTS.items():
            line, _ = child.first_line("-c", TIMED_IMPORT.format(statement), threads=threads)
            seconds[name].append(float(line))
    return {name: values[1:] for name, values in seconds.items()}  # the first reads the disk


def first_calls(
    engine: Engine, workload: Workload, threads: int, cold: int = 1
) -> dict[str, float]:
    """Seconds from the start of a process to an engine's first result.

    Parameters
    ----------
    engine, workload, threads
        As in `turns.time_engines`.
    cold
        How many times to begin with an empty folder of compiled code.

    Returns
    -------
    dict
        Medians. ``"cold"``: with such a folder. ``"warm"``: of three more processes each time,
        which find there what the first one compiled.
    """
    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    N = engine.sequences(workload)
    names = [engine.label, workload.name, workload.dtype, str(N), str(threads)]
    for _ in range(cold):
        with tempfile.TemporaryDirectory() as folder:
            for kind in ("cold", "warm", "warm", "warm"):
                _, took = child.first_line(
                    "-m", "bench.loop.start", *names, threads=threads, cache=Path(folder)
                )
                seconds[kind].append(took)
    return {kind: median(values) for kind, values in seconds.items()}


def main(engine: str, name: str, dtype: str, N: str, threads: str) -> None:
    """Run in the child."""
    work = Workload.named(name, dtype).with_sequences(int(N))
    x = np.zeros((work.N, work.T, work.I), dtype)  # drawing numbers would take time of its own
    ENGINES[engine].build(work, x, int(threads)).call()
    print("done", flush=True)


def report(start: Mapping[str, Any]) -> str:
    numpy = start["imports"]["numpy"]["median"]
    imports = [
        [name, number(1e3 * k["median"]), quartiles_ms(k), number(k["median"] / numpy)]
        for name, k in start["imports"].items()
    ]
    calls = [
        [row["name"], row["dtype"], *(f"{row[k]:,}" for k in "NTIH")]
        + [f"{row['first_call'][k]:.2f}" for k in ("cold", "warm")]
        for row in start["first_calls"]
    ]
    return "\n\n".join(
        [
            "## Start",
            table(["import", "ms", "quartiles", "x numpy"], imports),
            "From the start of a process to the first result of `predict`:",
            table(["row", "dtype", *"NTIH", "cold, s", "warm, s"], calls, text_columns=2),
        ]
    )


def goals(start: Mapping[str, Any]) -> Iterator[Goal]:
    if "imports" in start:
        times = start["imports"]["fastlstm"]["median"] / start["imports"]["numpy"]["median"]
        what = "import fastlstm: times NumPy's"
        yield from at_most(what, MOST_TIMES_IMPORT_NUMPY, times, PLAIN_TIMES)
    for row in start.get("first_calls", []):
        for kind, most in MOST_SECONDS.items():
            what = f"first predict, {kind} cache: {row['name']} {row['dtype']}"
            yield from at_most(what, most, row["first_call"][kind], SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
