"""The scalar tutorial: its table, and PyTorch on the same numbers."""

import math
from pathlib import Path

import numpy as np
import pytest

from fastlstm import LSTM
from fastlstm.tutorial import RECORD_KEYS, TUTORIAL_PARAMS, lstm_forward

GOLDEN = Path(__file__).parent / "golden"

PARAMS = {
    "forget": (0.5, 0.1, 0.0),
    "input": (0.6, 0.2, 0.0),
    "cell": (0.7, 0.3, 0.0),
    "output": (0.8, 0.4, 0.0),
}
TABLE = """
0.6225 0.6457 0.6044 0.3902 0.6900 0.2564
0.7361 0.7775 0.9009 0.9877 0.8459 0.6398
0.8269 0.8730 0.9798 1.6721 0.9344 0.8707
"""


def test_table():
    states, last_hidden = lstm_forward([1, 2, 3], PARAMS)
    printed = [" ".join(f"{value:.4f}" for value in state.values()) for state in states]
    assert printed == TABLE.split("\n")[1:-1]
    assert f"{4 * last_hidden:.4f}" == "3.4827"
    assert dict(TUTORIAL_PARAMS) == PARAMS


def test_states_are_dicts_of_python_floats():
    states, last_hidden = lstm_forward(np.array([1, 2, 3], dtype=np.int8), PARAMS)
    assert states == lstm_forward((x for x in (1.0, 2.0, 3.0)), PARAMS)[0]
    for state in states:
        assert tuple(state) == RECORD_KEYS
        assert {type(value) for value in state.values()} == {float}
    assert last_hidden == states[-1]["Hidden State"]


def test_against_pytorch_with_all_weights_and_biases():
    case = np.load(GOLDEN / "scalar_float64.npz")
    w_x, w_h = case["weight_ih_l0"][:, 0], case["weight_hh_l0"][:, 0]
    bias = case["bias_ih_l0"] + case["bias_hh_l0"]
    gates = ("input", "forget", "cell", "output")  # torch's order
    params = dict(zip(gates, zip(w_x, w_h, bias, strict=True), strict=True))
    for x, output, c in zip(case["x"], case["output"], case["c_l0"][0], strict=True):
        states, _ = lstm_forward(x[:, 0], params)
        hidden = [state["Hidden State"] for state in states]
        np.testing.assert_allclose(hidden, output[:, 0], rtol=0, atol=1e-15)
        assert states[-1]["Cell State"] == pytest.approx(c[0], abs=1e-15)


def test_no_steps():
    assert lstm_forward([], PARAMS) == ([], 0.0)


@pytest.mark.parametrize(
    ("z", "gate"),
    [
        (1e4, 1.0),
        (math.inf, 1.0),
        (-700.0, math.exp(-700)),
        (-1e4, 0.0),
        (-math.inf, 0.0),
    ],
)
def test_sigmoid_neither_overflows_nor_loses_its_tail(z, gate):
    (state,), _ = lstm_forward([z], PARAMS | {"output": (1.0, 0.0, 0.0)})
    assert state["Output Gate"] == gate


def test_nan_stays_nan():
    states, last_hidden = lstm_forward([1.0, math.nan, 1.0], PARAMS)
    assert not math.isnan(states[0]["Hidden State"])
    assert all(math.isnan(value) for state in states[1:] for value in state.values())
    assert math.isnan(last_hidden)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"forget": (1, 2, 3)}, r"expected the gates \['cell', 'forget', 'input', 'output'\]"),
        (PARAMS | {"peephole": (1, 2, 3)}, "got .*'peephole'"),
        (PARAMS | {"cell": (1.0, 2.0)}, r"params\['cell'\]: expected three numbers"),
        (PARAMS | {"cell": 1.0}, r"params\['cell'\]: expected three numbers"),
        (PARAMS | {"input": ("a", 1, 2)}, r"params\['input'\]: expected three numbers"),
    ],
)
def test_wrong_params(params, message):
    with pytest.raises(ValueError, match=message):
        lstm_forward([1, 2, 3], params)


@pytest.mark.parametrize("series", [[[1, 2], [3, 4]], ["a"], 3.0, [None]])
def test_wrong_series(series):
    with pytest.raises(TypeError, match="expected a flat sequence of numbers"):
        lstm_forward(series, PARAMS)


def test_the_cell_in_the_engine_has_the_values_of_the_loop():
    """Gates all different, none without a bias; many sequences and one."""
    params = {
        "forget": (0.5, 0.1, 0.3),
        "input": (0.6, -0.2, -0.4),
        "cell": (-0.7, 0.3, 0.2),
        "output": (0.8, 0.4, 0.1),
    }
    model = LSTM.from_gates(params, head=4.0)
    x = np.random.default_rng(0).normal(size=(40, 5))
    trace = model.trace(x)
    for n in (0, 39):
        states, last = lstm_forward(x[n], params)
        np.testing.assert_allclose(model.predict(x)[n], 4 * last, rtol=0, atol=1e-14)
        for name, values in (
            ("Forget Gate", trace.forget_gate),
            ("Input Gate", trace.input_gate),
            ("Candidate Cell", trace.candidate_cell),
            ("Cell State", trace.cell_state),
            ("Output Gate", trace.output_gate),
            ("Hidden State", trace.hidden_state),
        ):
            expected = [state[name] for state in states]
            np.testing.assert_allclose(values[n, :, 0], expected, rtol=0, atol=1e-14)
