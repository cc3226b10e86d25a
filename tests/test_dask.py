"""Dask arrays, and the recipes for bags and data frames: the bits of arrays in memory, later."""

from __future__ import annotations

import logging
import os
import pickle
import re
import signal
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import cloudpickle
import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dask.base import tokenize
from dask.distributed import Client, LocalCluster
from helpers import child_env, run_child
from networks import MASKED, NETWORKS, Maker, make_network, make_values

from fastlstm import LSTM, Dense, Layer
from fastlstm.engine.run import engine as run
from fastlstm.network.network import Network
from fastlstm.network.reading import Read
from fastlstm.network.steps import Flatten

ROOT = Path(__file__).resolve().parents[1]
N, T = 29, 11


@pytest.fixture(autouse=True)
def _few_kernels(few_kernels):
    pass


@pytest.fixture(scope="module")
def model():
    m = Maker(0, "float32")
    return LSTM([m.layer(3, 5)], m.dense(5, 2))


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(N, T, 3)).astype("float32")


@pytest.fixture(scope="module")
def lengths():
    return np.random.default_rng(1).integers(0, T + 1, N)


def same_bits(lazy, expected):
    """The same numbers, and a promise of shape, chunks and dtype that was kept."""
    assert isinstance(lazy, da.Array)
    assert lazy.dtype == expected.dtype
    assert lazy._meta.dtype == expected.dtype
    assert lazy._meta.shape == (0,) * expected.ndim
    known = [np.isnan(k) or k == n for k, n in zip(lazy.shape, expected.shape, strict=True)]
    assert all(known), lazy.shape
    blocks = [block.compute(scheduler="sync") for block in lazy.blocks]
    sizes = lazy.chunks[0]
    for size, block in zip(sizes, blocks, strict=True):
        assert type(block) is np.ndarray
        assert np.isnan(size) or len(block) == size
        assert block.shape[1:] == expected.shape[1:]
    np.testing.assert_array_equal(np.concatenate(blocks), expected, strict=True)
    np.testing.assert_array_equal(lazy.compute(scheduler="threads"), expected, strict=True)


# --- the same bits ------------------------------------------------------------------------------

SOME = ["bidirectional, head", "embedding, short", "skip", "learned state", "masked, both"]


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("every", [False, True])
def test_the_bits_of_an_array_in_memory(name, every, lengths):
    network = make_network(name, "float64")
    values = make_values(network, N, T)
    lazy = da.from_array(values, chunks=(8, *values.shape[1:]))
    scores = network.predict(lazy, return_sequences=every)
    assert scores.chunks[0] == (8, 8, 8, 5)
    same_bits(scores, network.predict(values, return_sequences=every))
    scores = network.predict(lazy, lengths, return_sequences=every)
    same_bits(scores, network.predict(values, lengths, return_sequences=every))


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("chunks", [(10, 4, 2), (10, 4, 3), (10, T, 2), (N, T, 3), (1, 1, 1)])
def test_blocks_along_steps_and_inputs_are_joined(chunks, every, model, x):
    lazy = da.from_array(x, chunks=chunks)
    scores = model.predict(lazy, return_sequences=every)
    assert scores.chunks == (lazy.chunks[0], *([(T,)] if every else []), (2,))
    same_bits(scores, model.predict(x, return_sequences=every))


def test_forms_of_the_input(model, x):
    m = Maker(1, "float32")
    one = LSTM([m.layer(1, 5)])
    for lazy in (x[..., 0], x[..., :1], x[0, :, 0]):
        same_bits(one.predict(da.from_array(lazy, chunks=4)), one.predict(lazy))
    sequence = da.from_array(x[0], chunks=(4, 2))
    for every in (False, True):
        scores = model.predict(sequence, return_sequences=every)
        same_bits(scores, model.predict(x[0], return_sequences=every))
    for dtype in ("float64", "int8", ">f4", "float16", "bool"):
        values = (x * 9).astype(dtype)
        same_bits(model.predict(da.from_array(values, chunks=9)), model.predict(values))


@pytest.mark.parametrize("shape", [(0, T, 3), (N, 0, 3), (0, 0, 3)])
@pytest.mark.parametrize("every", [False, True])
def test_nothing_to_score(shape, every, model):
    values = np.zeros(shape, "float32")
    for lazy in (da.from_array(values), da.from_array(values, chunks=(10, -1, -1))):
        scores = model.predict(lazy, return_sequences=every)
        same_bits(scores, model.predict(values, return_sequences=every))


