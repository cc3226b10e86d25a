"""Score a Parquet table on a Ray cluster, or on all cores of this machine.

    python -m pip install ".[arrow]" "ray[data]"
    python examples/ray_data.py model.npz sequences/ scores/

`sequences/` is a Parquet file or a folder of them, with a column `x` of sequences: lists of
numbers, or lists of steps that are lists of numbers, of any lengths. `scores/` becomes a folder of
Parquet files with the other columns and a column `score_0`, `score_1`, ... for each output.
"""

from __future__ import annotations

import argparse

import pyarrow as pa
import ray

import fastlstm


class Scorer:
    """An actor: it has one process and one core, where the model compiles once."""

    def __init__(self, model: fastlstm.LSTM) -> None:
        self.model = model

    def __call__(self, table: pa.Table) -> pa.Table:
        x = fastlstm.Ragged.from_arrow(table["x"])
        scores = self.model.predict(x, threads=1)  # (N, outputs)
        table = table.drop_columns("x")
        for k, column in enumerate(scores.T):
            table = table.append_column(f"score_{k}", pa.array(column))
        return table


def main() -> None:
    """Read, score and write; see above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a file that fastlstm.load reads; the workers need none")
    parser.add_argument("source", help="Parquet file or folder with a column x of sequences")
    parser.add_argument("destination", help="folder to write Parquet files to")
    options = parser.parse_args()

    model = fastlstm.load(options.model)
    ray.init()  # or the cluster that RAY_ADDRESS names
    actors = int(ray.cluster_resources()["CPU"])
    scored = ray.data.read_parquet(options.source).map_batches(
        Scorer,
        fn_constructor_args=(model,),  # pickled as its weights
        batch_format="pyarrow",
        batch_size=65536,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
    )
    scored.write_parquet(options.destination)


if __name__ == "__main__":
    main()
