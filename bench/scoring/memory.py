"""The peak memory of scoring from file to file, in a fresh process.

`python -m bench.scoring.memory WHAT ENGINE NAME DTYPE N THREADS FILE` is that process. Another one
before it only builds the engine, which may try several ways: their memory must not count.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.harness import child, resident
from bench.harness.engines import ENGINES
from bench.scoring.files import FileWorkload


def measure(
    workload: FileWorkload, labels: Sequence[str], threads: int, path: Path
) -> dict[str, Any]:
    """A row of the peaks of engines; without those for which it cannot be measured."""
    can = [k for k in labels if resident.can_measure() and not ENGINES[k].missing()]
    return asdict(workload) | {"engines": {k: peak(k, workload, threads, path) for k in can}}


def peak(label: str, workload: FileWorkload, threads: int, path: Path) -> dict[str, int | str]:
    """Bytes of an engine's process before it scores all of a file (``held``), and at most.

    Or only ``failed``, the reason.
    """
    names = [label, workload.name, workload.dtype, str(workload.N), str(threads), str(path)]
    try:
        for what in ("build", "call"):
            arguments = ("-m", "bench.scoring.memory", what, *names)
            line, _ = child.first_line(*arguments, threads=threads)
    except child.ChildError as error:
        return {"failed": str(error)}
    found: dict[str, int | str] = json.loads(line)
    return found


def main(what: str, label: str, name: str, dtype: str, N: str, threads: str, path: str) -> None:
    """Run in the child."""
    workload = FileWorkload.named(name, dtype).with_sequences(int(N))
    call, settings = ENGINES[label].build(workload, Path(path), int(threads))
    if what == "build":
        print("built")
        return
    held = resident.now()
    resident.reset_peak()
    call()
    print(json.dumps({"held": held, "peak": resident.peak(), "settings": settings}))


if __name__ == "__main__":
    main(*sys.argv[1:])