def test_other_steps_than_those_of_the_inputs():
    """Outputs of every step have those of the network; what it does not take is said."""
    m = Maker(0, "float32")
    parts = m.conv(3, 4, 3), m.layer(4, 5), Read(), m.dense(5, 2)
    model = LSTM.from_network(Network(parts))
    x = np.random.default_rng(0).normal(size=(N, T, 3)).astype("float32")
    lengths = np.random.default_rng(1).integers(3, T + 1, N)
    for every in (False, True):
        for of_rows in (None, lengths):
            lazy = model.predict(da.from_array(x, (7, 5, 3)), of_rows, return_sequences=every)
            same_bits(lazy, model.predict(x, of_rows, return_sequences=every))
    with pytest.raises(ValueError, match="part 0, Conv, leaves no step of a short sequence"):
        model.predict(da.from_array(x[:, :2]))
    flat = LSTM.from_network(Network((m.layer(3, 5), Flatten(4), m.dense(20, 1))))
    with pytest.raises(ValueError, match=f"takes exactly 4 steps, and gets {T}"):
        flat.predict(da.from_array(x))
    four = np.full(N, 4)
    same_bits(flat.predict(da.from_array(x, (7, T, 3)), four), flat.predict(x, four))


def test_blocks_without_rows(model, x, lengths):
    lazy = da.from_array(x, chunks=((5, 0, N - 5), 4, 2))
    same_bits(model.predict(lazy), model.predict(x))
    same_bits(model.predict(lazy, lengths), model.predict(x, lengths))


@pytest.mark.parametrize("every", [False, True])
def test_rows_of_unknown_number(every, model, x, lengths):
    keep = np.arange(N) % 3 > 0
    keep[10:20] = False  # a block without rows
    lazy = da.from_array(x, chunks=(10, 4, 3))[da.from_array(keep, chunks=10)]
    kept = da.from_array(lengths, chunks=10)[da.from_array(keep, chunks=10)]
    assert np.isnan(lazy.shape[0])
    scores = model.predict(lazy, return_sequences=every)
    same_bits(scores, model.predict(x[keep], return_sequences=every))
    scores = model.predict(lazy, kept, return_sequences=every)
    assert len(scores.chunks[0]) == 3
    same_bits(scores, model.predict(x[keep], lengths[keep], return_sequences=every))


def test_lengths_take_on_the_blocks_of_rows(model, x, lengths):
    lazy = da.from_array(x, chunks=(10, 4, 3))
    expected = model.predict(x, lengths)
    for given in (lengths, lengths.astype("u1"), da.from_array(lengths, chunks=7), list(lengths)):
        scores = model.predict(lazy, given)
        assert scores.chunks[0] == (10, 10, 9)
        same_bits(scores, expected)


def test_the_model_says_whether_every_step(x):
    m = Maker(2, "float32")
    network = LSTM([m.layer(3, 5)], return_sequences=True)
    lazy = da.from_array(x, chunks=10)
    same_bits(network.predict(lazy), network.predict(x))
    same_bits(network.predict(lazy, return_sequences=False), network(x)[1].h_n[0])


def test_bits_behind_other_operations(model, x):
    """Tasks may be fused into one another, in either direction."""
    lazy = da.from_array(x, chunks=(10, -1, -1))
    scores = model.predict((lazy * 2).map_blocks(np.tanh))
    expected = model.predict(np.tanh(x * 2))
    same_bits(scores, expected)
    same_bits(scores[3:17:2, :1] + 1, expected[3:17:2, :1] + np.float32(1))


# --- laziness -----------------------------------------------------------------------------------


def test_a_graph_is_built_without_the_engine():
    """In a process of its own: this one has imported everything."""
    run_child(
        """
        import sys
        import dask.array as da
        import numpy as np
        from networks import Maker
        from fastlstm import LSTM

        m = Maker(0, "float32")
        model = LSTM([m.layer(3, 5)], m.dense(5, 2))
        computed = []
        x = da.ones((20, 4, 3), chunks=(5, 2, 2))
        x = x.map_blocks(computed.append, meta=np.ones((0, 0, 0)))
        for every in (False, True):
            y = model.predict(x, da.full(20, 3, chunks=5), return_sequences=every)
        y.__dask_graph__().to_dict()
        assert not computed
        assert not {"numba", "fastlstm.engine.run.engine"} & set(sys.modules)
        """
    )


