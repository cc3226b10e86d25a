"""The peak memory of scoring from file to file, in a fresh process.

`python -m bench.scoring_memory WHAT ENGINE ROW DTYPE N THREADS FILE` is that process; another one
before it only builds the engine, which may try ways that leave memory behind. Linux only, as
`memory.py`. Pages of a file that are mapped count as the process's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench.engines import ENGINES, thread_count
from bench.machine import ROOT
from bench.memory import RESET, resident
from bench.scoring_rows import ScoringRow


def peak(engine: str, row: ScoringRow, threads: int, path: Path) -> dict[str, int | str] | None:
    """Bytes that an engine's process has before it scores all of a row (``held``), and at most.

    None where that cannot be measured; or only ``failed``, the reason.
    """
    if not RESET.exists() or ENGINES[engine].missing():
        return None
    arguments = [engine, row.name, row.dtype, str(row.N), str(threads), str(path)]
    for what in ("build", "call"):
        command = [sys.executable, "-m", "bench.scoring_memory", what, *arguments]
        with thread_count(threads):
            answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if answer.returncode:
            return {"failed": (answer.stderr.strip().splitlines() or ["its process ended"])[-1]}
    found: dict[str, int | str] = json.loads(answer.stdout)
    return found


def main(what: str, engine: str, row: str, dtype: str, N: str, threads: str, path: str) -> None:
    """Run in the child."""
    work = ScoringRow.named(row, dtype).with_sequences(int(N))
    call, settings = ENGINES[engine].build(work, Path(path), int(threads))
    if what == "build":
        return
    held = resident("VmRSS")
    RESET.write_text("5")  # the peak is now what is resident
    call()
    print(json.dumps({"held": held, "peak": resident("VmHWM"), "settings": settings}))


if __name__ == "__main__":
    main(*sys.argv[1:])
