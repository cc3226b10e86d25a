"""What kernels are specialised for: the form of the layers, and the kind of tile."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from fastlstm.engine import cpu
from fastlstm.engine.kernel.cells import Cell, cell_of
from fastlstm.network.layers import Layer

# What is in the lanes: sequences; sequences of a network with one input and one hidden unit, whose
# state stays in registers; or hidden units, if there are few sequences.
SEQUENCES, CELL, UNITS = "sequences", "cell", "units"

MOST_VECTORS = 4  # of sequences in a tile


class Form(NamedTuple):
    """What the layers of a stack have in common.

    A `scalar` network is one layer with one input and one hidden unit: its state stays in
    registers. The inputs of a `repeated` one are one vector, which is read at every step. In a
    `normed` one, layer norms stand between layers.
    """

    cell: Cell = Cell()
    projected: bool = False
    embedded: bool = False
    scalar: bool = False
    repeated: bool = False
    normed: bool = False

    def __str__(self) -> str:
        names = ("projected", "embedded", "scalar", "repeated", "normed")
        options = [name for name in names if getattr(self, name)]
        return "_".join([str(self.cell), *options])


def form_of(
    layers: Sequence[Layer], embedded: bool, repeated: bool = False, normed: bool = False
) -> Form:
    """Return the form of layers that are all of one cell and one direction."""
    first = layers[0]
    projected = first.w_hr is not None
    small = len(layers) == 1 and first.input_size == first.hidden_size == 1
    cell = cell_of(first)
    scalar = small and not projected and not embedded and not repeated
    return Form(cell, projected, embedded, scalar, repeated, normed)


class Kind(NamedTuple):
    """A kind of tile: what a kernel is compiled for.

    With sequences in the lanes, a tile has `vectors` vectors of them, and `group` hidden units
    are summed up together. With hidden units in the lanes, `vectors` vectors of them are summed
    up together, for `group` sequences; a tile has some multiple of these.
    """

    dtype: str
    lanes_hold: str
    vector_lanes: int
    vectors: int
    group: int
    traced: bool  # whether it can write gates: a kernel that cannot is up to 16 % faster
    form: Form

    def __str__(self) -> str:
        sizes = f"{self.dtype}_{self.vector_lanes}x{self.vectors}x{self.group}"
        return f"{sizes}_{self.lanes_hold}_{'traced' if self.traced else 'plain'}_{self.form}"

    @property
    def least_sequences(self) -> int:
        """The fewest sequences that a tile can have."""
        return self.group if self.lanes_hold == UNITS else self.vector_lanes * self.vectors

    def padded(self, n_hidden: int) -> int:
        """Return the hidden units of a layer filled up to whole groups of lanes."""
        group = self.vector_lanes * self.vectors
        return -(-n_hidden // group) * group


class Tile(NamedTuple):
    """A kind of tile and how many sequences it has: what a plan is made for."""

    kind: Kind
    sequences: int


@cache
def possible_kinds(dtype: str, form: Form, traced: bool) -> tuple[Kind, ...]:
    """Return every kind of tile that a call with layers of a form may use."""
    simd, lanes = cpu.simd(), cpu.lanes(dtype)
    sizes = range(1, 1 + MOST_VECTORS)
    if form.scalar:
        return tuple(Kind(dtype, CELL, lanes, vectors, 1, traced, form) for vectors in sizes)
    groups = {vectors: 2 if 8 * vectors <= simd.sum_registers else 1 for vectors in sizes}
    return (
        *(Kind(dtype, SEQUENCES, lanes, *sums, traced, form) for sums in groups.items()),
        *(Kind(dtype, UNITS, lanes, *sums, traced, form) for sums in simd.unit_groups),
    )