def test_a_model_needs_no_dask():
    """In a process of its own: this one has imported Dask."""
    run_child(
        """
        import sys
        import numpy as np
        from networks import Maker
        from fastlstm import LSTM

        LSTM([Maker(0, "float32").layer(3, 5)]).predict(np.ones((2, 4, 3)))
        assert "dask" not in sys.modules
        """
    )


# --- the graph ----------------------------------------------------------------------------------


def big_model():
    m = Maker(3, "float32")
    return LSTM([m.layer(8, 64)], m.dense(64, 1))  # 75 kB of weights


def weights_size(model):
    arrays = [a for k in (*model.layers, *model.head) for a in k._fields().values()]
    return sum(a.nbytes for a in arrays if isinstance(a, np.ndarray))


def test_the_model_is_in_the_graph_once():
    model = big_model()
    scores = model.predict(da.ones((100, 3, 8), chunks=(1, -1, -1), dtype="f4"))
    for graph in (scores.__dask_graph__(), dask.optimize(scores)[0].__dask_graph__()):
        assert len(cloudpickle.dumps(graph)) < weights_size(model) + 100_000
        tasks = [cloudpickle.dumps(task) for task in dict(graph).values()]
        assert len(tasks) > 100
        assert sum(len(task) > weights_size(model) for task in tasks) == 1


def test_a_pickle_holds_the_weights_and_no_engine():
    model = big_model()
    before = len(pickle.dumps(model))
    model.predict(np.ones((5, 3, 8)))
    hash(model)
    data = pickle.dumps(model)
    assert len(data) == before < weights_size(model) + 2000
    copy = pickle.loads(data)
    assert "_engine" in vars(model)
    assert "_engine" not in vars(copy)
    assert copy == model


def test_equal_calls_have_equal_names(model, x):
    lazy, copy = da.from_array(x, chunks=10), pickle.loads(pickle.dumps(model))
    calls = [
        model.predict(lazy),
        model.predict(lazy, return_sequences=True),
        model.predict(lazy, threads=2),
        model.predict(lazy, np.full(N, 3)),
        model.predict(lazy, np.full(N, 4)),
        model.predict(lazy + 1),
        model.astype("float64").predict(lazy),
    ]
    assert len({call.name for call in calls}) == len(calls)
    assert copy.predict(lazy).name == calls[0].name


def every_network():
    names = [(name, dtype) for name in [*NETWORKS, *MASKED] for dtype in ("float32", "float64")]
    return {name: make_network(*name) for name in names}


def changed_layers(layer):
    """The layer with one bit of one weight changed, for all its arrays; and other options."""
    fields = layer._fields()
    for name, value in fields.items():
        if isinstance(value, np.ndarray):
            array = value.copy()
            array.reshape(-1)[-1] = np.nextafter(array.reshape(-1)[-1], np.inf, dtype=array.dtype)
            yield type(layer)(**{**fields, name: array})
    if isinstance(layer, Layer):
        other = {"coupled": True, "clip": 1.0, "direction": "reverse"}
        other["activations"] = ("sigmoid", "tanh", "relu")
        other["c_0"] = np.zeros(layer.hidden_size, layer.dtype)
        for name, value in other.items():
            yield type(layer)(**{**fields, name: value})
    else:
        yield type(layer)(**{**fields, "activation": "relu"})


def test_whatever_makes_models_differ_changes_their_token():
    m = Maker(4, "float32")
    layer, head = m.layer(2, 3, peepholes=True, h_0=True), m.dense(3, 2)
    models = list(every_network().values())
    models += [LSTM([other], head) for other in changed_layers(layer)]
    models += [LSTM([layer], other) for other in changed_layers(head)]
    models += [LSTM([layer], [head, Dense(np.eye(2, dtype="f4"))]), LSTM([layer, head])]
    options = [{"return_sequences": True}, {"mask_value": 0.0}, {"mask_value": 1.0}, {"skip": 2}]
    options += [{"read": read} for read in ("final", "last", "max", "mean")]
    models += [LSTM([layer], head, **option) for option in options]
    tokens = [tokenize(model) for model in models]
    for (a, of_a), (b, of_b) in combinations(zip(models, tokens, strict=True), 2):
        assert (a == b) == (of_a == of_b), (a, b)
    assert len(set(tokens)) == len(models)


