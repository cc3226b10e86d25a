"""How much memory `predict` needs beyond its input and output, in fresh processes.

`python -m bench.memory CASE N T THREADS` is such a process. Linux only: elsewhere the peak of a
process cannot be set back.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fastlstm
from bench.machine import ROOT
from bench.rows import Row

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
CASES = {
    "kernels loaded": "float32 input, read in place",
    "converted": "float64 input to a float32 model, kernels loaded",
    "first call": "float32 input; Numba is imported and kernels are loaded meanwhile",
}


def extra_bytes(N: int, T: int, threads: int) -> dict[str, int]:
    """Peak memory beyond input and output by case; nothing where it cannot be measured."""
    if not RESET.exists():
        return {}
    found = {}
    for case in CASES:
        command = [sys.executable, "-m", "bench.memory", case, str(N), str(T), str(threads)]
        answer = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
        found[case] = int(json.loads(answer.stdout))
    return found


def resident(field: str) -> int:
    """Bytes of this process in memory: ``"VmRSS"`` now, ``"VmHWM"`` at most."""
    (line,) = (k for k in STATUS.read_text().splitlines() if k.startswith(field))
    return 1024 * int(line.split()[1])


def main(case: str, N: str, T: str, threads: str) -> None:
    """Run in the child."""
    row = Row("seed", int(N), int(T), 1, 1, 1, "float32")
    model, x = row.model(), row.inputs()
    if case == "converted":
        x = x.astype("float64")
    if case != "first call":
        fastlstm.warmup(model)
    before = resident("VmRSS")
    RESET.write_text("5")  # the peak is now what is resident
    y = model.predict(x, threads=int(threads))
    print(json.dumps(resident("VmHWM") - before - y.nbytes))


if __name__ == "__main__":
    main(*sys.argv[1:])
