"""The recipe for Ray Data, on a Ray of this machine: tox -e ray."""

import numpy as np
import pyarrow as pa


def test_map_batches_gives_the_bits_of_predict(model, write_table, run_example):
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 60, 500)
    sequences = [rng.normal(size=(n, 7)).astype("float32") for n in lengths]
    write_table([list(x) for x in sequences], pa.list_(pa.list_(pa.float32())))
    scored = run_example("ray_data.py", RAY_AUTH_MODE="disabled")
    assert scored.column_names == ["id", "score_0"]
    assert scored["id"].to_numpy().tolist() == list(range(500))
    scores = scored["score_0"].to_numpy()
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(scores, model.predict(sequences)[:, 0])
