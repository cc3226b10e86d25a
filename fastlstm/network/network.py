"""A network: its parts, in the order in which data passes through them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError
from fastlstm.lazy import lazy
from fastlstm.network.convolution import Conv
from fastlstm.network.dense import Dense, as_head
from fastlstm.network.embedding import Embedding
from fastlstm.network.joints import AddInputs, From, Join
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.masking import Masking
from fastlstm.network.normalisation import Affine, LayerNorm
from fastlstm.network.pointwise import Activate, PReLU, StepSoftmax
from fastlstm.network.pooling import Pool
from fastlstm.network.reading import Read
from fastlstm.network.state import StateSizes
from fastlstm.network.steps import Flatten, Pad, Repeat, Slice, Unflatten, Upsample
from fastlstm.network.values import Shape, Steps, input_size_of, shapes_of
from fastlstm.network.weights import Weights

__all__ = ["AnyLayer", "Network", "Part", "Pointwise", "as_flag", "check_layers"]

Integers = npt.NDArray[np.int64]

Recurrent = Layer | Bidirectional
AnyLayer = Layer | Bidirectional | Dense | Embedding
Pointwise = Dense | Affine | LayerNorm | Activate | PReLU  # of each step, or of a vector
Moving = Conv | Pool | Pad | Slice | Upsample  # between sequences of unequal steps
Part = (
    Masking
    | Embedding
    | Recurrent
    | Pointwise
    | Moving
    | StepSoftmax
    | Read
    | Flatten
    | Repeat
    | Unflatten
    | From
    | Join
    | AddInputs
)
# What may follow where steps are masked: the rest would have to know which steps are left out.
BESIDE_MASKS = Masking | Embedding | Recurrent | Pointwise | StepSoftmax | Read | From | Join

OPTIONS: Final = ("return_sequences", "read", "mask_value", "skip")


@dataclass(frozen=True, eq=False, repr=False)
class Network(Weights):
    """A network as a value: its parts in order, validated once. It computes nothing itself.

    Each part takes what the part before it gives: a *sequence* (N, T, K), with a vector at every
    step, or a *vector* (N, K), one for each sequence.

        sequence -> sequence   Masking Embedding Layer Bidirectional
                               Conv Pool Pad Slice Upsample StepSoftmax
        sequence -> vector     Read Flatten
        vector   -> sequence   Repeat Unflatten
        either   -> either     Dense Affine LayerNorm Activate PReLU
        joints                 From Join AddInputs

    What part i gives is *value* i, and the inputs are value -1. A joint reads earlier values by
    their numbers, so that a network with branches is a tuple of parts, too.

    A network that gives a sequence has no `Read` behind its last recurrent layer. `Network.of`
    builds the usual chain. Networks with equal content are equal and have equal hashes.

    Parameters
    ----------
    parts : sequence of Part
        The parts, in the order in which data passes through them.
    return_sequences : bool
        Whether a call that does not say gets the outputs of every step: those of the network
        without its last `Read`, behind which stand only parts that are applied at every step.

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
        if self.usual:
            check_layers(self.layers)
            _check_rest(self)
        _check_dtypes(self.parts)
        assert self.shapes
        _check_masks(self)
        if every:
            self.check_every_step()

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
    def usual(self) -> bool:
        """Whether it is a chain that `Network.of` builds, or one without a `Read`."""
        kinds = (Masking, Embedding, Layer, Bidirectional, Dense, Read, AddInputs)
        reads = [k for k in self.parts if isinstance(k, Read)]
        return all(isinstance(k, kinds) for k in self.parts) and len(reads) < 2

    @lazy
    def layers(self) -> tuple[AnyLayer, ...]:
        """Its layers in front of the last `Read`, without a `Masking`."""
        return tuple(k for k in self.parts[: self.read_at] if isinstance(k, AnyLayer))

    @lazy
    def head(self) -> tuple[Dense, ...]:
        """The dense layers after the last `Read`."""
        return tuple(k for k in self.parts[self.read_at :] if isinstance(k, Dense))

    @lazy
    def read_at(self) -> int:
        """Which part is the last `Read`, if all that follows can be applied at every step.

        How many parts there are, if there is no such `Read`.
        """
        for i in range(len(self.parts) - 1, -1, -1):
            if isinstance(self.parts[i], Read):
                return i
            if not isinstance(self.parts[i], Pointwise | AddInputs):
                break
        return len(self.parts)

    @lazy
    def read(self) -> str:
        """How the vector of a sequence is read at last: final, last, max, mean or sum."""
        return next((k.how for k in self.parts[self.read_at :] if isinstance(k, Read)), "final")

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
    def embedding(self) -> Embedding | None:
        """The table that its inputs, which then are ids, are looked up in."""
        return next((k for k in self.parts if isinstance(k, Embedding)), None)

    @lazy
    def recurrent(self) -> tuple[Recurrent, ...]:
        """The recurrent layers."""
        return tuple(k for k in self.parts if isinstance(k, Recurrent))

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
        return self.mask_value if self.embedding is None else self.embedding.padding_id

    @lazy
    def masks(self) -> bool:
        """Whether steps can be masked by their inputs."""
        return self.masked_input is not None

    # --- its sizes ---------------------------------------------------------------------------

    @lazy
    def dtype(self) -> np.dtype[Any]:
        """The dtype that it is computed in, ``float32`` or ``float64``."""
        return self.recurrent[0].cells[0].dtype

    @lazy
    def shapes(self) -> tuple[Shape, ...]:
        """The shape of every value."""
        return shapes_of(self.parts, self.input_size)

    @lazy
    def input_size(self) -> int:
        """I, the inputs of a step; 1 for an embedding, whose inputs are ids."""
        return input_size_of(self.parts)

    @lazy
    def input_dtype(self) -> np.dtype[Any]:
        """The dtype that inputs are converted to: the network's, or ``int64`` for ids."""
        return self.dtype if self.embedding is None else np.dtype(np.int64)

    @lazy
    def hidden_size(self) -> int:
        """H, the hidden units of the last recurrent layer (of each direction)."""
        return self.recurrent[-1].hidden_size

    @lazy
    def output_size(self) -> int:
        """The size of an output."""
        return self.shapes[-1].size

    @lazy
    def keeps_steps(self) -> bool:
        """Whether every sequence in it has the steps of the inputs, however many."""
        return not any(isinstance(k, Moving | Flatten | Repeat | Unflatten) for k in self.parts)

    def steps(self, lengths: Integers) -> Steps:
        """Return how many steps every value has, for sequences of these lengths (N,)."""
        return (
            self._equal_steps(int(lengths[0])) if len(lengths) == 1 else Steps(self.parts, lengths)
        )

    @lazy
    def _equal_steps(self) -> Callable[[int], Steps]:
        """The same for one length, kept: short calls ask for it again and again."""
        parts = self.parts  # not the network, which would then be freed late
        return lru_cache(maxsize=256)(lambda length: Steps(parts, np.array([length], np.int64)))

    def output_steps(self, lengths: Integers) -> Integers:
        """Return how many steps the outputs of every step have, for sequences of these lengths.

        Raises
        ------
        ValueError
            If the network does not take sequences of these lengths.
        """
        if self.keeps_steps:
            return lengths
        steps = self.steps(lengths)
        steps.check()
        found = steps.value(self.read_at - 1)
        return lengths if found is None else found

    @lazy
    def step_limits(self) -> tuple[int, int | None]:
        """The fewest and the most steps of the sequences that it takes, of those that have some.

        There is no most if it is None; both are 0 if it takes no sequence at all.
        """
        if self.keeps_steps:
            return 1, None
        unlimited = not self.steps(np.array([1 << 24])).refused[0]
        for most in (1 << 8, 1 << 12, 1 << 16, 1 << 20):
            taken = np.flatnonzero(~self.steps(np.arange(1, most + 1)).refused) + 1
            if taken.size and (unlimited or taken[-1] < most):
                return int(taken[0]), None if unlimited else int(taken[-1])
        return 0, 0

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
        """The network whose outputs and state a call of a model returns.

        It ends with the last recurrent layer, or with dense layers between that and the `Read`.
        """
        top = max(i for i, k in enumerate(self.parts) if isinstance(k, Recurrent))
        cut = top + 1
        while cut < len(self.parts) and isinstance(self.parts[cut], Dense):
            cut += 1
        behind = isinstance(self.parts[cut], Read) if cut < len(self.parts) else True
        return Network(self.parts[: cut if behind else top + 1])

    def up_to(self, index: int) -> Network:
        """The network up to a recurrent layer, whose directions are concatenated."""
        top = self.recurrent[index]
        places = [i for i, k in enumerate(self.parts) if isinstance(k, Recurrent)]
        if isinstance(top, Bidirectional):
            top = Bidirectional(top.forward, top.backward)
        return Network((*self.parts[: places[index]], top))

    def reading(self, how: str) -> Network:
        """The network with another last `Read`."""
        parts = list(self.parts)
        parts[self.read_at] = Read(how)
        return replace(self, parts=tuple(parts))

    def check_every_step(self) -> None:
        """Refuse outputs of every step if there are none.

        Raises
        ------
        UnsupportedModelError
            If the network gives one vector for each sequence whatever is left out, or adds inputs
            to outputs of other steps; or if there is a mask, and the last layer reads backwards
            alone: frameworks do not agree on what the mask makes of its outputs.
        """
        at = self.read_at
        if at == len(self.parts) and not self.shapes[-1].every:
            raise UnsupportedModelError(
                "the network gives one vector for each sequence, no outputs of every step: "
                f"it ends with {self._ending()}"
            )
        if self.skip and not self.keeps_steps:
            raise UnsupportedModelError(
                "skip: the outputs of every step have other steps than the inputs, which cannot be "
                "added to them"
            )
        if not self.masks:
            return
        for i, part in enumerate(self.parts):
            if isinstance(part, StepSoftmax | From | Join):
                raise UnsupportedModelError(
                    f"part {i}, {type(part).__name__}: with a mask, its outputs are not computed "
                    "for every step"
                )
        top = self.recurrent[-1]
        if isinstance(top, Layer) and top.direction != "forward":
            raise UnsupportedModelError(
                f"layer {self.layers.index(top)}: {top.direction} with a mask is computed for the "
                "final state only, not for the outputs of every step"
            )

    def _ending(self) -> str:
        """The kinds of the last parts, from the last one on that makes a vector."""
        at = max(i for i, shape in enumerate(self.shapes) if shape.every) + 1
        return ", ".join(type(k).__name__ for k in self.parts[at:])

    def __repr__(self) -> str:
        if not self.usual:
            names = " -> ".join(map(_short, self.parts))
            sequences = ", return_sequences=True" if self.return_sequences else ""
            return f"Network({self.input_size} -> {names}{sequences}, {self.dtype})"
        sizes = " -> ".join(str(k.output_size) for k in self.layers)
        head = f", head={self.output_size}" if self.head else ""
        sequences = ", return_sequences=True" if self.return_sequences else ""
        read = "" if self.read == "final" else f", read={self.read}"
        return f"Network({self.input_size} -> {sizes}{head}{sequences}{read}, {self.dtype})"