def test_tokens_are_the_same_in_every_process_and_copy():
    networks = every_network()
    for network in networks.values():
        assert tokenize(pickle.loads(pickle.dumps(network))) == tokenize(network)
    code = """
        from dask.base import tokenize
        from test_dask import every_network

        print(*map(tokenize, every_network().values()))
    """
    expected = [tokenize(network) for network in networks.values()]
    assert run_child(code, PYTHONHASHSEED="7").split() == expected


# --- threads ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("threads", "expected"), [(None, 1), (3, 3)])
def test_a_task_has_one_thread_or_those_asked_for(threads, expected, model, x, monkeypatch):
    given = []
    original = run.Engine.run

    def spy(self, source, start, outputs, threads=None, progress=False):
        given.append(threads)
        return original(self, source, start, outputs, threads, progress)

    monkeypatch.setattr(run.Engine, "run", spy)
    model.predict(da.from_array(x, chunks=10), threads=threads).compute(scheduler="threads")
    assert given == [expected] * 3


# --- what is refused ----------------------------------------------------------------------------


def refusal(call):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    return caught.type, str(caught.value)


@pytest.mark.parametrize(
    ("values", "arguments"),
    [
        (np.zeros((N, T, 4)), {}),
        (np.zeros((N, T, 3, 1)), {}),
        (np.zeros(T), {}),
        (np.zeros((N, T, 3), "c8"), {}),
        (np.zeros((N, T, 3), "U1"), {}),
        (np.ma.zeros((N, T, 3)), {}),
        (np.zeros((N, T, 3)), {"threads": 0}),
        (np.zeros((N, T, 3)), {"threads": 1.5}),
        (np.zeros((N, T, 3)), {"return_sequences": 1}),
        (np.zeros((N, T, 3)), {"lengths": np.zeros(N)}),
        (np.zeros((N, T, 3)), {"lengths": np.zeros(N - 1, int)}),
        (np.zeros((N, T, 3)), {"lengths": np.zeros((N, 1), int)}),
        (np.zeros((N, T, 3)), {"lengths": np.full(N, T + 1)}),
    ],
)
def test_refused_when_the_graph_is_built_as_in_memory(values, arguments, model):
    lazy = da.from_array(values, chunks=10)
    assert refusal(lambda: model.predict(lazy, **arguments)) == refusal(
        lambda: model.predict(values, **arguments)
    )
    if "lengths" in arguments and arguments["lengths"].max() <= T:
        of_dask = {"lengths": da.from_array(arguments["lengths"], chunks=7)}
        assert refusal(lambda: model.predict(lazy, **of_dask)) == refusal(
            lambda: model.predict(values, **arguments)
        )


def test_ids_are_integers_when_the_graph_is_built():
    network = make_network("embedding, short", "float32")
    values = np.zeros((N, T))
    assert refusal(lambda: network.predict(da.from_array(values))) == refusal(
        lambda: network.predict(values)
    )


def test_every_step_that_has_no_meaning_is_refused_when_the_graph_is_built():
    network = make_network("masked, go_backwards", "float32")
    lazy = da.zeros((N, T, 2), chunks=5)
    with pytest.raises(ValueError, match="for the final state only"):
        network.predict(lazy, return_sequences=True)


def test_shapes_of_unknown_rows_are_checked(model, x, lengths):
    lazy = da.from_array(x, chunks=10)[da.from_array(x[:, 0, 0] > 0, chunks=10)]
    with pytest.raises(ValueError, match=r"expected x of shape \(N, T, 3\).* got \(nan, 11, 2\)"):
        model.predict(lazy[:, :, :2])
    with pytest.raises(ValueError, match=r"as a Dask array.*compute_chunk_sizes"):
        model.predict(lazy, lengths)
    with pytest.raises(ValueError, match=r"in the 3 row blocks of x, .*, got 1"):
        model.predict(lazy, da.from_array(lengths))
    with pytest.raises(ValueError, match=r"expected lengths of shape \(nan,\).*got \(29, 1\)"):
        model.predict(lazy, da.from_array(lengths[:, None], chunks=10))


