"""The peak memory of scoring from file to file, in a fresh process.

`python -m bench.scoring_memory ENGINE ROW DTYPE N THREADS FILE` is that process. Linux only, as
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
    command = [sys.executable, "-m", "bench.scoring_memory", engine, row.name, row.dtype]
    command += [str(row.N), str(threads), str(path)]
    with thread_count(threads):
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if answer.returncode:
        return {"failed": (answer.stderr.strip().splitlines() or ["its process ended"])[-1]}
    found: dict[str, int | str] = json.loads(answer.stdout)
    return found


def main(engine: str, row: str, dtype: str, N: str, threads: str, path: str) -> None:
    """Run in the child."""
    work = ScoringRow.named(row, dtype).with_sequences(int(N))
    call, settings = ENGINES[engine].build(work, Path(path), int(threads))
    held = resident("VmRSS")
    RESET.write_text("5")  # what was tried to build the engine does not count
    call()
    print(json.dumps({"held": held, "peak": resident("VmHWM"), "settings": settings}))


if __name__ == "__main__":
    main(*sys.argv[1:])
