"""The network so far, while layer after layer of a Keras model is added to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.keras.cells import Options
from fastlstm.formats.keras.graph import KerasLayer
from fastlstm.formats.keras.stores import Store
from fastlstm.formats.keras.tensors import BOTH, NUMBERS, STEPS, Axis, Tensor, without
from fastlstm.network.activations import LINEAR
from fastlstm.network.convolution import Conv
from fastlstm.network.dense import SOFTMAX, Dense
from fastlstm.network.embedding import Embedding
from fastlstm.network.joints import From, Join
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.network import Network, Part, Pointwise
from fastlstm.network.normalisation import Affine
from fastlstm.network.pointwise import Activate, StepSoftmax
from fastlstm.network.pooling import Pool
from fastlstm.network.reading import Read
from fastlstm.network.steps import Flatten, Pad, Repeat, Slice, Unflatten, Upsample

__all__ = ["Net"]

Array = npt.NDArray[Any]

# Parts that need every step, also those that a mask leaves out.
EVERY_STEP: Final = (
    Conv | Pool | Pad | Slice | Upsample | StepSoftmax | Flatten | Repeat | Unflatten
)
MAX_MOVED: Final = 1 << 11  # numbers that a matrix of zeros and ones may put into another order
FIXED: Final = "give the model a fixed number of steps, keras.Input((steps, numbers))"


class Net:
    """The parts of a network, and what is known about its mask.

    Parameters
    ----------
    weights : Store
    version : int or None
        The major version of the Keras that wrote the model.
    """

    def __init__(self, weights: Store, version: int | None) -> None:
        self.weights, self.version = weights, version
        self.parts: list[Part] = []
        self.layer: object = "the model"  # what is being added, for errors
        self.read_states: set[str] = set()  # the layers whose final states are read
        self._made: set[int] = set()  # parts of constants, which have the dtype of the others
        self._mask: tuple[str, float] | None = None  # the kind of layer that masks, and the value
        self._mask_readers: list[str] = []  # layers that leave masked steps out
        self._step_readers: list[str] = []  # layers that need masked steps, too

    # --- errors and options -------------------------------------------------------------------

    def refuse(self, why: str) -> NoReturn:
        """Refuse the layer that is being added."""
        raise UnsupportedModelError(f"{self.layer}: {why}")

    def options(self, layer: KerasLayer) -> Options:
        """The options of a layer, none of which may be left over."""
        return Options(str(layer), layer.config, self.version)

    # --- parts --------------------------------------------------------------------------------

    def emit(self, part: Part, value: int, *, made: bool = False, masked: bool = False) -> int:
        """Add a part that reads a value; return the number of what it gives.

        With `made`, its arrays are constants that take the dtype of the model's weights. With
        `masked`, it leaves masked steps out as Keras does.
        """
        if value != len(self.parts) - 1:
            self.parts.append(From(value))
        steps = isinstance(part, EVERY_STEP) or getattr(part, "how", "") in ("max", "sum")
        if masked:
            self.leaves_out()
        elif steps and not isinstance(part, Join):
            self.needs_every_step()
        if made:
            self._made.add(len(self.parts))
        self.parts.append(part)
        return len(self.parts) - 1

    def needs_every_step(self) -> None:
        """Note that the layer needs the steps that a mask leaves out, too."""
        self._step_readers.append(str(self.layer))

    def leaves_out(self) -> None:
        """Note that the layer leaves masked steps out."""
        self._mask_readers.append(str(self.layer))

    def masks(self, kind: str, value: float) -> None:
        """Note that the inputs mask steps."""
        self._mask = kind, value

    @property
    def mask(self) -> tuple[str, float] | None:
        """The kind of layer that masks steps, and the value that inputs have there."""
        return self._mask

    def weighted(self, x: Tensor, part: Part, size: int, *, made: bool = False) -> Tensor:
        """Apply a part to the numbers of `x`, which are its last axis; `size` are left."""
        value = self.emit(part, x.value, made=made)
        axes = without(x.axes, x.rank - 1, NUMBERS if size > 1 else 1)
        return replace(x, value=value, size=size, axes=axes, shared=False)

    def moved(self, x: Tensor, part: Part) -> Tensor:
        """Apply a part that makes a sequence of another."""
        steps: int | None = x.steps
        size = getattr(part, "output_size", x.size)
        if steps is not None and hasattr(part, "steps"):
            given, steps = steps, int(part.steps(np.array([steps]))[0])
            if steps < 1:
                raise ModelFormatError(f"{self.layer} leaves no step of {given}")
        axes = (STEPS, NUMBERS if size != 1 else 1)
        return Tensor(self.emit(part, x.value), True, size, axes, steps)

    def constants(self, x: Tensor, matrix: Any) -> Tensor:
        """Multiply the numbers of `x`, which are its last axis, by a matrix (K, O) of constants."""
        weight = np.asarray(matrix, np.float64).T  # (O, K)
        return self.weighted(x, Dense(weight), len(weight), made=True)

    def scaled(self, x: Tensor, scale: float, shift: float = 0.0) -> Tensor:
        """Return ``x * scale + shift``."""
        if scale == 1 and shift == 0:
            return x
        if x.size is None:
            self.refuse("the number of inputs is not known; give the model a keras.Input")
        full = [np.full(x.size, k, np.float64) for k in (0.0, scale, shift)]
        return replace(x, value=self.emit(Affine(*full), x.value, made=True), shared=False)

    def activated(self, x: Tensor, activation: Any) -> Tensor:
        """Apply an activation to every number, or softmax to the numbers of each step."""
        if activation == LINEAR:
            return x
        before = self.parts[x.value] if 0 <= x.value == len(self.parts) - 1 else None
        if isinstance(before, Dense | Conv) and before.activation == LINEAR and not x.shared:
            takes = not isinstance(activation, str)
            if takes or (activation == SOFTMAX and isinstance(before, Dense)):
                self.parts[x.value] = replace(before, activation=activation)
                return x
        return replace(x, value=self.emit(Activate(activation), x.value), shared=False)

    def scaled_by(self, x: Tensor, scale: Array) -> Tensor:
        """Multiply by a weight of the model, one number."""
        if scale.size != 1 or x.size is None:
            raise ModelFormatError(f"{self.layer}: expected one weight, got {scale.shape}")
        zero, full = np.zeros(x.size, scale.dtype), np.full(x.size, scale, scale.dtype)
        return replace(x, value=self.emit(Affine(zero, full, zero), x.value), shared=False)

    def take(self, layer: KerasLayer, names: list[str], unread: Sequence[str] = ()) -> list[Array]:
        """The weights of a layer; those of `unread` are known, and not needed."""
        if not names:
            return []
        return self.weights.take(layer, layer.inside, names, unread)

    # --- axes ---------------------------------------------------------------------------------

    def _known(self, x: Tensor, size: int | None = None) -> int:
        """The number of steps of x, which may follow from the size of all its numbers."""
        if x.hidden:
            self.refuse(f"it would take {x} at every step, an input of four dimensions")
        if x.steps is not None:
            return x.steps
        if size is not None and x.size and size % x.size == 0:
            return size // x.size
        self.refuse(f"the number of steps is not known; {FIXED}")

    def flat(self, x: Tensor, size: int | None = None) -> Tensor:
        """Return a tensor whose only axis is that of its numbers.

        Parameters
        ----------
        x : Tensor
            Of one axis, and others of 1.
        size : int, optional
            How many numbers the next layer takes, if that is known.
        """
        axis = next((k for k in x.axes if k != 1), 1)
        if axis in (STEPS, BOTH):
            steps = self._known(x, size)
            value = self.emit(Flatten(steps), x.value)
            n = None if x.size is None else steps * x.size
            return Tensor(value, False, n, (NUMBERS if n != 1 else 1,))
        if isinstance(axis, int) and axis > 1:
            return self.constants(x.having(1), np.ones((1, axis)))
        return x.having(axis)

    def numbers_last(self, x: Tensor, size: int | None = None) -> Tensor:
        """Return x with its numbers as the last axis; `size` of them, if that is known."""
        if not x.rank:
            self.refuse("it takes no scalars")
        last = x.axes[-1]
        if last == NUMBERS or (last == 1 and x.size == 1):
            return x
        if all(k == 1 for k in x.axes[:-1]):
            return replace(y := self.flat(x, size), axes=(*x.axes[:-1], *y.axes))
        return self.sequence(x)

    def sequence(self, x: Tensor) -> Tensor:
        """Return x as a sequence, with the axes (steps, numbers)."""
        if x.hidden or x.rank != 2:
            what = "an input of four dimensions" if x.hidden or x.rank > 2 else "one vector"
            self.refuse_shape("a sequence (steps, numbers)", x, what)
        if BOTH in x.axes:
            y = self.flat(x)
            x = y.having(*without(x.axes, x.axes.index(BOTH), *y.axes))
        first, last = x.axes
        if (first, last) == (NUMBERS, STEPS):
            return self._transposed(x)
        if isinstance(last, int) and last > 1:  # copies of the only number
            x = self.constants(x.having(first, 1), np.ones((1, last)))
            first, last = x.axes
        if first == STEPS:
            return x
        if last == STEPS:  # (copies, steps)
            x = replace(y := self.flat(x.having(STEPS)), axes=(first, *y.axes))
            first, last = x.axes
        if first == NUMBERS:
            return self.numbers_to_steps(x, 0)
        assert isinstance(first, int)
        return Tensor(self.emit(Repeat(first), x.value), True, x.size, (STEPS, last), first)

    def refuse_shape(self, wanted: str, x: Tensor, what: str) -> NoReturn:
        """Refuse a tensor of another shape than a layer takes."""
        raise UnsupportedModelError(f"{self.layer} takes {wanted}; {what}, {x}, is not computed")

    def numbers_to_steps(self, x: Tensor, k: int) -> Tensor:
        """Return x with the numbers of a vector, its axis k, as the steps of a sequence."""
        if x.every or x.size is None:
            self.refuse(f"{x} is not computed")
        value = self.emit(Unflatten(x.size), x.value)
        return Tensor(value, True, 1, without(x.axes, k, STEPS), x.size)

    def _transposed(self, x: Tensor) -> Tensor:
        """Return the sequence whose steps are the numbers of x, and whose numbers its steps."""
        steps, size = self._known(x), x.size
        if size is None:
            self.refuse("the number of inputs is not known; give the model a keras.Input")
        if steps * size > MAX_MOVED and steps > 1:
            self.refuse(
                f"steps and numbers change places in {x}; that is computed for at most {MAX_MOVED} "
                "numbers"
            )
        y = self.flat(x.having(BOTH))
        if steps > 1:
            order = np.arange(steps * size).reshape(steps, size).T.ravel()
            y = self.constants(y, np.eye(steps * size)[:, order])
        value = self.emit(Unflatten(size), y.value)
        return Tensor(value, True, steps, (STEPS, NUMBERS if steps > 1 else 1), size)

    def reshaped(self, x: Tensor, target: Any) -> Tensor:
        """Return x in another shape (without the first axis), of which one size may be -1."""
        if not isinstance(target, (list, tuple)) or not all(type(k) is int for k in target):
            raise ModelFormatError(f"{self.layer}: expected a shape, got {target!r:.80}")
        wanted = self._resolved(x, [int(k) for k in target])
        kept = [k for k in x.axes if k != 1]
        sizes = [x.length(k) for k in kept]
        rest = [k for k in wanted if k != 1]
        if len(rest) == len(sizes) and all(b in (-1, a) for a, b in zip(sizes, rest, strict=True)):
            left = iter(kept)
            return x.having(*(1 if k == 1 else next(left) for k in wanted))
        if None not in sizes and -1 not in rest and prod(k or 1 for k in sizes) != prod(rest):
            raise ModelFormatError(f"{self.layer}: {x} does not fit the shape {tuple(target)}")
        if len(rest) == 1 and kept == [STEPS, NUMBERS]:
            return x.having(*(1 if k == 1 else BOTH for k in wanted))
        if len(rest) > 2 or -1 in rest or None in x.shape:
            self.refuse(f"from {x} to {tuple(target)} is not computed; {FIXED}")
        if len(kept) == 2 and BOTH not in kept:
            x = self.sequence(x.having(*kept)).having(BOTH)
            if x.size == 1:
                x = x.having(STEPS)
        y = self.flat(x)
        if len(rest) == 1:
            return y.having(*(1 if k == 1 else NUMBERS for k in wanted))
        if len(rest) == 0:
            return y.having(*wanted)
        steps, size = rest
        value = self.emit(Unflatten(steps), y.value)
        made = iter((STEPS, NUMBERS))
        axes: tuple[Axis, ...] = tuple(1 if k == 1 else next(made) for k in wanted)
        return Tensor(value, True, size, axes, steps)

    def _resolved(self, x: Tensor, target: list[int]) -> list[int]:
        """The shape with the size that -1 stands for, if it is known."""
        if -1 not in target:
            return target
        lengths = list(x.shape)
        known = [k for k in target if k != -1]
        for k in list(known):  # sizes that both have
            if k in lengths:
                lengths.remove(k)
                known.remove(k)
        if None in lengths:
            return target
        total, others = prod(k for k in lengths if k is not None), prod(known)
        if not others or total % others:
            raise ModelFormatError(f"{self.layer}: {x} does not fit the shape {tuple(target)}")
        return [total // others if k == -1 else k for k in target]

    # --- over an axis -------------------------------------------------------------------------

    def reduced(self, x: Tensor, k: int, how: str, keepdims: bool = False) -> Tensor:
        """The sum, mean or maximum over an axis."""
        axis = x.axes[k]
        if axis == BOTH:
            x = self.flat(x)
            k, axis = 0, NUMBERS
        left: tuple[Axis, ...] = (1,) if keepdims else ()
        axes = without(x.axes, k, *left)
        if axis == STEPS:
            masked = x.mask and how == "mean"
            if how == "mean" and not masked:
                self.needs_every_step()
            value = self.emit(Read(how), x.value, masked=masked)
            return Tensor(value, False, x.size, axes)
        if axis == NUMBERS:
            if how == "max" or x.size is None:
                self.refuse(f"the {how} over the numbers of a step is not computed")
            weight = np.ones((x.size, 1)) / (x.size if how == "mean" else 1)
            value = self.emit(Dense(weight.T), x.value, made=True)
            return replace(x, value=value, size=1, axes=axes, shared=False)
        assert isinstance(axis, int)
        return self.scaled(x, axis if how == "sum" else 1).having(*axes)

    def softmax(self, x: Tensor, k: int, kind: str = SOFTMAX) -> Tensor:
        """Softmax, or its logarithm, over an axis."""
        axis = x.axes[k]
        if axis == BOTH:
            x, axis = self.flat(x), NUMBERS
        if axis == STEPS and kind == SOFTMAX:
            return replace(x, value=self.emit(StepSoftmax(), x.value), shared=False)
        if axis == NUMBERS or (axis == 1 and x.size == 1):
            return self.activated(x, kind)
        self.refuse(f"{kind} over axis {k + 1} of {x} is not computed")

    def joined(self, how: str, tensors: list[Tensor], axis: int | None = None) -> Tensor:
        """Add or multiply tensors, or put them side by side along an axis.

        Axes of 1 are broadcast, and tensors of fewer axes than others get some in front.
        """
        rank = max(x.rank for x in tensors)
        tensors = [
            self.flat(x) if BOTH in x.axes and x.rank == 1 else x for x in self._same_rank(tensors)
        ]
        if axis is not None and any(x.axes[axis] == STEPS for x in tensors):
            tensors = [self._steps_to_numbers(x, axis) for x in tensors]
        elif axis is not None and all(x.axes[axis] == 1 and x.size != 1 for x in tensors):
            return self._stacked(tensors, axis)
        tensors = self._aligned(tensors)
        axes: list[Axis] = []
        for k in range(rank):
            found = [x.axes[k] for x in tensors]
            axes.append(self._common(found, tensors, k == axis))
        mask, loose = self._joined_mask(tensors)
        sizes = [x.size for x in tensors]
        if None in sizes:
            self.refuse("the number of inputs is not known; give the model a keras.Input")
        total = sum(k for k in sizes if k) if axis is not None else max(k for k in sizes if k)
        if axis is not None:
            axes[axis] = NUMBERS
        if axes.count(STEPS) > 1 or axes.count(NUMBERS) > 1:
            self.refuse(f"{' and '.join(map(str, tensors))} are not computed together")
        self.parts.append(Join(how, tuple(x.value for x in tensors)))
        steps = next((x.steps for x in tensors if x.every and x.steps), None)
        every = any(x.every for x in tensors)
        joined = Tensor(len(self.parts) - 1, every, total, tuple(axes), steps, mask)
        return replace(joined, loose=loose)

    def _same_rank(self, tensors: list[Tensor]) -> list[Tensor]:
        rank = max(x.rank for x in tensors)
        if len({x.hidden for x in tensors if x.every}) > 1:
            self.refuse("sequences are joined with single steps of others")
        return [x.having(*(1,) * (rank - x.rank), *x.axes) for x in tensors]

    def _aligned(self, tensors: list[Tensor]) -> list[Tensor]:
        """Make the numbers of vectors steps, where those of others are."""
        found = []
        for x in tensors:
            for k in range(x.rank):
                here = {y.axes[k] for y in tensors}
                if x.axes[k] == NUMBERS and STEPS in here:
                    turned = x.every and x.rank == 2
                    x = self.sequence(x) if turned else self.numbers_to_steps(x, k)
            found.append(x)
        return found

    def _common(self, found: list[Axis], tensors: list[Tensor], side_by_side: bool) -> Axis:
        """The axis that several make if they are joined number by number."""
        kinds = {k for k in found if k != 1}
        named = {k for k in kinds if isinstance(k, str)}
        copies = {k for k in kinds if isinstance(k, int)}
        if side_by_side:
            if not (named <= {NUMBERS} and not copies) or any(
                axis == 1 and x.size != 1 for axis, x in zip(found, tensors, strict=True)
            ):
                self.refuse(f"{' and '.join(map(str, tensors))} are not put side by side")
            return NUMBERS
        lengths = {x.length(k) for k, x in zip(found, tensors, strict=True) if k != 1} - {None}
        if len(named) > 1 or len(copies) > 1 or len(lengths) > 1:
            self.refuse(f"{' and '.join(map(str, tensors))} are not computed together")
        if named == {STEPS} and copies and None in {x.steps for x in tensors if x.every}:
            self.refuse(f"a vector is repeated for each of an unknown number of steps; {FIXED}")
        return next((k for k in found if k != 1), 1)

    def _joined_mask(self, tensors: list[Tensor]) -> tuple[bool, bool]:
        """Whether joined tensors have a mask, as in Keras if all have; and whether it is loose."""
        masks = [x.mask for x in tensors]
        if any(masks) and not all(masks):
            self.needs_every_step()
        return all(masks), any(masks) or any(x.loose for x in tensors)

    def _steps_to_numbers(self, x: Tensor, k: int) -> Tensor:
        """Return x, of one number at each step, with its steps, axis k, as numbers."""
        if x.axes[k] != STEPS:
            return x
        if x.size != 1:
            self.refuse(f"{x} is put side by side along its steps, which is not computed")
        y = self.flat(x.having(STEPS))
        return y.having(*without(x.axes, k, y.axes[0]))

    def _stacked(self, tensors: list[Tensor], axis: int) -> Tensor:
        """Vectors as the steps of a sequence."""
        vectors = [self.flat(x) for x in tensors]
        if axis != 0 or any(x.every for x in tensors) or len({x.size for x in vectors}) > 1:
            self.refuse(f"{' and '.join(map(str, tensors))} are not put side by side")
        n, size = len(vectors), vectors[0].size
        self.parts.append(Join("concatenate", tuple(x.value for x in vectors)))
        value = self.emit(Unflatten(n), len(self.parts) - 1)
        return Tensor(value, True, size, (STEPS, NUMBERS), n)

    def dotted(self, x: Tensor, i: int, y: Tensor, j: int) -> Tensor:
        """The sum over products along an axis of each; the other axes of x stand before those of y.

        One of them has no other axis of numbers, or no steps.
        """
        if x.axes[i] == BOTH:
            x = self.flat(x)
        if y.axes[j] == BOTH:
            y = self.flat(y)
        a, b = x.axes[i], y.axes[j]
        if {a, b} == {STEPS, NUMBERS}:
            if a == NUMBERS:
                x = self.numbers_to_steps(x, i)
            else:
                y = self.numbers_to_steps(y, j)
            a = b = STEPS
        rest = (*without(x.axes, i), *without(y.axes, j))
        if (
            a != b
            or rest.count(STEPS) > 1
            or rest.count(NUMBERS) > 1
            or a
            not in (
                STEPS,
                NUMBERS,
                1,
            )
        ):
            self.refuse(
                f"the products of {x} and {y} are not computed: one of both has to have one "
                "vector, or one number at each step (attention of every step over every step is "
                "not computed)"
            )
        lengths = {x.length(a), y.length(b)} - {None}
        if len(lengths) > 1 or None in (x.size, y.size):
            raise ModelFormatError(f"{self.layer}: {x} and {y} do not fit")
        if x.mask or y.mask:
            self.needs_every_step()
        assert x.size is not None
        assert y.size is not None
        how = "dot" if a == NUMBERS else "multiply"
        self.parts.append(Join(how, (x.value, y.value)))
        value, size = len(self.parts) - 1, 1 if a == NUMBERS else max(x.size, y.size)
        every = x.every or y.every
        steps = x.steps if x.every else y.steps
        if a == STEPS:
            value = self.emit(Read("sum"), value)
            every, steps = False, None
        return Tensor(value, every, size, rest, steps)

    def selected(self, x: Tensor, k: int, item: Any) -> Tensor:
        """``x[..., item]`` of axis k: an integer or a slice."""
        if item == slice(None, None, None):
            return x
        if isinstance(item, slice):
            if any(type(n) not in (int, type(None)) for n in (item.start, item.stop, item.step)):
                self.refuse(f"a slice by {item} is not computed")
            if item.step == 0:
                raise ModelFormatError(f"{self.layer}: a slice of step 0")
        elif type(item) is not int:
            self.refuse(f"x[{item!r:.80}] is not computed: only integers and slices are")
        axis = x.axes[k]
        if axis == BOTH:
            x = self.flat(x)
            axis = x.axes[0]
        if axis == STEPS:
            return self._of_steps(x, k, item)
        n = x.length(axis)
        if n is None:
            self.refuse("the number of inputs is not known; give the model a keras.Input")
        chosen = range(n)[item] if isinstance(item, slice) else [range(n)[item]]
        if not len(chosen):
            raise ModelFormatError(f"{self.layer}: x[{item}] of {x} is empty")
        left: tuple[Axis, ...] = () if isinstance(item, int) else (len(chosen),)
        if axis != NUMBERS:
            return x.having(*without(x.axes, k, *left))
        value = self.emit(Dense(np.eye(n)[list(chosen)]), x.value, made=True)
        if len(chosen) > 1:
            left = (NUMBERS,)
        axes = without(x.axes, k, *left)
        return replace(x, value=value, size=len(chosen), axes=axes, shared=False)

    def one_step(self, x: Tensor) -> Tensor:
        """Return a sequence of one step as a vector with an axis of 1."""
        if STEPS not in x.axes or x.steps != 1:
            return x
        k = x.axes.index(STEPS)
        return self._of_steps(x, k, slice(-1, None)) if not x.loose else x

    def _of_steps(self, x: Tensor, k: int, item: Any) -> Tensor:
        if isinstance(item, slice):
            start, stop, step = item.start, item.stop, item.step
            start = 0 if start is None and stop == 1 else start
            last = start == -1 and stop is None
            if step in (None, 1) and (last or (start is not None and stop == start + 1 != 0)):
                y = self._of_steps(x, k, start)
                return y.having(*y.axes[:k], 1, *y.axes[k:])
            part = Slice(item.start, item.stop, item.step)
            y = self.moved(x, part)
            return replace(y, axes=x.axes)
        axes = without(x.axes, k)
        if x.steps is not None and not -x.steps <= item < x.steps:
            raise ModelFormatError(f"{self.layer}: there is no step {item} of {x.steps}")
        if item == -1:
            return Tensor(self.emit(Read(self.final(x)), x.value), False, x.size, axes)
        y = self.moved(x, Slice(item, item + 1))
        return Tensor(self.emit(Read("last"), y.value), False, x.size, axes)

    def final(self, x: Tensor) -> str:
        """Return how the last step is read; of a forward layer, it is the state."""
        if x.loose:
            self.needs_every_step()
        k = x.value
        while k >= 0 and isinstance(self.parts[k], Pointwise):
            k -= 1
        top = self.parts[k] if k >= 0 else None
        return "final" if isinstance(top, Layer) and top.direction == "forward" else "last"

    # --- the end ------------------------------------------------------------------------------

    def network(self, output: Tensor) -> Network:
        """The network that gives a tensor."""
        places = [i for i, k in enumerate(self.parts) if isinstance(k, Layer | Bidirectional)]
        if not places:
            raise UnsupportedModelError("the model has no LSTM")
        output = self._output(output)
        every = output.every
        if every:
            at = places[-1] + 1
            chain = output.value == len(self.parts) - 1
            if chain and all(isinstance(k, Pointwise) for k in self.parts[at:]):
                last = Read(self.final(output))
                self._made = {k + (k >= at) for k in self._made}
                self.parts.insert(at, last)
            else:
                self.emit(Read(self.final(output)), output.value)
        elif output.value != len(self.parts) - 1:
            self.parts.append(From(output.value))
        self._settle_mask()
        parts = self._of_one_dtype()
        return Network(tuple(parts), return_sequences=every)

    def _output(self, x: Tensor) -> Tensor:
        """The model's output as a vector or a sequence of the same shape."""
        self.layer = "the model's output"
        return self.flat(x) if x.rank == 1 else self.sequence(x)

    def _settle_mask(self) -> None:
        """Drop a mask that no layer uses, and refuse one that some use and others must not."""
        if self._mask is None:
            return
        kind, value = self._mask
        if self._mask_readers:
            if self._step_readers:
                raise UnsupportedModelError(
                    f"{self._mask_readers[0]} leaves out the steps that the {kind} layer masks, "
                    f"and {self._step_readers[0]} needs them in Keras, too: that is not computed"
                )
            return
        first = self.parts[0]
        if isinstance(first, Embedding):
            self.parts[0] = replace(first, padding_id=None)
        elif value == 0:  # Keras writes zeros there, which they are
            self.parts = [_moved(k) for k in self.parts[1:]]
            self._made = {k - 1 for k in self._made}
        else:
            raise UnsupportedModelError(
                f"{kind} writes zeros to the steps whose inputs are all {value:g}, and no layer "
                "leaves them out; that is not computed: write zeros into the inputs there, and "
                "build the model without this layer"
            )

    def _of_one_dtype(self) -> list[Part]:
        found = {
            str(k.dtype)
            for i, k in enumerate(self.parts)
            if hasattr(k, "dtype") and i not in self._made
        }
        if len(found) > 1:
            raise UnsupportedModelError(f"layers of different dtypes, {sorted(found)}")
        (dtype,) = found
        return [
            part.astype(dtype) if i in self._made else part for i, part in enumerate(self.parts)
        ]


def _moved(part: Part) -> Part:
    """A part of a network without its first part."""
    if isinstance(part, From):
        return From(max(part.value - 1, -1))
    if isinstance(part, Join):
        return Join(part.how, tuple(max(k - 1, -1) for k in part.values))
    return part
