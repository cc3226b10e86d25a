"""What the layers of a stack have in common, as far as a kernel is specialised for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fastlstm.engine.kernel.cells import Cell, cell_of
from fastlstm.network.layers import Layer


class Form(NamedTuple):
    """The form of a stack of layers.

    A `scalar` network is one layer with one input and one hidden unit: its state stays in
    registers.
    """

    cell: Cell = Cell()
    projected: bool = False
    embedded: bool = False
    scalar: bool = False

    def __str__(self) -> str:
        options = [name for name in ("projected", "embedded", "scalar") if getattr(self, name)]
        return "_".join([str(self.cell), *options])


def form_of(layers: Sequence[Layer], embedded: bool) -> Form:
    """Return the form of layers that are all of one cell and one direction."""
    first = layers[0]
    projected = first.w_hr is not None
    small = len(layers) == 1 and first.input_size == first.hidden_size == 1
    cell = cell_of(first)
    return Form(cell, projected, embedded, small and not projected and not embedded)
