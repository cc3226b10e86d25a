"""The cell: from the sums of the four gates to the next state.

    i, f, g, o = sigmoid(z_i), sigmoid(z_f), tanh(z_g), sigmoid(z_o)
    c = f * c + i * g
    h = o * tanh(c)

A kernel is made for one kind of cell: with other activations, peepholes, a clip, or f = 1 - i.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.engine.jit import helper
from fastlstm.engine.simd.activations import FUNCTIONS
from fastlstm.engine.simd.arithmetic import any_below, at_least, at_most, fma, zeros
from fastlstm.engine.simd.constants import constant
from fastlstm.engine.simd.gates import join, join_two, take_gate
from fastlstm.engine.simd.memory import load_splat, store
from fastlstm.engine.simd.sigmoid_tanh import sigmoid, sigmoid_denominator, tanh_fraction
from fastlstm.network.activations import Activation
from fastlstm.network.layers import Layer

# The numbers at the beginning of a cell's panel: the clip, and alpha and beta of the activations of
# gates, candidate and output. The peepholes follow at `PEEPHOLES`.
CLIP, GATE, CANDIDATE, OUTPUT, PEEPHOLES = 0, 1, 3, 5, 8


class Cell(NamedTuple):
    """A kind of cell: the names of its activations, and which optional terms it has."""

    gate: str = "sigmoid"
    candidate: str = "tanh"
    output: str = "tanh"
    peepholes: bool = False
    coupled: bool = False
    clipped: bool = False

    def __str__(self) -> str:
        names = [self.gate, self.candidate, self.output]
        options = [name for name in ("peepholes", "coupled", "clipped") if getattr(self, name)]
        return "_".join([*names, *options])


def cell_of(layer: Layer) -> Cell:
    """Return the kind of a layer's cell."""
    gate, candidate, output = (activation.name for activation in layer.activations)
    peepholes, clipped = layer.peepholes is not None, layer.clip is not None
    return Cell(gate, candidate, output, peepholes, layer.coupled, clipped)


def cell_numbers(layer: Layer) -> npt.NDArray[Any]:
    """Return the numbers at the beginning of the panel of a layer's cell."""
    numbers = np.zeros(PEEPHOLES, layer.dtype)
    numbers[CLIP] = layer.clip or 0
    for at, activation in zip((GATE, CANDIDATE, OUTPUT), layer.activations, strict=True):
        numbers[at : at + 2] = alpha_beta(activation)
    return numbers


def alpha_beta(activation: Activation) -> Sequence[float]:
    """Return alpha and beta of an activation, zeros where it takes none."""
    return *activation.numbers, *(0.0,) * (2 - len(activation.numbers))


@cache
def make_cell(kind: Cell) -> Any:
    """Return the helper that computes the next state, for a kind of cell.

    It takes the sums of the gates i f g o, the last cell state, the peepholes i f o, the memory
    and place of the cell's numbers, and where to write the gates: at `gates` of `scratch`, `stride`
    apart, if `gates` >= 0. It returns h and c.
    """
    usual = _activations(kind) == _activations(Cell())
    return _make_usual(kind) if usual else _make_general(kind)


def _activations(kind: Cell) -> tuple[str, ...]:
    return kind.gate, kind.candidate, kind.output


@helper
def within(x: Any, bound: Any) -> Any:
    """Return x limited to -bound ... bound."""
    return at_least(at_most(x, bound), zeros(x) - bound)


def _make_usual(kind: Cell) -> Any:
    """For sigmoid and tanh, as fractions that share divisions (see `sigmoid_tanh`)."""
    _, _, _, peepholes, coupled, clipped = kind

    @helper
    def next_state(
        z: Any, c: Any, p: Any, panel: Any, numbers: int, scratch: Any, gates: int, stride: int,
        like: Any,
    ) -> Any:  # fmt: skip
        i, f, g, o = z
        one = constant("1", like)
        bound = load_splat(panel, numbers + CLIP, like)
        if peepholes:
            i, f = fma(p[0], c, i), fma(p[1], c, f)
        if clipped:
            i, f, g = within(i, bound), within(f, bound), within(g, bound)
        if clipped and not peepholes:
            o = within(o, bound)
        # the three sigmoids go together: their interleaved chains hide each other's latency
        # (a quarter of all time at one hidden unit); with peepholes o waits for the cell state
        d = sigmoid_denominator(join_two(i, f) if peepholes else join(i, f, o))
        d_i, d_f = take_gate(d, 0, like), take_gate(d, 1, like)
        n_g, d_g = tanh_fraction(g)
        f_gate = one - one / d_i if coupled else one / d_f
        c = fma(f_gate, c, n_g / (d_i * d_g))
        if peepholes:
            o = fma(p[2], c, o)
            if clipped:
                o = within(o, bound)
            d_o = sigmoid_denominator(o)
        else:
            d_o = take_gate(d, 2, like)
        n_c, d_c = tanh_fraction(c)
        if gates >= 0:
            i_gate, o_gate = one / d_i, one / d_o
            if any_below(join(i, f, o), constant("-limit", join(i, f, o))):
                i_gate, o_gate = sigmoid(i), sigmoid(o)
                f_gate = one - i_gate if coupled else sigmoid(f)
            store(scratch, gates, i_gate)
            store(scratch, gates + stride, f_gate)
            store(scratch, gates + 2 * stride, n_g / d_g)
            store(scratch, gates + 3 * stride, o_gate)
            store(scratch, gates + 4 * stride, c)
        return n_c / (d_o * d_c), c

    return next_state


def _make_general(kind: Cell) -> Any:
    """For any activations."""
    gate, candidate, output = (FUNCTIONS[name] for name in _activations(kind))
    _, _, _, peepholes, coupled, clipped = kind

    @helper
    def next_state(
        z: Any, c: Any, p: Any, panel: Any, numbers: int, scratch: Any, gates: int, stride: int,
        like: Any,
    ) -> Any:  # fmt: skip
        i, f, g, o = z
        bound = load_splat(panel, numbers + CLIP, like)
        a = load_splat(panel, numbers + GATE, like)
        b = load_splat(panel, numbers + GATE + 1, like)
        if peepholes:
            i, f = fma(p[0], c, i), fma(p[1], c, f)
        if clipped:
            i, f, g = within(i, bound), within(f, bound), within(g, bound)
        i = gate(i, a, b)
        f = constant("1", like) - i if coupled else gate(f, a, b)
        a_g = load_splat(panel, numbers + CANDIDATE, like)
        g = candidate(g, a_g, load_splat(panel, numbers + CANDIDATE + 1, like))
        c = fma(f, c, i * g)
        if peepholes:
            o = fma(p[2], c, o)
        if clipped:
            o = within(o, bound)
        o = gate(o, a, b)
        if gates >= 0:
            store(scratch, gates, i)
            store(scratch, gates + stride, f)
            store(scratch, gates + 2 * stride, g)
            store(scratch, gates + 3 * stride, o)
            store(scratch, gates + 4 * stride, c)
        a_c = load_splat(panel, numbers + OUTPUT, like)
        b_c = load_splat(panel, numbers + OUTPUT + 1, like)
        return o * output(c, a_c, b_c), c

    return next_state
