"""The recipe for Spark, on a Spark of this machine: tox -e spark."""

import sys

import numpy as np
import pyarrow as pa


def test_predict_batch_udf_gives_the_bits_of_predict(model, write_table, run_example):
    x = np.random.default_rng(0).normal(size=(500, 48, 7)).astype("float32")
    write_table(list(x.reshape(500, -1)), pa.list_(pa.float32()))
    scored = run_example("spark_udf.py", "--steps", "48", PYSPARK_PYTHON=sys.executable)
    assert scored.column_names == ["id", "scores"]
    assert scored["id"].to_numpy().tolist() == list(range(500))
    scores = scored["scores"].combine_chunks().flatten().to_numpy()
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores.reshape(500, 1), model.predict(x))
