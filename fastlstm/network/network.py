"""A network: its parts, in the order in which data passes through them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fastlstm.errors import UnsupportedModelError
from fastlstm.lazy import lazy
from fastlstm.network.dense import Dense, as_head
from fastlstm.network.embedding import Embedding
from fastlstm.network.joints import AddInputs
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.masking import Masking
from fastlstm.network.reading import Read
from fastlstm.network.state import StateSizes
from fastlstm.network.weights import Weights

__all__ = ["AnyLayer", "Network", "Part", "as_flag", "check_layers"]

Recurrent = Layer | Bidirectional
AnyLayer = Layer | Bidirectional | Dense | Embedding
Part = Masking | Embedding | Layer | Bidirectional | Dense | Read | AddInputs

OPTIONS: Final = ("return_sequences", "read", "mask_value", "skip")


@dataclass(frozen=True, eq=False, repr=False)
class Network(Weights):
    """A network as a value: its parts in order, validated once. It computes nothing itself.

    Each part takes what the part before it gives: a *sequence* (N, T, K), with a vector at every
    step, or a *vector* (N, K), one for each sequence.

        Masking?  Embedding?  (Layer | Bidirectional | Dense)+     sequence -> sequence
        Read?                                                      sequence -> vector
        Dense*  AddInputs?                                         vector -> vector

    Without a `Read`, the outputs are those of every step. `Network.of` builds the usual chain.
    Networks with equal content are equal and have equal hashes.

    Parameters
    ----------
    parts : sequence of Part
        The parts, in the order in which data passes through them.
    return_sequences : bool
        Whether a call that does not say gets the outputs of every step, which are those of the
        network without its `Read`.

    Raises
    ------
    TypeError
        If one of the parts is not a part of a network.
    ValueError
        If sizes or dtypes do not fit together, or no part is recurrent.
    UnsupportedModelError
        If this version does not compute the parts in this order, or not with a mask.

    Examples
    --------
    >>> network = Network([layer, Read("final"), Dense(weight)])  # doctest: +SKIP
    >>> network == Network.of([layer], Dense(weight))  # doctest: +SKIP
    True
    """

    parts: tuple[Part, ...]
    return_sequences: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        every = as_flag("return_sequences", self.return_sequences)
        object.__setattr__(self, "return_sequences", every)
        check_order(self.parts)
        check_layers(self.layers)
        _check_rest(self)
        _check_masks(self)

    @classmethod
    def of(
        cls,
        layers: Sequence[AnyLayer],
        head: Any = None,
        return_sequences: bool = False,
        *,
        read: str = "final",
        mask_value: float | None = None,
        skip: int = 0,
    ) -> Network:
        """Return the usual chain: layers, what is read of their outputs, and a head.

        The parameters and errors are those of `fastlstm.LSTM`.
        """
        stack = tuple(layers)
        check_layers(stack)
        reading = Read(read)
        denses = as_head(head, stack[-1].output_size, stack[-1].dtype)
        masking = [] if mask_value is None else [Masking(mask_value)]
        joint = AddInputs(skip)
        joints = [joint] if joint.size else []
        return cls((*masking, *stack, reading, *denses, *joints), return_sequences)

    # --- its parts ---------------------------------------------------------------------------

    @lazy
    def layers(self) -> tuple[AnyLayer, ...]:
        """The parts that are applied at every step, in front of the `Read`, without a `Masking`."""
        return tuple(k for k in self.parts[: self._read_at] if isinstance(k, AnyLayer))

    @lazy
    def head(self) -> tuple[Dense, ...]:
        """The dense layers after the `Read`."""
        return tuple(k for k in self.parts[self._read_at :] if isinstance(k, Dense))

    @lazy
    def _read_at(self) -> int:
        """How many parts are in front of the `Read`; all, if there is none."""
        return next((i for i, k in enumerate(self.parts) if isinstance(k, Read)), len(self.parts))

    @lazy
    def read(self) -> str:
        """How the vector of a sequence is read: final, last, max or mean."""
        return next((k.how for k in self.parts if isinstance(k, Read)), "final")

    @lazy
    def mask_value(self) -> float | None:
        """The value that all inputs of a masked step have; None if there is no `Masking`."""
        first = self.parts[0]
        return first.value if isinstance(first, Masking) else None

    @lazy
    def skip(self) -> int:
        """How many inputs are added to the outputs."""
        last = self.parts[-1]
        return last.size if isinstance(last, AddInputs) else 0

    @lazy
    def recurrent(self) -> tuple[Recurrent, ...]:
        """The recurrent layers."""
        return tuple(k for k in self.layers if isinstance(k, Recurrent))

    @lazy
    def cells(self) -> tuple[Layer, ...]:
        """The directions of all recurrent layers, in their order."""
        return tuple(cell for layer in self.recurrent for cell in layer.cells)

    @lazy
    def learns_state(self) -> bool:
        """Whether some layer has a learned state to start from."""
        return any(k.h_0 is not None or k.c_0 is not None for k in self.cells)

    @lazy
    def masked_input(self) -> float | None:
        """What marks a masked step: the value of its inputs, or an id."""
        first = self.layers[0]
        return first.padding_id if isinstance(first, Embedding) else self.mask_value

    @lazy
    def masks(self) -> bool:
        """Whether steps can be masked by their inputs."""
        return self.masked_input is not None

    # --- its sizes ---------------------------------------------------------------------------

    @lazy
    def dtype(self) -> np.dtype[Any]:
        """The dtype that it is computed in, ``float32`` or ``float64``."""
        return self.layers[0].dtype

    @lazy
    def input_size(self) -> int:
        """I, the inputs of a step; 1 for an embedding, whose inputs are ids."""
        return self.layers[0].input_size

    @lazy
    def input_dtype(self) -> np.dtype[Any]:
        """The dtype that inputs are converted to: the network's, or ``int64`` for ids."""
        return np.dtype(np.int64) if isinstance(self.layers[0], Embedding) else self.dtype

    @lazy
    def hidden_size(self) -> int:
        """H, the hidden units of the last recurrent layer (of each direction)."""
        return self.recurrent[-1].hidden_size

    @lazy
    def output_size(self) -> int:
        """The size of an output."""
        return (*self.layers, *self.head)[-1].output_size

    @lazy
    def state_sizes(self) -> tuple[StateSizes, ...]:
        """The sizes of every recurrent layer's state."""
        return tuple(
            StateSizes(len(k.cells), k.cells[0].output_size, k.hidden_size) for k in self.recurrent
        )

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `Network.of` after `layers` and `head`, by name."""
        return {name: getattr(self, name) for name in OPTIONS}

    # --- networks made of it -----------------------------------------------------------------

    @lazy
    def without_head(self) -> Network:
        """The network of its layers alone, whose outputs and state a call of a model returns."""
        return Network.of(self.layers, mask_value=self.mask_value)

    def up_to(self, index: int) -> Network:
        """The network up to a recurrent layer, whose directions are concatenated."""
        top = self.recurrent[index]
        if isinstance(top, Bidirectional):
            top = Bidirectional(top.forward, top.backward)
        places = [i for i, k in enumerate(self.layers) if isinstance(k, Recurrent)]
        return Network.of([*self.layers[: places[index]], top], mask_value=self.mask_value)

    def check_every_step(self) -> None:
        """Refuse outputs of every step if frameworks do not agree on what a mask makes of them.

        Raises
        ------
        UnsupportedModelError
            If there is a mask, and the last layer reads backwards alone.
        """
        if not self.masks:
            return
        top = self.recurrent[-1]
        if isinstance(top, Layer) and top.direction != "forward":
            raise UnsupportedModelError(
                f"layer {self.layers.index(top)}: {top.direction} with a mask is computed for the "
                "final state only, not for the outputs of every step"
            )

    def __repr__(self) -> str:
        sizes = " -> ".join(str(k.output_size) for k in self.layers)
        head = f", head={self.output_size}" if self.head else ""
        sequences = ", return_sequences=True" if self.return_sequences else ""
        read = "" if self.read == "final" else f", read={self.read}"
        return f"Network({self.input_size} -> {sizes}{head}{sequences}{read}, {self.dtype})"


def check_order(parts: Sequence[Part]) -> None:
    """Refuse parts that do not take what the part before gives, or are not computed there.

    Raises
    ------
    TypeError
        If one of them is not a part of a network.
    UnsupportedModelError
        If they are not in the order that `Network` describes.
    """
    given = "sequence"
    for i, part in enumerate(parts):
        if not isinstance(part, Part):
            raise TypeError(f"part {i}: expected a part of a network, got {type(part).__name__}")
        if part.takes not in (given, "either"):
            raise UnsupportedModelError(
                f"part {i}: {type(part).__name__} takes a {part.takes}, "
                f"part {i - 1} gives a {given}"
            )
        if isinstance(part, Masking) and i:
            raise UnsupportedModelError(f"part {i}: Masking can only be the first part")
        if isinstance(part, AddInputs) and i + 1 < len(parts):
            raise UnsupportedModelError(f"part {i}: AddInputs can only be the last part")
        given = given if part.gives == "either" else part.gives


def check_layers(layers: Sequence[AnyLayer]) -> None:
    """Refuse layers that cannot follow each other.

    Raises
    ------
    TypeError
        If one of them is not a layer.
    ValueError
        If sizes or dtypes do not fit, or none of them is recurrent.
    """
    if not layers:
        raise ValueError("expected at least one layer, got none")
    for i, layer in enumerate(layers):
        if not isinstance(layer, AnyLayer):
            raise TypeError(f"layer {i}: expected a Layer, got {type(layer).__name__}")
        if layer.dtype != layers[0].dtype:
            raise ValueError(
                f"layer {i}: expected {layers[0].dtype} as in layer 0, got {layer.dtype}; "
                "convert it with .astype()"
            )
        if i and isinstance(layer, Embedding):
            raise ValueError(f"layer {i}: expected an Embedding as the first layer only")
        if i and layer.input_size != layers[i - 1].output_size:
            what = "hidden units" if isinstance(layers[i - 1], Layer) else "outputs"
            raise ValueError(
                f"layer {i}: expected {layers[i - 1].output_size} inputs, the {what} of "
                f"layer {i - 1}, got {layer.input_size}"
            )
    if not any(isinstance(layer, Recurrent) for layer in layers):
        raise ValueError("expected at least one recurrent layer, got none")


def as_flag(name: str, value: object) -> bool:
    """Return a value that must be True or False; text such as "no" is refused.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"expected {name} to be True or False, got {value!r:.80}")
    return bool(value)


