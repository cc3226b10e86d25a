"""Measure PyTorch's errors on the work of `test_accuracy`, with torch installed.

Run ``python tests/golden/generate_errors.py``. The weights are not stored: NumPy's PCG64 draws
them again, and a digest guards against drift.
"""

import json
import sys
from pathlib import Path

import torch

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER.parent), str(FOLDER.parents[1])]  # the tests, fastlstm

from test_accuracy import (  # noqa: E402
    GOLDEN,
    ROWS,
    SEEDS,
    digest,
    make_work,
    measure,
    recompute,
    run_torch,
)


def entry(row, dtype, seed):
    model, x = make_work(row, dtype, seed)
    errors = measure(run_torch(model, x), recompute(model, x))
    return {"work": digest(model, x), **errors._asdict()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    errors = {
        dtype: [[entry(row, dtype, seed) for seed in SEEDS] for row in ROWS]
        for dtype in ("float32", "float64")
    }
    about = {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()}
    GOLDEN.write_text(json.dumps({**about, "errors": errors}, indent=1) + "\n")