def _short(part: Part) -> str:
    """A part as its kind and what it gives."""
    size = getattr(part, "output_size", None)
    how = getattr(part, "how", None)
    inside = ", ".join(str(k) for k in (how, size) if k is not None)
    return f"{type(part).__name__}({inside})" if inside else type(part).__name__


def check_order(parts: Sequence[Part]) -> None:
    """Refuse parts that do not take what the part before gives, or are not computed there.

    Raises
    ------
    TypeError
        If one of them is not a part of a network.
    UnsupportedModelError
        If they are not in the order that `Network` describes.
    """
    given: list[str] = []  # what each part gives
    for i, part in enumerate(parts):
        if not isinstance(part, Part):
            raise TypeError(f"part {i}: expected a part of a network, got {type(part).__name__}")
        below = given[-1] if given else "sequence"
        if isinstance(part, From | Join):
            if max(part.values) >= i:
                raise ValueError(f"part {i}: reads value {max(part.values)}, which comes later")
            read = {"sequence" if k < 0 else given[k] for k in part.values}
            given.append("sequence" if "sequence" in read else "vector")
            continue
        if part.takes not in (below, "either"):
            raise UnsupportedModelError(
                f"part {i}: {type(part).__name__} takes a {part.takes}, "
                f"part {i - 1} gives a {below}"
            )
        if isinstance(part, Masking) and i:
            raise UnsupportedModelError(f"part {i}: Masking can only be the first part")
        if isinstance(part, Embedding) and not all(isinstance(k, Masking) for k in parts[:i]):
            raise UnsupportedModelError(f"part {i}: an Embedding can only be the first part")
        if isinstance(part, AddInputs) and i + 1 < len(parts):
            raise UnsupportedModelError(f"part {i}: AddInputs can only be the last part")
        given.append(below if part.gives == "either" else part.gives)
    if not any(isinstance(part, Recurrent) for part in parts):
        raise ValueError("expected at least one recurrent layer, got none")


