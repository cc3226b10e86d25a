"""Normalisation: by numbers that are known beforehand, and by those of each step."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fastlstm.network.weights import Weights, as_floats, freeze

__all__ = ["Affine", "LayerNorm"]

Array = npt.NDArray[Any]


def _vectors(weights: Weights, names: tuple[str, ...]) -> dict[str, Array]:
    """The arrays of a part, all of them (K,)."""
    arrays = {name: as_floats(name, getattr(weights, name)) for name in names}
    shape = arrays[names[0]].shape
    for name, array in arrays.items():
        if len(array.shape) != 1 or array.shape != shape or not array.size:
            raise ValueError(f"{name}: expected shape (K,) for K >= 1 numbers, got {array.shape}")
    return arrays


@dataclass(frozen=True, eq=False, repr=False)
class Affine(Weights):
    """Shift and scale each of K numbers: ``y = (x - center) * scale + shift``.

    Batch normalisation is ``center = mean``, ``scale = gamma / sqrt(variance + epsilon)`` and
    ``shift = beta`` (Ioffe and Szegedy, 2015).

    Parameters
    ----------
    center, scale, shift : array (K,), float32 or float64
        The numbers.

    Raises
    ------
    TypeError
        If an array is neither float32 nor float64.
    ValueError
        If their shapes or dtypes differ, or a number is NaN or infinite.
    """

    takes: ClassVar = "either"
    gives: ClassVar = "either"

    center: Array  # (K,)
    scale: Array  # (K,)
    shift: Array  # (K,)

    def __post_init__(self) -> None:
        freeze(self, _vectors(self, ("center", "scale", "shift")))

    @property
    def input_size(self) -> int:
        """K."""
        return int(self.scale.size)

    output_size = input_size

    @property
    def dtype(self) -> np.dtype[Any]:
        """``float32`` or ``float64``."""
        return self.scale.dtype

    def __repr__(self) -> str:
        return f"Affine({self.input_size}, {self.dtype})"


@dataclass(frozen=True, eq=False, repr=False)
class LayerNorm(Weights):
    """Normalise the K numbers of each step or vector by their mean and variance (Ba et al., 2016).

    ``y = (x - mean) / sqrt(variance + epsilon) * scale + shift``, where the variance is the mean of
    ``(x - mean) ** 2``.

    Parameters
    ----------
    scale, shift : array (K,), float32 or float64
        What the normalised numbers are multiplied by, and what is added.
    epsilon : float
        What is added to the variance.
    centered : bool
        Whether the mean is subtracted. If not, the variance is the mean of the squares (RMS norm,
        Zhang and Sennrich, 2019).

    Raises
    ------
    TypeError
        If an array is neither float32 nor float64.
    ValueError
        If their shapes or dtypes differ, a number is NaN or infinite, or `epsilon` is negative.
    """

    takes: ClassVar = "either"
    gives: ClassVar = "either"

    scale: Array  # (K,)
    shift: Array  # (K,)
    epsilon: float = 1e-5
    _: KW_ONLY
    centered: bool = True

    def __post_init__(self) -> None:
        freeze(self, _vectors(self, ("scale", "shift")))
        epsilon = float(self.epsilon)
        if not math.isfinite(epsilon) or epsilon < 0:
            raise ValueError(f"epsilon: expected a number of at least 0, got {epsilon!r}")
        object.__setattr__(self, "epsilon", epsilon)
        object.__setattr__(self, "centered", bool(self.centered))

    @property
    def input_size(self) -> int:
        """K."""
        return int(self.scale.size)

    output_size = input_size

    @property
    def dtype(self) -> np.dtype[Any]:
        """``float32`` or ``float64``."""
        return self.scale.dtype

    def __repr__(self) -> str:
        name = "LayerNorm" if self.centered else "RMSNorm"
        return f"{name}({self.input_size}, epsilon={self.epsilon:g}, {self.dtype})"
