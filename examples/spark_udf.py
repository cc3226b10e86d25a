"""Score a Parquet table on a Spark cluster, or on all cores of this machine.

    python -m pip install . "pyspark[sql]"
    spark-submit examples/spark_udf.py model.npz sequences/ scores/ --steps 48

`sequences/` is a Parquet file or a folder of them, with a column `x` of sequences of one length:
the numbers of all steps in one flat list, since `predict_batch_udf` takes no nested lists.
`scores/` becomes a folder of Parquet files with the other columns and a column `scores`, a list of
the model's outputs. Spark writes beside the destination, and moves complete files into place.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import SparkSession
from pyspark.sql.types import ArrayType, DoubleType, FloatType

import fastlstm


def make_udf(model: fastlstm.LSTM, steps: int) -> Any:
    """Return a function of Spark columns that scores sequences of `steps` steps."""

    def make_predict() -> Callable[[Any], Any]:  # called once in a Python worker
        return lambda x: model.predict(x, threads=1)  # x (N, T, I) -> (N, outputs)

    number = FloatType() if model.dtype == "float32" else DoubleType()
    return predict_batch_udf(
        make_predict,
        return_type=ArrayType(number),
        batch_size=8192,
        input_tensor_shapes=[[steps, model.input_size]],
    )


def main() -> None:
    """Read, score and write; see above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a file that fastlstm.load reads; the workers need none")
    parser.add_argument("source", help="Parquet file or folder with a column x of sequences")
    parser.add_argument("destination", help="folder to write Parquet files to")
    parser.add_argument("--steps", type=int, required=True, help="of every sequence")
    options = parser.parse_args()

    score = make_udf(fastlstm.load(options.model), options.steps)
    spark = SparkSession.builder.appName("fastlstm").getOrCreate()
    table = spark.read.parquet(options.source)
    table.withColumn("scores", score("x")).drop("x").write.parquet(options.destination)
    spark.stop()


if __name__ == "__main__":
    main()