def _check_dtypes(parts: Sequence[Part]) -> None:
    """Refuse weights of several dtypes."""
    found = {str(k.dtype): i for i, k in enumerate(parts) if hasattr(k, "dtype")}
    if len(found) > 1:
        raise ValueError(
            "expected weights of one dtype, got "
            f"{' and '.join(f'{dtype} in part {i}' for dtype, i in found.items())}; convert them "
            "with .astype()"
        )


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
    output_size = (*network.layers, *network.head)[-1].output_size
    if network.skip and not network.skip == output_size <= network.input_size:
        raise ValueError(
            f"skip: expected one of the {network.input_size} inputs for each of the "
            f"{output_size} outputs, got {network.skip}"
        )


def _check_masks(network: Network) -> None:
    """Refuse what is not well defined if steps are masked."""
    if not network.masks:
        return
    for i, part in enumerate(network.parts):
        if not isinstance(part, BESIDE_MASKS | AddInputs):
            raise UnsupportedModelError(
                f"part {i}: {type(part).__name__} is not computed where steps are masked"
            )
    plain = not any(isinstance(k, From | Join) for k in network.parts)
    for i, part in enumerate(network.parts):
        if isinstance(part, Read) and part.how == "last" and not (plain and i == network.read_at):
            raise UnsupportedModelError(
                f"part {i}: the last step, which may be masked, is computed only where nothing "
                "but dense layers and the like follow"
            )
    for i, part in enumerate(network.parts):
        if not isinstance(part, Layer) or part.direction != "go_backwards":
            continue
        if network.return_sequences or not _only_final(network.parts, i):
            raise UnsupportedModelError(
                f"layer {network.layers.index(part)}: go_backwards with a mask is computed only "
                "for the final state: in front of another layer or joint, its steps would no "
                "longer match the mask"
            )
    if network.skip:
        raise UnsupportedModelError("skip: it is not defined what a masked step would add")
    if network.return_sequences or network.read == "last":
        network.check_every_step()
    for i, part in enumerate(network.parts):
        if isinstance(part, Read):
            _check_masked_read(network, i, part.how)
    if network.shapes[-1].every:
        _check_masked_read(network, len(network.parts), "final")


