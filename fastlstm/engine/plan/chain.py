"""The parts of a network, with layers that are walked through time together joined into stacks.

Within a stack, a tile's outputs pass from layer to layer a few steps at a time and stay in the L1
cache. A new stack begins where the direction or the kind of cell changes, where two directions
meet, and after any other part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from fastlstm.engine.kernel.forms import Form, form_of
from fastlstm.lazy import lazy
from fastlstm.network.embedding import Embedding
from fastlstm.network.joints import From
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.network import Part, Pointwise
from fastlstm.network.normalisation import LayerNorm
from fastlstm.network.steps import Repeat
from fastlstm.network.values import referenced

# Measured: fetching 4H sums takes about as long as computing them from this many inputs.
LEAST_SUMMED = 24


@dataclass(frozen=True, eq=False)
class Stack:
    """Layers of one direction and form. The first may look up its inputs in an embedding."""

    layers: tuple[Layer, ...]
    embedding: Embedding | None
    first_h: int  # how many numbers of h, and of c, the network's earlier cells have
    first_c: int
    place: int = 0  # of its outputs beside those of other directions
    places: int = 1
    repeated: bool = False  # the inputs are one vector, which is read at every step
    norms: tuple[LayerNorm | None, ...] = (None,)  # in front of each of the layers

    @lazy
    def form(self) -> Form:
        """What a kernel is specialised for."""
        normed = any(norm is not None for norm in self.norms)
        return form_of(self.layers, self.embedding is not None, self.repeated, normed)

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
        """How many numbers are read at a step."""
        return 1 if self.embedding is not None else self.layers[0].input_size

    @property
    def looks_up_sums(self) -> bool:
        """Whether the embedding is multiplied into the input weights beforehand.

        If its vectors are short, fetching 4H sums takes longer than computing them.
        """
        embedding = self.embedding
        return embedding is not None and embedding.output_size >= LEAST_SUMMED

    @property
    def output_size(self) -> int:
        """The size of its own outputs at a step."""
        return self.layers[-1].output_size


@dataclass(frozen=True, eq=False)
class Both:
    """Two directions over the same steps."""

    forward: Stack
    backward: Stack
    merge: str

    @property
    def output_size(self) -> int:
        """The size of an output."""
        return self.forward.output_size * self.forward.places


class Link(NamedTuple):
    """A part of the network, or layers that are walked together."""

    of: Stack | Both | Part
    number: int | None  # of the value that it gives, if a joint may ask for it


def make_chain(parts: Sequence[Part]) -> tuple[Link, ...]:
    """Return the parts with stacks in place of recurrent layers and their embedding."""
    return tuple(_links(parts))


def _is_repeated(parts: Sequence[Part], number: int) -> bool:
    """Tell whether a value is one vector at all steps, which a program then has only once."""
    part = parts[number] if number >= 0 else None
    if isinstance(part, From):
        return _is_repeated(parts, part.value)
    if isinstance(part, Pointwise):
        return _is_repeated(parts, number - 1)
    return isinstance(part, Repeat)


def _links(parts: Sequence[Part]) -> Iterator[Link]:
    asked_for = referenced(parts)
    embedding: Embedding | None = None
    norm: LayerNorm | None = None
    open_stack: Stack | None = None
    first_h = first_c = 0
    for i, part in enumerate(parts):
        repeated = _is_repeated(parts, i - 1)
        if isinstance(part, Layer):
            if open_stack is not None and i - 1 not in asked_for and _continues(open_stack, part):
                layers, norms = (*open_stack.layers, part), (*open_stack.norms, norm)
                open_stack, norm = replace(open_stack, layers=layers, norms=norms), None
            else:
                if open_stack is not None:
                    yield Link(open_stack, i - 1)
                open_stack = Stack((part,), embedding, first_h, first_c, repeated=repeated)
                embedding = None
            first_h, first_c = first_h + part.output_size, first_c + part.hidden_size
            continue
        if open_stack is not None and _norms_between(open_stack, parts, i, asked_for):
            norm = part  # type: ignore[assignment]
            continue
        if open_stack is not None:
            yield Link(open_stack, i - 1)
            open_stack = None
        if isinstance(part, Embedding) and i not in asked_for and _is_recurrent(parts, i + 1):
            embedding = part
        elif isinstance(part, Bidirectional):
            places = 2 if part.merge == "concat" else 1
            stacks = []
            for d, cell in enumerate(part.cells):
                place = d if places == 2 else 0
                stacks.append(Stack((cell,), embedding, first_h, first_c, place, places, repeated))
                first_h, first_c = first_h + cell.output_size, first_c + cell.hidden_size
            embedding = None
            yield Link(Both(stacks[0], stacks[1], part.merge), i)
        else:
            yield Link(part, i)
    if open_stack is not None:
        yield Link(open_stack, len(parts) - 1)


def _norms_between(stack: Stack, parts: Sequence[Part], i: int, asked_for: set[int]) -> bool:
    """Tell whether part i is a layer norm between a stack and a layer that continues it."""
    part, behind = parts[i], parts[i + 1] if i + 1 < len(parts) else None
    return (
        isinstance(part, LayerNorm)
        and part.centered
        and isinstance(behind, Layer)
        and not asked_for & {i - 1, i}
        and _continues(stack, behind)
    )


def _is_recurrent(parts: Sequence[Part], i: int) -> bool:
    return i < len(parts) and isinstance(parts[i], Layer | Bidirectional)


def _continues(stack: Stack, layer: Layer) -> bool:
    first = stack.layers[0]
    own = stack.form._replace(embedded=False, scalar=False, repeated=False, normed=False)
    form = form_of([layer], False)._replace(scalar=False)
    return layer.direction == first.direction != "go_backwards" and form == own
