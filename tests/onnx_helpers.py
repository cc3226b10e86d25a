"""What the tests of ONNX models share: golden numbers, and networks beside them."""

import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx_cases import (
    H,
    T,
)

import fastlstm
from fastlstm import Bidirectional, State, reference
from fastlstm.errors import ModelFormatError, UnsupportedModelError

GOLDEN = Path(__file__).parent / "golden" / "onnx"


EXPECTED = np.load(GOLDEN / "onnx.npz")


EPS = np.finfo(np.float32).eps


def states(given, dtype="float32"):
    if "initial_h" not in given:
        return None
    return State([(given["initial_h"].astype(dtype), given["initial_c"].astype(dtype))])


def in_double(model, given):
    """Y, Y_h and Y_c in float64, in ONNX' order of axes."""
    x, lengths = given["X"].swapaxes(0, 1), given.get("sequence_lens")
    double = model.astype("float64")
    output, state = reference.lstm(
        double.network, x.astype(np.float64), states(given, "float64"), lengths
    )
    return in_onnx_order(output, state)


def in_onnx_order(output, state):
    D = state.h_n.shape[0]
    y = output.reshape(len(output), T, D, H).transpose(1, 2, 0, 3)
    return y, state.h_n, state.c_n


def error(a, b):
    """The largest difference, relative where numbers are above 1."""
    return float(np.max(np.abs(a - b) / np.maximum(1, np.abs(b))))


def distance(model, name, given):
    """How far a model is from ONNX Runtime's numbers, at most."""
    return max(
        error(mine, EXPECTED[f"{name} {key}"])
        for mine, key in zip(in_double(model, given), "Yhc", strict=True)
    )


def changed(layer, **fields):
    """The same layer with other fields, in both directions."""
    if isinstance(layer, Bidirectional):
        return Bidirectional(*(changed(cell, **fields) for cell in layer.cells))
    made = {name: make(layer) if callable(make) else make for name, make in fields.items()}
    return replace(layer, **made)


def gates(order):
    def reorder(array):
        return np.concatenate([array.reshape(4, -1, *array.shape[1:])[k] for k in order])

    return {
        name: lambda layer, name=name: reorder(getattr(layer, name))
        for name in ("w_ih", "w_hh", "b_ih", "b_hh")
    }


def refused_quickly(path, kind=(ModelFormatError, UnsupportedModelError), message=None):
    tracemalloc.start()
    begin = time.process_time()  # of our own, however busy the machine is
    with pytest.raises(kind, match=message) as caught:
        fastlstm.load(path)
    seconds, (_, peak) = time.process_time() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(path) in str(caught.value)
    assert seconds < 1
    assert peak < 64 << 20