def _check_masked_read(network: Network, number: int, how: str) -> None:
    """Refuse what is not well defined, or not computed, of a `Read` if steps are masked."""
    if how == "max":
        raise UnsupportedModelError(
            "a maximum over time with a mask: frameworks do not agree on whether it counts "
            "masked steps"
        )
    if how in ("final", "last") and not _ends_in_state(network.parts, number - 1):
        raise UnsupportedModelError(
            f"part {number}, Read: with a mask, the last step is computed only of the outputs of "
            "a recurrent layer"
        )


def _ends_in_state(parts: Sequence[Part], number: int) -> bool:
    """Tell whether a value is a recurrent layer's outputs, each step perhaps computed with."""
    part = parts[number] if number >= 0 else None
    if isinstance(part, From):
        return _ends_in_state(parts, part.value)
    if isinstance(part, Pointwise | AddInputs):
        return _ends_in_state(parts, number - 1)
    return isinstance(part, Recurrent)


def _only_final(parts: Sequence[Part], number: int) -> bool:
    """Tell whether nothing but the final state is read of a recurrent layer's outputs."""
    readers = [i for i, k in enumerate(parts) if isinstance(k, From | Join) and number in k.values]
    if number + 1 < len(parts) and not isinstance(parts[number + 1], From | Join):
        readers.append(number + 1)
    return all(
        (isinstance(part := parts[i], Pointwise | From) and _only_final(parts, i))
        or (isinstance(part, Read) and part.how == "final")
        for i in readers
    )
