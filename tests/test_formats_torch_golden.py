"""PyTorch's numbers: layers x directions x projection x biases x initial state x packed lengths,
and models as people have them in files. The data are made by ``golden/generate_torch.py``.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import outputs, predictions

from fastlstm import LSTM, Bidirectional, from_torch, load, reference
from fastlstm.errors import UnsupportedModelError
from fastlstm.network.state import State

pytestmark = pytest.mark.every_cell

GOLDEN = Path(__file__).parent / "golden" / "torch"
CASES = sorted(path.stem for path in GOLDEN.glob("lstm_*.npz"))
FILES = dict(np.load(GOLDEN / "files.npz"))


def case_of(name):
    """A golden LSTM: its model, the call, and what PyTorch gave."""
    arrays = dict(np.load(GOLDEN / f"{name}.npz"))
    named = {key: value for key, value in arrays.items() if key.startswith("lstm.")}
    model = from_torch(named)
    directions = 2 if isinstance(model.layers[0], Bidirectional) else 1
    return SimpleNamespace(
        model=model,
        x=arrays["x"],
        lengths=arrays.get("lengths"),
        state=by_layer(arrays["h_0"], arrays["c_0"], directions) if "h_0" in arrays else None,
        expected=(arrays["output"], arrays["h_n"], arrays["c_n"]),
    )


def by_layer(h, c, directions):
    """Torch's (L * D, N, H) as one (D, N, H) a layer."""
    pairs = zip(h, c, strict=True)
    both = [tuple(map(np.stack, zip(*pair, strict=True))) for pair in grouped(pairs, directions)]
    return State(both)


def grouped(items, size):
    items = list(items)
    return [items[k : k + size] for k in range(0, len(items), size)]


def errors(case, model, state, lengths):
    """Per engine the largest error of output, h_n and c_n, in units of what is allowed.

    For float64 that is 1e-13 relative to the largest number; for float32 4 times PyTorch's own
    error against float64, or as many ULP where PyTorch happens to be right.
    """
    allowed = []
    exact, end = reference.lstm(
        case.model.astype("float64").network, case.x, case.state, case.lengths
    )
    truth = (exact, end.h_n, end.c_n)
    for theirs, true in zip(case.expected, truth, strict=True):
        if theirs.dtype == np.float64:
            allowed.append(1e-13 * max(1, abs(true).max()))
        else:
            ulp = np.finfo(np.float32).eps * max(1, abs(true).max())
            allowed.append(4 * max(abs(theirs - true).max(), ulp))
    for engine, output, end in outputs(model, case.x, state, lengths):
        ours = (output, end.h_n, end.c_n)
        against = case.expected if model.dtype == np.float64 else truth
        yield (
            engine,
            max(
                abs(a - b).max() / limit for a, b, limit in zip(ours, against, allowed, strict=True)
            ),
        )


@pytest.mark.parametrize("name", CASES)
def test_an_lstm_gives_torchs_numbers(name):
    case = case_of(name)
    for engine, error in errors(case, case.model, case.state, case.lengths):
        print(f"{name} by {engine}: {error:.2f} of what is allowed")
        assert error <= 1


def with_cells(model, change):
    """The model with every cell changed."""
    layers = [
        Bidirectional(change(layer.forward), change(layer.backward))
        if isinstance(layer, Bidirectional)
        else change(layer)
        for layer in model.layers
    ]
    return LSTM(layers)


def swapped_gates(a, b):
    order = [0, 1, 2, 3]
    order[a], order[b] = b, a

    def change(cell):
        arrays = {
            name: value.reshape(4, -1)[order].reshape(value.shape)
            for name in ("w_ih", "w_hh", "b_ih", "b_hh")
            if (value := getattr(cell, name)) is not None
        }
        return replace(cell, **arrays)

    return lambda model: with_cells(model, change)


def without(name):
    return lambda model: with_cells(model, lambda cell: replace(cell, **{name: None}))


def swapped_directions(model):
    return LSTM(
        [
            Bidirectional(
                replace(layer.backward, direction="forward"),
                replace(layer.forward, direction="reverse"),
            )
            if isinstance(layer, Bidirectional)
            else layer
            for layer in model.layers
        ]
    )


