"""The container of traced values: records and plot."""

import sys

import numpy as np
import pytest

from fastlstm.calls.trace import Trace
from fastlstm.tutorial import RECORD_KEYS, TUTORIAL_PARAMS, lstm_forward


def make_trace(N=2, T=5, H=3, lengths=None, dtype="float32"):
    rng = np.random.default_rng(0)
    return Trace(*rng.normal(size=(6, N, T, H)).astype(dtype), lengths)


def test_records_are_those_of_the_tutorial():
    states, _ = lstm_forward([1, 2, 3], TUTORIAL_PARAMS)
    column = {name: np.array([[[s[name]] for s in states]]) for name in RECORD_KEYS}
    trace = Trace(
        forget_gate=column["Forget Gate"],
        input_gate=column["Input Gate"],
        candidate_cell=column["Candidate Cell"],
        cell_state=column["Cell State"],
        output_gate=column["Output Gate"],
        hidden_state=column["Hidden State"],
    )
    assert trace.to_records() == states
    assert {type(value) for record in trace.to_records() for value in record.values()} == {float}
    short = Trace(*trace.values.values(), lengths=np.array([2]))
    assert short.to_records() == states[:2]


@pytest.mark.parametrize(("N", "H"), [(2, 1), (1, 2), (0, 1)])
def test_records_need_one_sequence_and_one_unit(N, H):
    with pytest.raises(ValueError, match=f"one sequence and one hidden unit, got {N} and {H}"):
        make_trace(N=N, H=H).to_records()


def test_repr():
    assert repr(make_trace()) == "Trace(2 sequences, 5 steps, 3 units, float32)"


@pytest.mark.parametrize("own_axes", [False, True])
def test_plot(own_axes):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    ax = pyplot.figure().add_subplot() if own_axes else None
    trace = make_trace(lengths=np.array([5, 3]))
    drawn = trace.plot(sequence=1, unit=2, ax=ax)
    assert ax is None or drawn is ax
    assert len(drawn.lines) == 6
    for line, (name, array) in zip(drawn.lines, trace.values.items(), strict=True):
        assert line.get_label() == name
        assert line.get_xdata().tolist() == [1, 2, 3]
        np.testing.assert_array_equal(line.get_ydata(), array[1, :3, 2])
    assert drawn.get_legend() is not None
    pyplot.close("all")


def test_plot_of_a_layer_with_a_projection():
    """Its two hidden states are not those of its three units."""
    from matplotlib.figure import Figure

    *units, _ = make_trace().values.values()
    trace = Trace(*units, hidden_state=np.zeros((2, 5, 2), "float32"))
    drawn = trace.plot(unit=2, ax=Figure().add_subplot())
    assert [line.get_label() for line in drawn.lines] == list(RECORD_KEYS[:-1])


@pytest.mark.parametrize(("sequence", "unit", "name"), [(2, 0, "sequence"), (0, -4, "unit")])
def test_plot_of_nothing(sequence, unit, name):
    with pytest.raises(IndexError, match=f"expected a {name} in 0"):
        make_trace().plot(sequence, unit)


def test_plot_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "fastlstm\[plot\]"'):
        make_trace().plot()
