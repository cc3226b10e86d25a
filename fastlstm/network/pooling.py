"""Pooling over windows of steps. Pooling over all steps is a `Read`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fastlstm.network.weights import Weights
from fastlstm.network.windows import Padding, Window, as_count, as_padding

__all__ = ["Pool"]


Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class Pool(Weights):
    """The maximum or mean of each window of steps, of every number apart.

    Padding never wins a maximum. The steps of a mean are added in order, and the sum is divided by
    how many there are.

    Parameters
    ----------
    how : {"max", "mean"}
        What is computed.
    size : int
        The steps of a window.
    stride : int, optional
        How many steps lie between two windows; by default `size`.
    dilation : int
        How many steps lie between two steps of a window.
    padding : {"valid", "same", "causal"} or (before, after)
        As in `Conv`.
    ceil : bool
        Whether a last window that is not whole counts, if it begins within the sequence (torch's
        ``ceil_mode``).
    counts_padding : bool
        Whether the steps of a mean include those of the padding, but not those that only `ceil`
        adds (torch's ``count_include_pad``). If no step counts, the mean is 0, as in ONNX Runtime.

    Raises
    ------
    TypeError, ValueError
        If an option has another value.
    """

    takes: ClassVar = "sequence"
    gives: ClassVar = "sequence"

    how: str
    size: int
    stride: int | None = None
    _: KW_ONLY
    dilation: int = 1
    padding: Padding = "valid"
    ceil: bool = False
    counts_padding: bool = False

    def __post_init__(self) -> None:
        if self.how not in ("max", "mean"):
            raise ValueError(f"how: expected 'max' or 'mean', got {self.how!r}")
        stride = self.size if self.stride is None else self.stride
        for name, value in (("size", self.size), ("stride", stride), ("dilation", self.dilation)):
            object.__setattr__(self, name, as_count(name, value))
        object.__setattr__(self, "padding", as_padding(self.padding))
        for name in ("ceil", "counts_padding"):
            object.__setattr__(self, name, bool(getattr(self, name)))
        reach, padding = self.window.reach, self.padding
        if isinstance(padding, tuple) and max(padding) >= reach:
            raise ValueError(
                f"padding: expected less than the {reach} steps of a window, got {padding}: "
                "a window would have nothing but padding"
            )

    @property
    def window(self) -> Window:
        """Which steps an output reads."""
        stride = self.size if self.stride is None else self.stride
        return Window(self.size, stride, self.dilation, self.padding, self.ceil)

    def steps(self, steps: Integers) -> Integers:
        """Return how many outputs sequences of these steps have."""
        return self.window.steps(steps)

    def __repr__(self) -> str:
        padded = ", padding counts" if self.counts_padding else ""
        return f"Pool({self.how} of {self.window}{padded})"
