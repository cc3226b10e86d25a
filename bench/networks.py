"""`python -m bench networks`: two directions, peepholes, projections, embeddings, activations.

Each kind of network beside the other engines that compute it, and beside a plain network: what it
costs.
"""

from __future__ import annotations

import argparse

from bench import options, results
from bench.network_rows import NETWORKS, NetworkRow
from bench.options import Run

ENGINES = ("fastlstm", "fastlstm, plain", "PyTorch", "ONNX Runtime", "OpenVINO", "NumPy")


def add_options(parser: argparse.ArgumentParser) -> None:
    rows, parts, dtypes = list(NETWORKS), ("networks",), ("float32",)
    options.add(parser, rows, ENGINES, parts, rounds=5, dtypes=dtypes)


def main(arguments: argparse.Namespace) -> results.Results:
    run = Run("networks", arguments)
    run.results["networks"] = []
    for dtype in arguments.dtypes:
        for name in arguments.rows:
            row = NetworkRow.named(name, dtype)
            found = run.compare(row, arguments.engines)
            plain = row.with_sequences(found["N"]).plain_flops
            run.results["networks"].append(found | {"plain_flops": plain})
    return run.store()
