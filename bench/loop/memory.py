"""A section of `loop`: the memory that `predict` needs beyond its input and output.

Each case is a fresh process, `python -m bench.loop.memory CASE N T THREADS`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import fastlstm
from bench.harness import child, resident
from bench.harness.goals import Goal
from bench.harness.tables import table
from bench.harness.workload import Workload

if TYPE_CHECKING:  # the child need not import all that measures
    from bench.harness.run import Run

SEQUENCES, STEPS = 100_000, 100
CASES = {
    "kernels loaded": "float32 input, read in place",
    "converted": "float64 input to a float32 model, kernels loaded",
    "first call": "float32 input; Numba is imported and kernels are loaded meanwhile",
}
MOST_EXTRA_BYTES = 50e6


def measure(run: Run) -> dict[str, Any]:
    """Bytes by case; none where they cannot be measured."""
    run.say("memory")
    extra = {}
    for case in CASES if resident.can_measure() else ():
        arguments = ("-m", "bench.loop.memory", case, str(SEQUENCES), str(STEPS), str(run.threads))
        line, _ = child.first_line(*arguments, threads=run.threads)
        extra[case] = int(line)
    return {"N": SEQUENCES, "T": STEPS, "extra_bytes": extra}


def main(case: str, N: str, T: str, threads: str) -> None:
    """Run in the child."""
    workload = Workload("seed", int(N), int(T), 1, 1, 1, "float32")
    model, x = workload.model(), workload.inputs()
    if case == "converted":
        x = x.astype("float64")
    if case != "first call":
        fastlstm.warmup(model)
    before = resident.now()
    resident.reset_peak()
    y = model.predict(x, threads=int(threads))
    print(resident.peak() - before - y.nbytes)


def report(memory: Mapping[str, Any]) -> str:
    extra = memory["extra_bytes"]
    title = f"## Peak memory of `predict` on {memory['N']:,} x {memory['T']:,}"
    if not extra:
        return f"{title}\n\nnot measured: needs Linux"
    lines = [[case, CASES[case], f"{size / 1e6:.1f}"] for case, size in extra.items()]
    return f"{title}\n\n{table(['case', '', 'MB beyond input and output'], lines, text_columns=2)}"


def goals(memory: Mapping[str, Any]) -> Iterator[Goal]:
    for case, size in memory.get("extra_bytes", {}).items():
        if case != "first call":
            what = f"memory beyond input and output, {case}"
            yield Goal(what, "< 50 MB", f"{size / 1e6:.1f} MB", size < MOST_EXTRA_BYTES)


if __name__ == "__main__":
    main(*sys.argv[1:])