def test_a_wrong_value_in_a_block_says_which(x, lengths):
    network = make_network("embedding, short", "float32")
    ids = make_values(network, N, T)
    ids[17, 5] = 20
    with pytest.raises(ValueError, match=r"block 1 of the rows: .* 20 at step 5 of sequence 7"):
        network.predict(da.from_array(ids, chunks=10)).compute(scheduler="sync")
    model = make_network("bidirectional", "float32")
    lengths = da.from_array(np.where(np.arange(N) == 22, T + 1, lengths), chunks=4)
    with pytest.raises(ValueError, match=r"block 2 of the rows: .* got 12 for sequence 2"):
        model.predict(da.from_array(x, chunks=10), lengths).compute(scheduler="sync")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"state": (np.zeros((1, N, 5)), np.zeros((1, N, 5)))}, "state is .*map_blocks"),
        ({"out": np.zeros((N, 2), "f4")}, "out is .*to_zarr"),
        ({"progress": True}, "progress is .*ProgressBar"),
    ],
)
def test_arguments_for_arrays_in_memory(arguments, message, model, x):
    with pytest.raises(ValueError, match=message):
        model.predict(da.from_array(x), **arguments)


def test_calls_that_need_all_of_x_at_once(model, x):
    lazy = da.from_array(x, chunks=10)
    for call in (model, model.trace):
        with pytest.raises(TypeError, match=r"in memory, got a Dask Array: only predict"):
            call(lazy)


def test_other_collections_are_sent_to_map_partitions(model, lengths):
    bag = db.from_sequence([1, 2], npartitions=1)
    frame = dd.from_pandas(pd.DataFrame({"x": [1.0, 2.0]}), npartitions=1)
    for other in (bag, frame, frame["x"], dask.delayed(1)):
        name = type(other).__name__
        with pytest.raises(TypeError, match=rf"got a Dask {name}: .*map_partitions"):
            model.predict(other)
        with pytest.raises(TypeError, match=rf"lengths as .* got a Dask {name}"):
            model.predict(da.zeros((N, T, 3)), other)


# --- a cluster ----------------------------------------------------------------------------------


@pytest.fixture
def client():
    """Two worker processes of one thread each."""
    options = {"n_workers": 2, "threads_per_worker": 1}
    options["dashboard_address"] = "127.0.0.1:0"  # the usual port may be another test run's
    with (
        LocalCluster(silence_logs=logging.CRITICAL, **options) as cluster,
        Client(cluster) as client,
    ):
        yield client


def count_engines():
    """Count the engines that are made in this process from now on."""
    made = []
    original = run.Engine.__init__

    def spy(self, *arguments):
        made.append(1)
        original(self, *arguments)

    run.Engine.__init__ = spy
    run.made = made


def worker_of(scores):
    return np.full((len(scores), 1), os.getpid())


def test_two_worker_processes(client, model, x, lengths):
    client.run(count_engines)
    lazy = da.from_array(x, chunks=(2, 4, 2))
    scores = model.predict(lazy, lengths)
    workers = scores.map_blocks(worker_of, dtype=int, chunks=(scores.chunks[0], (1,)))
    got, processes = client.compute([scores, workers], sync=True)
    np.testing.assert_array_equal(got, model.predict(x, lengths), strict=True)
    assert len(set(processes.ravel())) == 2
    assert set(client.run(os.getpid).values()) == set(processes.ravel())
    assert [sum(made) for made in client.run(lambda: run.made).values()] == [1, 1]


def test_one_thread_in_a_worker_by_itself(client):
    """Without Dask arrays too: whatever calls a model in a task."""
    from fastlstm.engine.run.threads import default_threads

    assert client.submit(default_threads).result() == 1


def die_once(scores, flag):
    """Kill this worker, with all scores that it holds, unless that was done before."""
    try:
        Path(flag).touch(exist_ok=False)
    except FileExistsError:
        return scores
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


@pytest.mark.full
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills a process by SIGKILL")
def test_a_worker_is_killed_in_the_middle(client, model, x, lengths, tmp_path):
    before = set(client.run(os.getpid).values())
    scores = model.predict(da.from_array(x, chunks=2), lengths)
    blocks = [*scores.blocks]
    blocks[7] = blocks[7].map_blocks(die_once, str(tmp_path / "flag"), meta=scores._meta)
    got = client.compute(da.concatenate(blocks), sync=True)
    assert (tmp_path / "flag").exists()
    np.testing.assert_array_equal(got, model.predict(x, lengths), strict=True)
    client.wait_for_workers(2)
    assert len(before & set(client.run(os.getpid).values())) == 1


# --- recipes ------------------------------------------------------------------------------------


