"""The recurrent layers of a network: their weights and options. Nothing here computes.

Gates are always in the order ``i f g o``: input, forget, candidate cell, output.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError
from fastlstm.lazy import lazy
from fastlstm.network.activations import STANDARD, Activation, as_activations
from fastlstm.network.weights import Weights, as_floats, freeze, immutable, require_finite
from fastlstm.tutorial import check_params

__all__ = ["DIRECTIONS", "MERGES", "Bidirectional", "Layer"]

Array = npt.NDArray[Any]

DIRECTIONS: Final = ("forward", "reverse", "go_backwards")
MERGES: Final = ("concat", "sum", "mul", "ave")


@dataclass(frozen=True, eq=False, repr=False)
class Layer(Weights):
    """One LSTM layer of one direction: I inputs, H hidden units, R outputs (H or P).

        z        =  W_ih x_t + W_hh h_{t-1} + b
        i, f     =  gate(z_i + p_i c_{t-1}), gate(z_f + p_f c_{t-1})      coupled: f = 1 - i
        c_t      =  f c_{t-1} + i candidate(z_g)
        o        =  gate(z_o + p_o c_t)
        h_t      =  W_hr (o cell_output(c_t))

    The arrays are copied and cannot be written to. Layers with equal content are equal and have
    equal hashes.

    Parameters
    ----------
    w_ih : array (4H, I), float32 or float64
        Weights of the inputs, gates in the order ``i f g o``.
    w_hh : array (4H, R), same dtype
        Weights of the hidden state.
    b_ih, b_hh : array (4H,), same dtype, optional
        Biases. The cell adds their sum, `bias`.
    w_hr : array (P, H), same dtype, optional
        A projection (torch's ``proj_size``): h then has P numbers.
    peepholes : array (3, H), same dtype, optional
        Weights p of the cell state in the gates ``i f o``.
    h_0, c_0 : array (R,), (H,), same dtype, optional
        The learned state, from which a call starts unless it gives one; zeros if left out.
    activations : sequence of three activations
        Those of the gates i f o, of the candidate, and of the cell's output, each as a name, an
        `Activation` or ``(name, alpha, beta)``.
    coupled : bool
        The forget gate is ``1 - i``; its own weights are not used (ONNX's ``input_forget``).
    clip : float, optional
        The sums of all gates and of the candidate, peepholes included, are limited to
        ``-clip ... clip`` before activation. This is ONNX's ``clip`` as ONNX Runtime computes it;
        the cell state, also as it enters the activation of the output, is not clipped.
    direction : {"forward", "reverse", "go_backwards"}
        ``"reverse"`` reads each sequence from its last real step to its first, and its output
        stands at the step that it has just read. ``"go_backwards"`` does the same with its
        outputs in the order of reading, as in Keras.

    Raises
    ------
    TypeError
        If an array is neither float32 nor float64.
    ValueError
        If shapes or dtypes do not fit together, a weight is NaN or infinite, or an option has
        another value than those above.
    UnsupportedModelError
        If there is no such activation.

    Examples
    --------
    >>> layer = Layer(np.zeros((32, 2)), np.zeros((32, 8)), np.zeros(32))
    >>> layer.input_size, layer.hidden_size
    (2, 8)
    """

    takes: ClassVar = "sequence"
    gives: ClassVar = "sequence"

    w_ih: Array  # (4H, I) gates i f g o
    w_hh: Array  # (4H, R)
    b_ih: Array | None = None  # (4H,)
    b_hh: Array | None = None  # (4H,)
    _: KW_ONLY
    w_hr: Array | None = None  # (P, H)
    peepholes: Array | None = None  # (3, H) gates i f o
    h_0: Array | None = None  # (R,)
    c_0: Array | None = None  # (H,)
    activations: tuple[Activation, Activation, Activation] = STANDARD
    coupled: bool = False
    clip: float | None = None
    direction: str = "forward"

    def __post_init__(self) -> None:
        w_ih, w_hh = as_floats("w_ih", self.w_ih), as_floats("w_hh", self.w_hh)
        units = w_hh.shape[-1] if w_hh.ndim else 0
        arrays = {"w_ih": w_ih, "w_hh": w_hh}
        if self.w_hr is not None:
            arrays["w_hr"] = w_hr = as_floats("w_hr", self.w_hr)
            if w_hr.ndim != 2 or w_hr.size == 0 or w_hr.shape[0] != units:
                raise ValueError(
                    f"w_hr: expected shape ({units}, H) for the {units} projected outputs that "
                    f"w_hh reads, got {w_hr.shape}"
                )
            units = w_hr.shape[1]
        if w_hh.ndim != 2 or w_hh.shape[0] != 4 * units or w_hh.size == 0:
            raise ValueError(
                "w_hh: expected shape (4H, H) for H >= 1 hidden units, gates i f g o, "
                f"got {w_hh.shape}"
                + ("" if self.w_hr is None else f" and a projection of {units} hidden units")
            )
        rows, outputs = w_hh.shape
        if w_ih.ndim != 2 or w_ih.shape[0] != rows or w_ih.size == 0:
            raise ValueError(
                f"w_ih: expected shape ({rows}, I) for {units} hidden units and I >= 1 inputs, "
                f"got {w_ih.shape}"
            )
        shapes: dict[str, tuple[int, ...]] = {
            "b_ih": (rows,),
            "b_hh": (rows,),
            "peepholes": (3, units),
            "h_0": (outputs,),
            "c_0": (units,),
        }
        for name, shape in shapes.items():
            if (array := getattr(self, name)) is not None:
                arrays[name] = as_floats(name, array)
                if arrays[name].shape != shape:
                    raise ValueError(
                        f"{name}: expected shape {shape} for {units} hidden units, "
                        f"got {arrays[name].shape}"
                    )
        freeze(self, arrays)
        require_finite("b_ih + b_hh", self.bias)
        self._check_options()

    def _check_options(self) -> None:
        if self.direction not in DIRECTIONS:
            raise ValueError(f"direction: expected one of {DIRECTIONS}, got {self.direction!r}")
        if self.clip is not None and not (math.isfinite(self.clip) and self.clip > 0):
            raise ValueError(f"clip: expected a number above 0 or None, got {self.clip!r}")
        options = {
            "activations": as_activations(self.activations),
            "coupled": bool(self.coupled),
            "clip": None if self.clip is None else float(self.clip),
        }
        for name, value in options.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_gates(cls, params: Mapping[str, Sequence[float]]) -> Layer:
        """Return the tutorial's cell as a float64 layer with one input and one hidden unit.

        Parameters
        ----------
        params : mapping
            ``(w_x, w_h, b)`` for ``"forget"``, ``"input"``, ``"cell"`` and ``"output"``.
        """
        gates = check_params(params)
        i_f_g_o = [gates[name] for name in ("input", "forget", "cell", "output")]
        w_x, w_h, b = np.array(i_f_g_o, dtype=np.float64).T
        return cls(w_x[:, None], w_h[:, None], b)

    @property
    def input_size(self) -> int:
        """I, the number of inputs."""
        return int(self.w_ih.shape[1])

    @property
    def hidden_size(self) -> int:
        """H, the number of hidden units, which is the size of the cell state."""
        return int(self.w_hh.shape[0]) // 4

    @property
    def output_size(self) -> int:
        """R, the size of h: P with a projection, otherwise H."""
        return int(self.w_hh.shape[1])

    @property
    def cells(self) -> tuple[Layer]:
        """The directions of the layer: itself alone. A `Bidirectional` has two."""
        return (self,)

    @property
    def dtype(self) -> np.dtype[Any]:
        """``float32`` or ``float64``."""
        return self.w_ih.dtype

    @lazy
    def bias(self) -> Array:
        """``b_ih + b_hh`` ``(4H,)``, rounded once; zeros if there are none."""
        total = np.zeros(len(self.w_hh), self.dtype)
        with np.errstate(over="ignore"):  # an overflow is refused by the constructor
            for part in (self.b_ih, self.b_hh):
                if part is not None:
                    total += part
        return immutable(total)

    def __repr__(self) -> str:
        named = ("b_ih", "b_hh", "w_hr", "peepholes", "h_0", "c_0")
        options = [name for name in named if getattr(self, name) is not None]
        if self.activations != STANDARD:
            options.append("/".join(map(str, self.activations)))
        options += ["coupled"] * self.coupled
        options += [] if self.clip is None else [f"clip {self.clip:g}"]
        options += [] if self.direction == "forward" else [self.direction]
        sizes = f"{self.input_size} -> {self.output_size}"
        return f"Layer({', '.join([sizes, *options, str(self.dtype)])})"


@dataclass(frozen=True, eq=False, repr=False)
class Bidirectional(Weights):
    """Two layers that read the same sequences, one from each end.

    Parameters
    ----------
    forward, backward : Layer
        Layers of direction ``"forward"`` and ``"reverse"``, with the same sizes and dtype.
    merge : {"concat", "sum", "mul", "ave"}
        How their outputs become one: forward first and backward behind it, or their sum, product
        or average.

    Raises
    ------
    TypeError
        If one of them is not a `Layer`.
    ValueError
        If directions, sizes or dtypes do not fit, or `merge` has another value.
    UnsupportedModelError
        If `merge` is None, which means two separate outputs.

    Examples
    --------
    >>> forward = Layer(np.zeros((32, 2)), np.zeros((32, 8)))
    >>> backward = Layer(np.zeros((32, 2)), np.zeros((32, 8)), direction="reverse")
    >>> Bidirectional(forward, backward).output_size
    16
    """

    takes: ClassVar = "sequence"
    gives: ClassVar = "sequence"

    forward: Layer
    backward: Layer
    merge: str = "concat"

    def __post_init__(self) -> None:
        forward, backward = self.forward, self.backward
        if not isinstance(forward, Layer) or not isinstance(backward, Layer):
            raise TypeError(
                f"expected two layers, got {type(forward).__name__} and {type(backward).__name__}"
            )
        if (forward.direction, backward.direction) != ("forward", "reverse"):
            raise ValueError(
                "expected layers of directions 'forward' and 'reverse', "
                f"got {forward.direction!r} and {backward.direction!r}"
            )
        of_both = [(k.input_size, k.hidden_size, k.output_size, k.dtype) for k in self.cells]
        if of_both[0] != of_both[1]:
            raise ValueError(
                "expected both directions to have the same inputs, hidden units, outputs and "
                f"dtype, got {forward} and {backward}"
            )
        if self.merge is None:
            raise UnsupportedModelError("merge=None, two separate outputs, is not computed")
        if self.merge not in MERGES:
            raise ValueError(f"merge: expected one of {MERGES}, got {self.merge!r}")

    @property
    def cells(self) -> tuple[Layer, Layer]:
        """Both directions, forward first."""
        return self.forward, self.backward

    @property
    def input_size(self) -> int:
        """I, the number of inputs."""
        return self.forward.input_size

    @property
    def hidden_size(self) -> int:
        """H, the number of hidden units of each direction."""
        return self.forward.hidden_size

    @property
    def output_size(self) -> int:
        """The size of an output: that of both directions together if they are concatenated."""
        return self.forward.output_size * (2 if self.merge == "concat" else 1)

    @property
    def dtype(self) -> np.dtype[Any]:
        """``float32`` or ``float64``."""
        return self.forward.dtype

    def __repr__(self) -> str:
        return f"Bidirectional({self.forward}, {self.backward}, {self.merge})"
