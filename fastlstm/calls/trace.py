"""`Trace`: all six values of every step, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlstm.tutorial import RECORD_KEYS

__all__ = ["Trace"]

Array = npt.NDArray[Any]

GATE: dict[str, Any] = {"linewidth": 1.2, "linestyle": "--"}
STATE: dict[str, Any] = {"linewidth": 2.2}
STYLES = (  # of a plot, in the order of the values; colours that the colour-blind tell apart
    GATE | {"color": "#0072b2"},
    GATE | {"color": "#e69f00"},
    GATE | {"color": "#009e73"},
    STATE | {"color": "#d55e00"},
    GATE | {"color": "#cc79a7"},
    STATE | {"color": "#222222"},
)
FEW_STEPS = 20  # up to this many are drawn with a dot each


@dataclass(frozen=True, eq=False, repr=False)
class Trace:
    """The gates and states of one layer at every step, after activation.

    Parameters
    ----------
    forget_gate, input_gate, candidate_cell, cell_state, output_gate, hidden_state : array
        Each ``(N, T, D * H)`` in the model's dtype, zero past each length. With a projection,
        `hidden_state` is ``(N, T, D * P)``.
    lengths : array (N,) of int, or None
        The number of real steps of each sequence; None if all have T.

    Examples
    --------
    >>> trace = model.trace(x)  # doctest: +SKIP
    >>> trace.forget_gate.shape  # 10 sequences, 48 steps, 32 units  # doctest: +SKIP
    (10, 48, 32)
    >>> trace.plot(sequence=0, unit=5)  # doctest: +SKIP
    """

    forget_gate: Array  # (N, T, D*H)
    input_gate: Array
    candidate_cell: Array
    cell_state: Array
    output_gate: Array
    hidden_state: Array
    lengths: Array | None = None  # (N,)

    @property
    def values(self) -> dict[str, Array]:
        """The six arrays under the tutorial's names, ``"Forget Gate"`` and so on."""
        arrays = (
            self.forget_gate,
            self.input_gate,
            self.candidate_cell,
            self.cell_state,
            self.output_gate,
            self.hidden_state,
        )
        return dict(zip(RECORD_KEYS, arrays, strict=True))

    def to_records(self) -> list[dict[str, float]]:
        """Return the tutorial's list of dicts, one for each step, of Python floats.

        Returns
        -------
        list of dict, length T
            With the keys ``"Forget Gate"``, ``"Input Gate"`` and so on.

        Raises
        ------
        ValueError
            Unless there is one sequence and one hidden unit.
        """
        sequences, _, units = self.hidden_state.shape
        if (sequences, units) != (1, 1):
            raise ValueError(
                "to_records: expected one sequence and one hidden unit, "
                f"got {sequences} and {units}: read the arrays of the trace instead"
            )
        columns = [array[0, : self._steps(0), 0].tolist() for array in self.values.values()]
        return [dict(zip(RECORD_KEYS, row, strict=True)) for row in zip(*columns, strict=True)]

    def plot(self, sequence: int = 0, unit: int = 0, ax: Any = None) -> Any:
        """Draw the six values of one unit over the real steps of one sequence.

        With a projection, only five: its hidden states do not belong to single units.

        Parameters
        ----------
        sequence, unit : int
            The numbers of the sequence and of the unit, among N and D * H.
        ax : matplotlib Axes, optional
            Where to draw; by default in a new figure.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        IndexError
            If there is no such sequence or unit.
        ImportError
            If matplotlib is not installed.
        """
        sequences, _, units = self.cell_state.shape
        for name, index, count in (("sequence", sequence, sequences), ("unit", unit, units)):
            if not -count <= index < count:
                raise IndexError(f"plot: expected a {name} in 0 ... {count - 1}, got {index}")
        beside: dict[str, Any] = {}  # in a new figure, the legend is beside the lines
        if ax is None:
            try:
                from matplotlib import pyplot
            except ImportError:
                raise ImportError(
                    'Trace.plot needs matplotlib: pip install "fastlstm[plot]"'
                ) from None
            ax = pyplot.subplots(figsize=(8, 4.5), layout="constrained")[1]
            beside = {"loc": "upper left", "bbox_to_anchor": (1, 1)}
        steps = self._steps(sequence)
        for (name, array), style in zip(self.values.items(), STYLES, strict=True):
            if array.shape == self.cell_state.shape:
                ax.plot(
                    np.arange(1, steps + 1),
                    array[sequence, :steps, unit],
                    label=name,
                    marker="." if steps <= FEW_STEPS else None,
                    **style,
                )
        ax.set_xlabel("step")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(alpha=0.3)
        ax.set_title(f"sequence {sequence}, unit {unit}")
        ax.legend(**beside)
        return ax

    def _steps(self, sequence: int) -> int:
        if self.lengths is None:
            return int(self.hidden_state.shape[1])
        return int(self.lengths[sequence])

    def __repr__(self) -> str:
        n, t, units = self.hidden_state.shape
        return f"Trace({n} sequences, {t} steps, {units} units, {self.hidden_state.dtype})"
