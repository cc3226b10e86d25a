"""Score a Parquet table on a Dask cluster, or on all cores of this machine.

    python -m pip install ".[arrow,dask]" "dask[dataframe]"
    python examples/dask_cluster.py model.npz sequences/ scores/ --scheduler tcp://host:8786

`sequences/` is a Parquet file or a folder of them, with a column `x` of sequences: lists of
numbers, or lists of steps that are lists of numbers, of any lengths. `scores/` becomes a folder of
Parquet files with the other columns and a column `score_0`, `score_1`, ... for each output.
"""

from __future__ import annotations

import argparse

import dask
import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
from dask.distributed import Client

import fastlstm


def score(part: pd.DataFrame, model: fastlstm.LSTM) -> pd.DataFrame:
    """Score the rows of a partition; there may be none."""
    x = fastlstm.Ragged.from_arrow(pa.array(part["x"]))
    scores = model.predict(x, threads=1)  # (N, outputs)
    columns = {f"score_{k}": column for k, column in enumerate(scores.T)}
    return part.drop(columns="x").assign(**columns)


def main() -> None:
    """Read, score and write; see above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a file that fastlstm.load reads; the workers need none")
    parser.add_argument("source", help="Parquet file or folder with a column x of sequences")
    parser.add_argument("destination", help="folder to write Parquet files to")
    parser.add_argument("--scheduler", help="where the cluster is (default: one on this machine)")
    options = parser.parse_args()

    model = fastlstm.load(options.model)
    with Client(options.scheduler):
        # Arrow's own types keep lists as they are
        table = dd.read_parquet(options.source, dtype_backend="pyarrow")
        columns = {f"score_{k}": pd.Series(dtype=model.dtype) for k in range(model.output_size)}
        scored = table.map_partitions(
            score,
            dask.delayed(model),  # in the graph once, pickled as its weights
            meta=table._meta.drop(columns="x").assign(**columns),
        )
        scored.to_parquet(options.destination, write_index=False)


if __name__ == "__main__":
    main()
