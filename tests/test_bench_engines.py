"""The engines of the benchmarks: how they are found, and that all compute the same."""

from __future__ import annotations

import json
import sys

import bench_results
import numpy as np
import pytest
from helpers import run_child

from bench import rivals
from bench.harness import accuracy, engines
from bench.harness.engine import CONTESTS, Engine
from bench.harness.engines import ENGINES, entrants
from bench.harness.internals import predict_by_reference
from bench.harness.report import LACKS
from bench.harness.worker import Worker
from bench.harness.workload import Workload
from bench.networks.kinds import KINDS
from bench.rivals import prange, python_loop

SEED = Workload("seed", 5, 7, 1, 1, 1, "float64")
MID = Workload("mid", 3, 5, 4, 6, 1, "float64")


# --- finding them ------------------------------------------------------------------------------


def test_an_engine_is_one_file(tmp_path, monkeypatch):
    (tmp_path / "some_rival.py").write_text(
        "from bench.harness.engine import Engine\n"
        "ENGINES = (Engine('Some', lambda work, x, threads: None, enters=('compare', 'idle')),)\n"
    )
    monkeypatch.setattr(rivals, "__path__", [*rivals.__path__, str(tmp_path)])
    monkeypatch.setattr(engines, "ENGINES", engines.by_label(engines.rival_engines()))
    monkeypatch.delitem(sys.modules, "bench.rivals.some_rival")
    assert "Some" in entrants("compare")
    assert "Some" not in entrants("networks")
    assert set(entrants("compare")) - {"Some"} <= set(ENGINES)


def test_two_engines_of_one_label_are_refused():
    with pytest.raises(ValueError, match="two called 'numpy'"):
        engines.by_label([ENGINES["numpy"], ENGINES["numpy"]])


def test_an_unknown_contest_is_refused():
    with pytest.raises(ValueError, match=r"X: expected contests in compare, .*, got {'compere'}"):
        Engine("X", bench_results.fail, enters=("compere",))


def test_a_slow_engine_is_timed_on_fewer_sequences():
    hydro = Workload.named("hydro", "float32")

    def timed(**limits):
        return Engine("some", bench_results.fail, **limits).sequences(hydro)

    assert timed() == 512
    assert timed(most_work=1e3) == 1
    assert timed(most_work=1e3, share=16) == 16
    assert timed(most_work=hydro.work_a_sequence * 100, share=16) == 96
    assert timed(most_work=hydro.work_a_sequence * 1000, share=16) == 512
    assert timed(most_sequences=100) == 100


# --- fastlstm's own, and the loops -------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "workload"),
    [("fastlstm", MID), ("trace", MID), ("numpy", MID), ("python", MID), ("python", SEED)],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_an_engine_agrees_with_the_reference(label, workload):
    found = ENGINES[label].build(workload, workload.inputs(), 1).call()
    expected = predict_by_reference(workload.model(), workload.inputs())
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-15)


@pytest.mark.parametrize("lengths", ["uniform", "log-normal"])
@pytest.mark.parametrize("label", ["fastlstm, padded", "fastlstm, ragged"])
def test_unequal_lengths_agree_with_the_reference(label, lengths):
    workload = Workload("mid", 9, 8, 4, 6, 1, "float64", lengths)
    found = ENGINES[label].build(workload, workload.inputs(), 1).call()
    expected = accuracy.float64_outputs(workload, np.arange(workload.N))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-15)


def test_the_loop_with_prange_agrees_with_the_reference():
    """As plain Python: Numba's own thread pool in this process would disturb other tests."""
    (layer,) = MID.model().layers
    found = prange.compile_loop().py_func(MID.inputs(), layer.w_ih, layer.w_hh, layer.bias)
    expected = predict_by_reference(MID.model(), MID.inputs())
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-15)