def projected_otherwise(model):
    def change(cell):
        return cell if cell.w_hr is None else replace(cell, w_hr=cell.w_hr[::-1])

    return with_cells(model, change)


# A mistake that a loader or an engine may make: what it does to the model.
MISTAKES = {
    **{f"gates {a} and {b}": swapped_gates(a, b) for a in range(4) for b in range(a)},
    "no b_ih": without("b_ih"),
    "no b_hh": without("b_hh"),
    "directions": swapped_directions,
    "projection": projected_otherwise,
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_error_is_noticed(mistake):
    noticed = 0
    for name in CASES:
        case = case_of(name)
        model = MISTAKES[mistake](case.model)
        if model != case.model:
            noticed += all(error > 1 for _, error in errors(case, model, case.state, case.lengths))
    assert noticed >= 4


@pytest.mark.parametrize("what", ["state", "lengths", "h", "c"])
def test_what_a_call_ignores_is_noticed(what):
    noticed = 0
    for name in CASES:
        case = case_of(name)
        state, lengths = case.state, case.lengths
        if (lengths if what == "lengths" else state) is None:
            continue
        if what == "lengths":
            lengths = None
        elif what == "state":
            state = None
        else:
            state = State((h * 0, c) if what == "h" else (h, c * 0) for h, c in state)
        for _, error in errors(case, case.model, state, lengths):
            assert error > 1
            noticed += 1
    assert noticed >= 4


CLASSIFIER = {
    "embedding": "emb",
    "head": ["fc.1", "fc.3"],
    "activation": ["relu", "softmax"],
    "read": "final",
}
TAIL = {"head": ["tail.0", "tail.2"], "activation": ["tanh", "sigmoid"], "read": "last"}
CELL = {"head": "out", "activation": ("leaky_relu", 0.2)}

# file, options, the input's name
MODELS = {
    "checkpoint": ("checkpoint.pt", CLASSIFIER, "ids"),
    "half": ("half.pth", CLASSIFIER, "ids"),
    "bfloat16": ("bfloat16.pt", TAIL, "x"),
    "scripted": ("scripted.pt", {"head": "tail"}, "x"),
    "traced": ("traced.pt", {"head": "tail", "return_sequences": True}, "x"),
    "cell": ("cell.pt", CELL, "x"),
    "rtneural": ("rtneural.json", {}, "x"),
    "rtneural_torch": ("rtneural_torch.json", {}, "x"),
    "amp": ("amp.nam", {}, "x"),
    "guitarml": ("guitarml.json", {}, "x"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_file_gives_torchs_numbers(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it would fail
    file, options, x = MODELS[name]
    model = load(GOLDEN / file, **options)
    assert model.dtype == np.float32
    x, theirs = FILES[x], FILES[name]
    true = reference.predict(model.astype("float64").network, x)
    allowed = 4 * max(abs(theirs - true).max(), np.finfo(np.float32).eps * max(1, abs(true).max()))
    for engine, ours in predictions(model, x):
        print(f"{name} by {engine}: {abs(ours - true).max() / allowed:.2f} of what is allowed")
        assert abs(ours - theirs).max() <= allowed
        assert ours.shape == theirs.shape


def test_scripted_modules_say_their_activations():
    by_hints = load(GOLDEN / "scripted.pt", **TAIL)
    by_itself = load(GOLDEN / "scripted.pt", head="tail", read="last")
    assert by_itself == by_hints
    with pytest.raises(UnsupportedModelError, match=r"tail\.3"):
        load(GOLDEN / "scripted.pt", head=["tail.0", "tail.2"], activation=["tanh", None])


def test_final_and_last_differ_for_two_directions():
    """``h_n`` of the backward half has read everything, ``output[:, -1]`` a single step."""
    case = case_of("lstm_both_float64")
    output, h_n, _ = case.expected
    expected = {"final": np.concatenate([h_n[-2], h_n[-1]], 1), "last": output[:, -1]}
    for read, theirs in expected.items():
        model = LSTM(case.model.layers, read=read)
        for _, ours in predictions(model, case.x):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert abs(expected["final"] - expected["last"]).max() > 0.1
