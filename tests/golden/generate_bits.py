"""Make ``bits.json`` with this package: ``python tests/golden/generate_bits.py``, some minutes.

Digests of what the networks of ``tests/golden_bits.py`` give, a line for each case. With
``--check`` they are compared with the file, which is left alone: all of them, those of which the
names follow, or with ``--sample`` some that have every kind of part. A file with other digests
means other scores for everybody: a release in which bits change says so.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER.parent), str(FOLDER.parents[1])]  # the tests, fastlstm

import golden_bits  # noqa: E402


def digests_of(names: list[str]) -> dict[str, dict[str, str]]:
    return {name: golden_bits.digests(golden_bits.CASES[name]) for name in names}


def differences_of(names: list[str]) -> int:
    """How many of the cases differ from the file; each is reported as soon as it is known."""
    differ = 0
    for name in names:
        begin = time.perf_counter()
        difference = golden_bits.difference(name)
        differ += bool(difference)
        seconds = time.perf_counter() - begin
        print(difference or f"{name}: the same bits ({seconds:.1f} s)", flush=True)
    return differ


def main() -> int:
    """Write the file, or compare with it; the exit code is 1 where bits differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    parser.add_argument("--sample", action="store_true", help="with --check: some of the cases")
    parser.add_argument("case", nargs="*", help="with --check: these cases")
    options = parser.parse_args()
    if (options.sample or options.case) and not options.check:
        parser.error("a choice of cases goes with --check: the file has all of them")
    for unknown in {*options.case} - {*golden_bits.CASES}:
        parser.error(f"no case is called {unknown!r}: the names are in {golden_bits.GOLDEN.name}")
    names = golden_bits.SAMPLE if options.sample else options.case or list(golden_bits.CASES)
    # A process for each dtype: they share no kernels.
    parts = [[k for k in names if golden_bits.CASES[k].dtype == d] for d in ("float32", "float64")]
    with ProcessPoolExecutor(len(parts)) as pool:
        if options.check:
            differ = sum(pool.map(differences_of, parts))
            print(f"{len(names) - differ} of {len(names)} cases: the same bits")
            return int(differ > 0)
        found = {k: v for part in pool.map(digests_of, parts) for k, v in part.items()}
    lines = [f"{json.dumps(name)}: {json.dumps(found[name])}" for name in names]
    golden_bits.GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
