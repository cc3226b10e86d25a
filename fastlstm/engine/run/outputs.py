"""Where the results of a call go."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy.typing as npt

Array = npt.NDArray[Any]


class Outputs(NamedTuple):
    """Arrays to fill, C-contiguous and of the engine's dtype; None for what is not wanted."""

    last: Array | None = None  # (N, outputs)
    sequence: Array | None = None  # (N, T, outputs)
    gates: Array | None = None  # i f g o c of the last layer, (5, N, T, H)
    end: tuple[Array, Array] | None = None  # h and c, flat, as `start.flat_state`