@pytest.mark.full
def test_the_compiled_loop_with_prange_stays_in_float32():
    """In a process of its own, for the same reason."""
    workload = Workload("mid", 20, 9, 4, 6, 1, "float32")
    every = np.arange(workload.N)
    with Worker(ENGINES["prange"], workload, 1, every) as worker:
        assert worker.outputs.dtype == np.float32
        exact = accuracy.float64_outputs(workload, every)
        error = accuracy.errors(worker.outputs, exact)["max_error"]
    assert 0 < error < 1e-6


def test_the_tutorial_is_run_with_the_layers_own_weights():
    (layer,) = SEED.model().layers
    params = python_loop.tutorial_params(layer)
    assert layer.from_gates(params).w_ih.tolist() == layer.w_ih.tolist()
    assert params["forget"] == (layer.w_ih[1, 0], layer.w_hh[1, 0], layer.bias[1])


# --- other libraries ---------------------------------------------------------------------------

# Kinds of network that an engine's LSTM does not have, or that it does not compute.
LACKING = {
    "JAX": (),
    "PyTorch": ("peephole", "hard_sigmoid", "relu", "coupled"),
    "ONNX Runtime": ("projection",),
    "OpenVINO": ("projection",),
}
# OpenVINO 2026.4: leaves out peepholes and coupled gates, does not compile hard sigmoids.
FAILING = {"OpenVINO": ("peephole", "coupled", "hard_sigmoid")}

# Another library may start threads that never end, and set what holds for a whole process.
PROGRAM = """
import json, sys
import numpy as np
import bench_results
from bench.harness import accuracy
from bench.harness.engines import ENGINES
from bench.harness.workload import Workload
from bench.networks.kinds import KINDS, NetworkWorkload

def error(engine, work):
    x = work.inputs()
    try:
        outputs = engine.build(work, x, 2).call()
    except NotImplementedError as refused:
        return f"NotImplementedError: {refused}"
    if outputs is None:
        return None
    exact = accuracy.float64_outputs(work, np.arange(work.N), x)
    return accuracy.errors(np.asarray(outputs), exact)["max_error"]

for label, contest, name in json.loads(sys.argv[1]):
    if contest == "networks":
        work = NetworkWorkload(name, 5, 6, 3, 8, KINDS[name].sizes[4], "float32")
    else:
        lengths = "uniform" if contest == "ragged" else "full"
        steps = 1 if contest == "step" else 5
        work = Workload("mid", 4, steps, 3, 6, int(name), "float32", lengths)
    print(json.dumps([label, contest, name, error(ENGINES[label], work)]))
"""


def cases(needs):
    """Contest by contest, what engines with the same needs are tried on."""
    for label, engine in ENGINES.items():
        for contest in engine.enters if engine.needs == needs else ():
            if contest == "networks":
                failing = FAILING.get(label, ())
                yield from ((label, contest, kind) for kind in KINDS if kind not in failing)
            elif contest not in ("idle", "dense", "score"):  # the same as `compare`; has files
                layers = ("1",) if contest == "trace" else ("1", "2")
                yield from ((label, contest, layer) for layer in layers)


@pytest.mark.parametrize(
    "needs", sorted({k.needs for k in ENGINES.values() if k.needs}), ids="+".join
)
def test_another_library_computes_the_same(needs):
    """In a process of its own; needs the library: `pip install -e '.[bench]'`."""
    engine = Engine("", bench_results.fail, needs=needs)
    if engine.missing():
        pytest.skip(f"needs {', '.join(engine.missing())}")
    wanted = list(cases(needs))
    printed = run_child(PROGRAM, json.dumps(wanted))
    found = [json.loads(line) for line in printed.splitlines() if line.startswith("[")]
    assert [tuple(case) for *case, _ in found] == wanted
    for label, contest, name, error in found:
        what = f"{label}, {contest}: {name}"
        if contest == "step":
            assert error is None, what
        elif contest == "networks" and name in LACKING.get(label, ()):
            assert str(error).startswith(LACKS), what
        else:
            assert 0 < error < 1e-6, what


def test_every_contest_is_entered():
    assert [contest for contest in CONTESTS if not entrants(contest)] == []