def _check_rest(network: Network) -> None:
    """Refuse a head, a mask or a skip connection that does not fit the layers."""
    as_head(network.head, network.layers[-1].output_size, network.dtype)
    embedded = isinstance(network.layers[0], Embedding)
    if embedded and network.mask_value is not None:
        raise ValueError("mask_value: an Embedding masks ids by its padding_id")
    if embedded and network.skip:
        raise ValueError("skip: the inputs of an Embedding are ids, which cannot be added")
    if network.skip and not network.skip == network.output_size <= network.input_size:
        raise ValueError(
            f"skip: expected one of the {network.input_size} inputs for each of the "
            f"{network.output_size} outputs, got {network.skip}"
        )


def _check_masks(network: Network) -> None:
    """Refuse what is not well defined if steps are masked."""
    if not network.masks:
        return
    layers = network.layers
    for i, layer in enumerate(layers):
        alone = i + 1 == len(layers) and network.read == "final" and not network.return_sequences
        if isinstance(layer, Layer) and layer.direction == "go_backwards" and not alone:
            raise UnsupportedModelError(
                f"layer {i}: go_backwards with a mask is computed only for the final state of the "
                "last layer: in front of another layer, its steps would no longer match the mask"
            )
    if network.skip:
        raise UnsupportedModelError("skip: it is not defined what a masked step would add")
    if network.return_sequences or network.read == "last":
        network.check_every_step()
    if network.read == "max":
        raise UnsupportedModelError(
            "a maximum over time with a mask: frameworks do not agree on whether it counts "
            "masked steps"
        )
