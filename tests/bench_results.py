"""Made-up results with figures that are easy to follow, for the tests of the benchmarks.

Importing this makes `bench` importable, too.
"""

from __future__ import annotations

import copy
import sys
from pathlib import Path

# At the end: the package under test is the one that is installed, not the one beside `bench`.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from bench.harness import stored

MACHINE = {
    "date": "2026-01-02T03:04:05+00:00",
    "commit": "0" * 40,
    "cpu": "Some(R) CPU, 2 logical",
    "simd": "AVX-512",
    "lanes": "16",
    "threads": 2,
    "system": "Linux",
    "versions": {"numpy": "2.4", "torch": "2.13", "openvino": "2026"},
}
ERRORS = {"checked": 9, "rms_error": 1e-8, "max_error": 1e-7}


def timed(seconds, **more):
    """What is stored of an engine, of three rounds about a median."""
    return {
        "median": seconds,
        "quartiles": [0.995 * seconds, 1.005 * seconds],
        "seconds": [seconds * k for k in (0.99, 1.0, 1.01)],
        "settings": "",
    } | more


def row(name, dtype="float32", N=1000, T=100, H=1, layers=1, lengths="full", idle=0.0, **engines):
    """A stored row; `_` in the names of engines stands for a space."""
    for engine in engines.values():
        if "median" in engine:
            engine.update({"sequences": N, "flops": 8e9} | engine)
    return {
        "name": name,
        "N": N,
        "T": T,
        "I": 1,
        "H": H,
        "layers": layers,
        "dtype": dtype,
        "lengths": lengths,
        "idle": idle,
        "steps": N * T,
        "flops": 8e9,
        "engines": {k.replace("_", " "): v for k, v in engines.items()},
    }


def workload_row(workload, engines, **more):
    """A stored row of a workload; the engines' seconds, or what they have instead."""
    found = {k: timed(v, **ERRORS) if isinstance(v, float) else v for k, v in engines.items()}
    for engine in found.values():
        if "median" in engine:
            engine.update({"sequences": workload.N, "flops": workload.flops} | engine)
    work = {"steps": workload.steps, "flops": workload.flops}
    return workload.__dict__ | work | more | {"engines": found}


def result(command, **sections):
    """A stored result."""
    settings = {"rounds": 3, "turn_seconds": 0.1, "quick": False}
    head = {"format": stored.FORMAT, "command": command, "machine": copy.deepcopy(MACHINE)}
    return head | {"settings": settings, "missing": {}} | sections


def comparison(own=0.01, float64=0.02, other=0.2, rms=1e-8, **more):
    """A result of `compare`."""
    errors = {"checked": 10, "rms_error": rms, "max_error": 10 * rms}
    single = row(
        "seed",
        fastlstm=timed(own, **errors),
        numpy=timed(0.5),
        PyTorch=timed(0.4, checked=10, rms_error=2e-8, max_error=2e-7),
        OpenVINO=timed(other, checked=10, rms_error=3e-8, max_error=3e-7),
        peak=timed(0.005),
    )
    single["engines"]["fastlstm, 1 thread"] = timed(1.95 * own, sequences=1000, flops=8e9)
    double = row("seed", "float64", fastlstm=timed(float64), numpy=timed(0.5), PyTorch=timed(0.4))
    return result("compare", rows=[single, double], **more)


def cells(text, start):
    """The cells of the one line of a table that begins so."""
    (line,) = (k for k in text.splitlines() if k.startswith(start))
    return [cell.strip() for cell in line.strip("|").split("|")]


def missed(command, found):
    """What the goals are about that a result misses."""
    return [goal.what for goal in command.goals(found) if not goal.met]


def fail(workload, x, threads):
    """An engine's `build` that fails; an engine of a process of its own has to be importable."""
    raise ValueError("no such network")