@pytest.fixture
def ragged(tmp_path):
    """Sequences of one input and unequal lengths as Parquet files, of which one has no rows."""
    rng = np.random.default_rng(5)
    arrays = [rng.normal(size=(n, 2)).astype("f4") for n in (3, 0, 7, 1, 5, 5, 0, 2)]
    folder = tmp_path / "sequences"
    folder.mkdir()
    kind = pa.list_(pa.list_(pa.float32()))
    table = pa.table({"id": range(8), "x": pa.array([list(a) for a in arrays], kind)})
    for k, (first, last) in enumerate([(0, 3), (3, 3), (3, 8)]):
        pq.write_table(table.slice(first, last - first), folder / f"{k}.parquet")
    return arrays


def write_steps(arrays, folder):
    """Write the steps of sequences in long format, in no order."""
    folder.mkdir()
    parts = [
        pd.DataFrame({"id": n, "time": np.arange(len(a)), "a": a[:, 0], "b": a[:, 1]})
        for n, a in enumerate(arrays)
    ]
    table = pd.concat(parts).sample(frac=1, random_state=0)
    for k, part in enumerate(np.array_split(np.arange(len(table)), 3)):
        table.iloc[part].to_parquet(folder / f"{k}.parquet", index=False)


def blocks_of(page):
    """The Python blocks of a page that are to be run."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)


# Dask 2026.8 calls pandas 3.1 in a way that is deprecated there.
@pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame:DeprecationWarning")
@pytest.mark.parametrize("scheduler", ["sync", "threads"])
def test_the_page_on_clusters(scheduler, ragged, tmp_path, monkeypatch):
    m = Maker(6, "float32")
    network = LSTM([m.layer(2, 5)], m.dense(5, 1))
    network.save(tmp_path / "model.npz")
    windows = np.random.default_rng(0).normal(size=(N, T, 2)).astype("f4")
    da.to_npy_stack(tmp_path / "windows", da.from_array(windows, chunks=(10, -1, -1)))
    write_steps(ragged, tmp_path / "steps")
    monkeypatch.chdir(tmp_path)
    of_array, of_bag, of_column, of_steps = blocks_of("clusters.md")
    expected = network.predict(ragged)
    names = {"arrays": ragged}
    with dask.config.set(scheduler=scheduler):
        exec(of_array, names)
        np.testing.assert_array_equal(
            da.from_npy_stack(tmp_path / "scores").compute(), network.predict(windows)
        )
        exec(of_bag, names)
        np.testing.assert_array_equal(np.stack(names["scores"]), expected)
        exec(of_column, names)
        found = names["scores"].sort_values("id")
        assert found["id"].tolist() == list(range(8))
        assert found["score"].dtype == "float32"
        np.testing.assert_array_equal(found["score"], expected[:, 0])
        exec(of_steps, names)
    filled = [n for n, a in enumerate(ragged) if len(a)]  # in long format no other has a row
    found = names["scores"].sort_values("id")
    assert found["id"].tolist() == filled
    assert found.dtypes.astype(str).tolist() == ["int64", "float32"]
    np.testing.assert_array_equal(found["score"], expected[filled, 0])


def test_partitions_without_sequences(model, x):
    """A bag's partition may be an iterator, and empty."""
    sequences = db.from_sequence(list(x), npartitions=4).map(np.asarray)
    few = sequences.filter(lambda sequence: sequence[0, 0] > 100)
    score = lambda part, model: model.predict(list(part), threads=1)  # noqa: E731
    for bag, expected in ((sequences, model.predict(x)), (few, [])):
        scores = bag.map_partitions(score, dask.delayed(model)).compute(scheduler="sync")
        np.testing.assert_array_equal(np.reshape(scores, (-1, 2)), np.reshape(expected, (-1, 2)))


@pytest.mark.full
def test_the_example_for_a_cluster(ragged, tmp_path):
    m = Maker(6, "float64")
    network = LSTM([m.layer(2, 5)], m.dense(5, 3))
    command = [sys.executable, ROOT / "examples" / "dask_cluster.py"]
    files = [network.save(tmp_path / "model.npz"), tmp_path / "sequences", tmp_path / "scores"]
    done = subprocess.run(
        [*command, *files],
        capture_output=True,
        text=True,
        timeout=120,
        env=child_env(DASK_DISTRIBUTED__DASHBOARD__LINK=""),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    table = pq.read_table(tmp_path / "scores").sort_by("id")
    assert table.column_names == ["id", "score_0", "score_1", "score_2"]
    assert table["id"].to_pylist() == list(range(8))
    found = np.stack([table[name].to_numpy() for name in table.column_names[1:]], axis=1)
    np.testing.assert_array_equal(found, network.predict(ragged), strict=True)
