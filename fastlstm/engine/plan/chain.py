"""A network as a chain of links, each of which runs over all steps before the next one.

Layers that are walked through time together make one link: their outputs pass from one to the
next within a tile. A new link begins where the direction changes, two directions meet, the kind
of cell is another one, or a dense layer stands between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fastlstm.engine.kernel.forms import Form, form_of
from fastlstm.lazy import lazy
from fastlstm.network.dense import Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.network import AnyLayer

# Measured: to fetch a row of 4H sums takes about as long as to sum over so many inputs.
LEAST_SUMMED = 24


@dataclass(frozen=True, eq=False)
class Stack:
    """Layers of one direction and one form; the first may look its inputs up in an embedding."""

    layers: tuple[Layer, ...]
    embedding: Embedding | None
    first_h: int  # numbers of h, and of c, that the network's cells before have
    first_c: int
    place: int = 0  # of its outputs beside those of other directions
    places: int = 1

    @lazy
    def form(self) -> Form:
        """What a kernel is specialised for."""
        return form_of(self.layers, self.embedding is not None)

    @property
    def reversed(self) -> bool:
        """Whether sequences are read from their last step to the first."""
        return self.layers[0].direction != "forward"

    @property
    def out_reversed(self) -> bool:
        """Whether outputs are written in that order too, so that each stands at its step."""
        return self.layers[0].direction == "reverse"

    @property
    def width(self) -> int:
        """The numbers that are read at a step."""
        return 1 if self.embedding is not None else self.layers[0].input_size

    @property
    def looks_up_sums(self) -> bool:
        """Whether the embedding is multiplied into the input weights beforehand.

        Where its vectors are short, 4H sums take longer to fetch than to compute.
        """
        embedding = self.embedding
        return embedding is not None and embedding.output_size >= LEAST_SUMMED

    @property
    def output_size(self) -> int:
        """The numbers of its own outputs at a step."""
        return self.layers[-1].output_size


@dataclass(frozen=True, eq=False)
class Both:
    """Two directions over the same steps."""

    forward: Stack
    backward: Stack
    merge: str

    @property
    def output_size(self) -> int:
        """The numbers of an output."""
        return self.forward.output_size * self.forward.places


@dataclass(frozen=True, eq=False)
class Steps:
    """A dense layer at every step."""

    dense: Dense

    @property
    def output_size(self) -> int:
        """The numbers of an output."""
        return self.dense.output_size


Link = Stack | Both | Steps


def make_chain(layers: Sequence[AnyLayer]) -> tuple[Link, ...]:
    """Return the links of a network."""
    return tuple(_links(layers))


def _links(layers: Sequence[AnyLayer]) -> Iterator[Link]:
    embedding: Embedding | None = None
    open_stack: Stack | None = None
    first_h = first_c = 0
    for layer in layers:
        if isinstance(layer, Layer):
            if open_stack is not None and _continues(open_stack, layer):
                open_stack = replace(open_stack, layers=(*open_stack.layers, layer))
            else:
                if open_stack is not None:
                    yield open_stack
                open_stack, embedding = Stack((layer,), embedding, first_h, first_c), None
            first_h, first_c = first_h + layer.output_size, first_c + layer.hidden_size
            continue
        if open_stack is not None:
            yield open_stack
            open_stack = None
        if isinstance(layer, Embedding):
            embedding = layer
        elif isinstance(layer, Bidirectional):
            places = 2 if layer.merge == "concat" else 1
            stacks = []
            for d, cell in enumerate(layer.cells):
                place = d if places == 2 else 0
                stacks.append(Stack((cell,), embedding, first_h, first_c, place, places))
                first_h, first_c = first_h + cell.output_size, first_c + cell.hidden_size
            embedding = None
            yield Both(stacks[0], stacks[1], layer.merge)
        else:
            yield Steps(layer)
    if open_stack is not None:
        yield open_stack


def _continues(stack: Stack, layer: Layer) -> bool:
    first = stack.layers[0]
    return layer.direction == first.direction != "go_backwards" and form_of(
        [layer], False
    )._replace(scalar=False) == stack.form._replace(embedded=False, scalar=False)
