"""The scalar tutorial cell, exactly: one unit, one sequence, Python floats, no arrays.

The whole package is measured against this file, and it is the first thing to read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

__all__ = ["RECORD_KEYS", "TUTORIAL_PARAMS", "check_params", "lstm_forward"]

#: The names of one step's values, in the order in which the cell computes them.
RECORD_KEYS: Final = (
    "Forget Gate",
    "Input Gate",
    "Candidate Cell",
    "Cell State",
    "Output Gate",
    "Hidden State",
)

#: The weights ``(w_x, w_h, b)`` of the tutorial. With the head ``y = 4 * h``, the series
#: 1, 2, 3 continues with 3.4827.
TUTORIAL_PARAMS: Final[Mapping[str, tuple[float, float, float]]] = {
    "forget": (0.5, 0.1, 0.0),
    "input": (0.6, 0.2, 0.0),
    "cell": (0.7, 0.3, 0.0),
    "output": (0.8, 0.4, 0.0),
}


def lstm_forward(
    X: Iterable[float], params: Mapping[str, Sequence[float]]
) -> tuple[list[dict[str, float]], float]:
    """Run the tutorial's LSTM cell over one series of numbers.

    Parameters
    ----------
    X : 1-D sequence of float, length T
        The series. The cell starts from a hidden state and a cell state of 0.
    params : mapping
        ``(w_x, w_h, b)`` for each of ``"forget"``, ``"input"``, ``"cell"`` and ``"output"``:
        the weight of the input, the weight of the hidden state, and the bias.

    Returns
    -------
    states : list of dict, length T
        One dict of Python floats (float64) for each step, with the keys ``"Forget Gate"``,
        ``"Input Gate"``, ``"Candidate Cell"``, ``"Cell State"``, ``"Output Gate"`` and
        ``"Hidden State"``.
    last_hidden : float
        The hidden state after the last step; 0.0 if there was none.

    Raises
    ------
    ValueError
        If `params` lacks a gate or has an unknown one, or a gate is not three numbers.
    TypeError
        If `X` is not a flat sequence of numbers.

    Examples
    --------
    >>> states, h = lstm_forward([1, 2, 3], TUTORIAL_PARAMS)
    >>> round(4 * h, 4)
    3.4827
    """
    gates = check_params(params)
    h = c = 0.0
    states = []
    for x in _as_series(X):
        z_forget, z_input, z_cell, z_output = (
            w_x * x + w_h * h + b
            for w_x, w_h, b in (gates[name] for name in ("forget", "input", "cell", "output"))
        )
        forget_gate = _sigmoid(z_forget)
        input_gate = _sigmoid(z_input)
        candidate = math.tanh(z_cell)
        output_gate = _sigmoid(z_output)
        c = forget_gate * c + input_gate * candidate
        h = output_gate * math.tanh(c)
        values = (forget_gate, input_gate, candidate, c, output_gate, h)
        states.append(dict(zip(RECORD_KEYS, values, strict=True)))
    return states, h


def check_params(
    params: Mapping[str, Sequence[float]],
) -> dict[str, tuple[float, float, float]]:
    """Return the tutorial's parameters as ``{gate: (w_x, w_h, b)}`` of Python floats.

    Raises
    ------
    ValueError
        If a gate is missing, unknown, or not three numbers.
    """
    if set(params) != set(TUTORIAL_PARAMS):
        raise ValueError(
            f"params: expected the gates {sorted(TUTORIAL_PARAMS)}, got {sorted(map(str, params))}"
        )
    checked = {}
    for gate, numbers in params.items():
        try:
            w_x, w_h, b = map(float, numbers)
        except (TypeError, ValueError):
            raise ValueError(
                f"params[{gate!r}]: expected three numbers (w_x, w_h, b), got {numbers!r}"
            ) from None
        checked[gate] = (w_x, w_h, b)
    return checked


def _as_series(X: Iterable[float]) -> list[float]:
    try:
        return [float(x) for x in X]
    except (TypeError, ValueError):
        raise TypeError(
            "X: expected a flat sequence of numbers, such as [1, 2, 3]; "
            "for many series at once, or several inputs a step, use fastlstm.LSTM"
        ) from None


def _sigmoid(z: float) -> float:
    """``1 / (1 + exp(-z))`` without overflow for any z."""
    if z >= 0.0:
        return 1.0 / (1.0 + math.exp(-z))
    e = math.exp(z)
    return e / (1.0 + e)
