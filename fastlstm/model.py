"""The network that users hold: `LSTM`."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastlstm.calls.dask_array import is_lazy, predict_blocks, refuse_lazy
from fastlstm.calls.ids import as_ids
from fastlstm.calls.masks import MaskedSource
from fastlstm.calls.sources import Source, as_source
from fastlstm.calls.state import StateSizes, flat_state, learned_state
from fastlstm.calls.trace import Trace
from fastlstm.engine.run.outputs import Outputs
from fastlstm.lazy import lazy
from fastlstm.messages import Message, Option
from fastlstm.network.dense import Dense, Embedding, as_head
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.network import (
    AnyLayer,
    as_flag,
    check_layers,
    check_masked_outputs,
    check_options,
)
from fastlstm.network.state import State

if TYPE_CHECKING:
    from fastlstm.engine.run.engine import Engine

__all__ = ["LSTM"]

Array = npt.NDArray[Any]


class LSTM:
    """Recurrent layers, with what stands before and behind them.

    Immutable: equal weights mean equal models with equal hashes. Pickling carries the weights
    only; a copy compiles (or loads from the disk cache) what it needs by itself.

    A row's numbers do not depend on the rows beside it, their order, the number of threads, the
    form of the input (padded or ragged, whole or in pieces, any strides) or the CPU.

    Parameters
    ----------
    layers : sequence of Layer, Bidirectional, Dense and Embedding
        Applied at every step, one after the other: an embedding, if any, comes first; a dense
        layer may stand anywhere. At least one is recurrent; all are of one dtype.
    head : Dense, number, (weight, bias) or sequence of Dense, optional
        Applied to what is `read`. A number is the weight of a single unit.
    return_sequences : bool
        Whether `predict` gives the outputs of every step when a call does not say.
    read : str
        What the head of a single step reads: ``"final"``, the last hidden states of all
        directions; ``"last"``, the outputs at the last real step, where a reverse direction has
        just begun; ``"max"`` or ``"mean"`` of the outputs over all real steps.
    mask_value : float, optional
        A step whose inputs all have this value is masked: it changes no state. A layer repeats
        its last output there, or gives zeros if it has two directions (Keras' ``Masking``).
    skip : int
        So many inputs are added to the outputs of the head (a skip connection).

    Attributes
    ----------
    unused : tuple of str
        The weights of a foreign file or module that the network leaves out, by a `prefix` or
        `ignore`; they are no part of its identity and are not saved.

    Raises
    ------
    TypeError
        If `layers` are not layers, or `head` is none of the above.
    ValueError
        If sizes or dtypes do not fit together, or an option is none of the above.
    UnsupportedModelError
        If the options are not computed together.

    Examples
    --------
    >>> model = LSTM.from_gates(TUTORIAL_PARAMS, head=4.0)  # doctest: +SKIP
    >>> model.predict([1, 2, 3])  # doctest: +SKIP
    array([[3.48271114]])
    """

    layers: tuple[AnyLayer, ...]
    head: tuple[Dense, ...]
    return_sequences: bool
    read: str
    mask_value: float | None
    skip: int
    unused: tuple[str, ...] = ()

    def __init__(
        self,
        layers: Sequence[AnyLayer],
        head: Any = None,
        return_sequences: bool = False,
        *,
        read: str = "final",
        mask_value: float | None = None,
        skip: int = 0,
    ) -> None:
        if isinstance(layers, AnyLayer):
            raise TypeError(
                f"expected a sequence of layers, got a {type(layers).__name__}: put it in a list"
            )
        stack = tuple(layers)
        check_layers(stack)
        top = stack[-1]
        values: dict[str, Any] = {
            "layers": stack,
            "head": as_head(head, top.output_size, top.dtype),
            "return_sequences": as_flag("return_sequences", return_sequences),
            "read": read,
            "mask_value": None if mask_value is None else _as_float("mask_value", mask_value),
            "skip": _as_integer("skip", skip),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        check_options(self)

    @classmethod
    def from_gates(cls, params: Mapping[str, Sequence[float]], head: Any = None) -> LSTM:
        """The scalar cell of the tutorial as a float64 model: one input, one hidden unit.

        Parameters
        ----------
        params : mapping
            ``(w_x, w_h, b)`` for ``"forget"``, ``"input"``, ``"cell"`` and ``"output"``.
        head : number or (weight, bias), optional
            ``4.0`` is the tutorial's ``y = 4 * h``.
        """
        return cls([Layer.from_gates(params)], head=head)

    # --- what it is -------------------------------------------------------------------------

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype it computes in, ``float32`` or ``float64``."""
        return self.layers[0].dtype

    @lazy
    def recurrent(self) -> tuple[Layer | Bidirectional, ...]:
        """The recurrent layers."""
        return tuple(k for k in self.layers if isinstance(k, Layer | Bidirectional))

    @lazy
    def masks(self) -> bool:
        """Whether some steps are masked by their inputs."""
        first = self.layers[0]
        return self.mask_value is not None or (
            isinstance(first, Embedding) and first.padding_id is not None
        )

    @property
    def num_layers(self) -> int:
        """L, the number of recurrent layers."""
        return len(self.recurrent)

    @property
    def input_size(self) -> int:
        """I, the inputs of the first layer; 1 for an embedding, whose inputs are ids."""
        return self.layers[0].input_size

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """What inputs are converted to: the model's dtype, or ``int64`` for ids."""
        return np.dtype(np.int64) if isinstance(self.layers[0], Embedding) else self.dtype

    @property
    def hidden_size(self) -> int:
        """H, the hidden units of the last recurrent layer (of each direction)."""
        return self.recurrent[-1].hidden_size

    @property
    def output_size(self) -> int:
        """The numbers that `predict` gives for a sequence: the head's, or the last layer's."""
        return (*self.layers, *self.head)[-1].output_size

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of the constructor behind `layers` and `head`, by name."""
        names = ("return_sequences", "read", "mask_value", "skip")
        return {name: getattr(self, name) for name in names}

    def astype(self, dtype: npt.DTypeLike) -> LSTM:
        """Return the model with its weights rounded to another dtype, and computing in it.

        Parameters
        ----------
        dtype : dtype
            ``float32`` or ``float64``.
        """
        if np.dtype(dtype) == self.dtype:
            return self
        layers = [layer.astype(dtype) for layer in self.layers]
        head = [dense.astype(dtype) for dense in self.head]
        return type(self)(layers, head, **self.options)._leaving_out(self.unused)

    def _leaving_out(self, names: Sequence[str]) -> LSTM:
        """Note which weights of a file the network leaves out, as `unused`; for readers."""
        object.__setattr__(self, "unused", tuple(names))
        return self

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model to a ``.safetensors``, ``.npz`` or ``.json`` file and return its path.

        ``fastlstm.load`` gives back a model that computes the same bits.
        """
        from fastlstm.formats import native

        return native.save(self, path)

    # --- what it does -----------------------------------------------------------------------

    def __call__(
        self, x: Any, state: Any = None, lengths: Any = None, threads: int | None = None
    ) -> tuple[Array, State]:
        """Return the last layer's outputs at every step, and the state of all layers.

        Parameters
        ----------
        x : array (N, T, I), list of arrays (T, I), or Ragged
            The sequences; (N, T) or (T,) if I is 1, (T, I) for one sequence. Any real dtype,
            byte order and strides. For an embedding integer ids, (N, T).
        state : State, list of (h, c), or (h_n, c_n), optional
            The state before the first step: what an earlier call returned, or torch's pair
            (L * D, N, H). The learned state, or zeros, if left out.
        lengths : array (N,) of int, optional
            The real steps of each row of a padded array.
        threads : int, optional
            At most so many; by default what the process may use.

        Returns
        -------
        output : array (N, T, D * H)
            Zero past each length.
        state : State
            Per recurrent layer (h, c), each (D, N, H), after the last step that it reads of
            each sequence.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit the model; the message says what was expected.
        UnsupportedModelError
            If steps are masked and the last layer alone reads from the end: its outputs at every
            step have no one meaning.
        """
        check_masked_outputs(self)
        source, start, threads = self._checked(x, lengths, state, threads)
        n_rows = source.n_rows
        end = self._new_end(n_rows)
        output = self._new_sequence(source, (n_rows, source.n_steps, self.layers[-1].output_size))
        self._network_engine.run(source, start, Outputs(sequence=output, end=end), threads)
        if isinstance(source, MaskedSource):
            source.spread(output, self._network_engine.blank(), self._repeats)
        return output, self._as_state(end, n_rows)

    def predict(
        self,
        x: Any,
        lengths: Any = None,
        state: Any = None,
        return_sequences: bool | None = None,
        threads: int | None = None,
        out: Array | None = None,
        progress: bool = False,
    ) -> Array:
        """Return the head on the last hidden state of each sequence, or at every step.

        What the head of a single step reads is the model's `read`: ``"final"`` is the last
        hidden state, of both directions if there are two (torch's ``h_n`` of the last layer).

        Parameters
        ----------
        x, lengths, state, threads
            As in a call of the model. A Dask array gives a lazy Dask array, see below.
        return_sequences : bool, optional
            Give the outputs of every step; by default as the model says.
        out : array, optional
            Where to write, of the result's shape and the model's dtype.
        progress : bool
            Draw a progress bar on stderr (needs tqdm).

        Returns
        -------
        array (N, outputs), or (N, T, outputs) with `return_sequences`
            Without a head the last layer's outputs. Zero past each length. It is `out` if that
            was given.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit the model; the message says what was expected.
        ImportError
            If a progress bar is wanted and tqdm is not installed.

        Notes
        -----
        Of a Dask array (N, T, I), or (N, T), every block of rows is a task; blocks along the
        other axes are joined in it. Nothing is compiled until then. `lengths` may be a Dask
        array too; `state`, `out` and `progress` are refused. Each task has one thread, or
        `threads`.
        """
        every = self._gives_every_step(return_sequences)
        if is_lazy(x):
            blocks: Array = predict_blocks(self, x, lengths, state, every, threads, out, progress)
            return blocks
        source, start, threads = self._checked(x, lengths, state, threads)
        steps = (source.n_steps,) if every else ()
        shape = (source.n_rows, *steps, self.output_size)
        result = self._checked_out(out, shape, source)
        if result is None:
            result = self._new_sequence(source, shape) if every else np.empty(shape, self.dtype)
        elif every and source.lengths is not None:
            result[...] = 0
        outputs = Outputs(sequence=result) if every else Outputs(last=result)
        self._engine.run(source, start, outputs, threads, progress)
        if isinstance(source, MaskedSource):
            blank = self._engine.blank()
            if every:
                source.spread(result, blank, self._repeats)
            elif self.read == "last":
                source.blank_ends(result, blank, self._repeats)
        if out is None:
            return result
        if result.base is not out:
            out[...] = result
        return out

    def trace(
        self,
        x: Any,
        lengths: Any = None,
        state: Any = None,
        layer: int = -1,
        threads: int | None = None,
    ) -> Trace:
        """Return all gates and states of one layer at every step, from the same kernel.

        Parameters
        ----------
        x, lengths, state, threads
            As in a call of the model.
        layer : int
            Which layer; -1 is the last.

        Returns
        -------
        Trace
            Six arrays (N, T, H), after activation, zero past each length.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit the model; the message says what was expected.
        """
        index = _as_integer("layer", layer)
        if not -self.num_layers <= index < self.num_layers:
            raise ValueError(
                Message(
                    "expected ",
                    Option("layer"),
                    f" within {-self.num_layers} ... {self.num_layers - 1}, got {layer}",
                )
            )
        index %= self.num_layers
        source, start, threads = self._checked(x, lengths, state, threads)
        cells = self.recurrent[index].cells  # both directions side by side
        if start is not None:  # the state of the layers that are run
            sizes = self._state_sizes[: index + 1]
            n_h = source.n_rows * sum(d * h for d, h, _ in sizes)
            n_c = source.n_rows * sum(d * c for d, _, c in sizes)
            start = start[0][:n_h], start[1][:n_c]
        shape = source.n_rows, source.n_steps
        units, width = sum(k.hidden_size for k in cells), sum(k.output_size for k in cells)
        gates = self._new_sequence(source, (5, *shape, units))
        i, f, g, o, c = gates
        h = self._new_sequence(source, (*shape, width))
        outputs = Outputs(sequence=h, gates=gates)
        self._engine_up_to(index).run(source, start, outputs, threads)
        lengths = source.lengths
        if isinstance(source, MaskedSource):
            lengths = source.source.lengths
            for values in (i, f, g, o, c, h):
                source.spread(values, np.zeros(1, self.dtype), False)
        return Trace(f, i, g, c, o, h, lengths)

    # --- inside -----------------------------------------------------------------------------

    @lazy
    def _engine(self) -> Engine:
        """The engine of the network and its head."""
        return _new_engine(self.layers, self.head, self.read, self.skip)

    @lazy
    def _network_engine(self) -> Engine:
        """The engine without the head."""
        return _new_engine(self.layers) if self.head or self.skip else self._engine

    def _engine_up_to(self, index: int) -> Engine:
        """The engine of the layers up to a recurrent one, its directions side by side."""
        if index not in self._engines:
            traced = self.recurrent[index]
            merges = isinstance(traced, Bidirectional) and traced.merge != "concat"
            if traced is self.layers[-1] and not merges:
                return self._network_engine
            if isinstance(traced, Bidirectional):
                traced = Bidirectional(traced.forward, traced.backward)
            places = [i for i, k in enumerate(self.layers) if isinstance(k, Layer | Bidirectional)]
            engine = _new_engine((*self.layers[: places[index]], traced))
            self._engines.setdefault(index, engine)
        return self._engines[index]

    @lazy
    def _engines(self) -> dict[int, Engine]:
        return {}

    @lazy
    def _cells(self) -> tuple[Layer, ...]:
        """All directions of all recurrent layers."""
        return tuple(cell for layer in self.recurrent for cell in layer.cells)

    @lazy
    def _state_sizes(self) -> list[StateSizes]:
        return [
            StateSizes(len(k.cells), k.cells[0].output_size, k.hidden_size) for k in self.recurrent
        ]

    @property
    def _repeats(self) -> bool:
        """Whether the last layer repeats its outputs where steps are masked."""
        return not isinstance(self.recurrent[-1], Bidirectional)

    def _gives_every_step(self, return_sequences: bool | None) -> bool:
        every = self.return_sequences
        if return_sequences is not None:
            if not isinstance(return_sequences, bool | np.bool_):
                raise TypeError(
                    "expected return_sequences to be True, False or None, "
                    f"got {type(return_sequences).__name__}"
                )
            every = bool(return_sequences)
        if every:
            check_masked_outputs(self)
        return every

    def _scores_and_state(self, x: Any, lengths: Any, threads: int | None) -> tuple[Array, State]:
        """What `predict` gives for a sequence, and a call's state, of one run.

        Not for what is read at the last step: of a direction that has just begun there, no more
        than that step is walked.
        """
        assert self.read != "last"
        source, start, threads = self._checked(x, lengths, None, threads)
        end = self._new_end(source.n_rows)
        scores = np.empty((source.n_rows, self.output_size), self.dtype)
        self._engine.run(source, start, Outputs(last=scores, end=end), threads)
        return scores, self._as_state(end, source.n_rows)

    def _new_end(self, n_rows: int) -> tuple[Array, Array]:
        sizes = self._state_sizes
        h, c = sum(d * h for d, h, _ in sizes), sum(d * c for d, _, c in sizes)
        return np.empty(n_rows * h, self.dtype), np.empty(n_rows * c, self.dtype)

    def _as_state(self, end: tuple[Array, Array], n_rows: int) -> State:
        """The final states, flat as the engine writes them, by layer."""
        layers = []
        at_h = at_c = 0
        for d, h, c in self._state_sizes:
            to_h, to_c = at_h + d * n_rows * h, at_c + d * n_rows * c
            pair = end[0][at_h:to_h].reshape(d, n_rows, h), end[1][at_c:to_c].reshape(d, n_rows, c)
            layers.append(pair)
            at_h, at_c = to_h, to_c
        return State(layers)

    def _checked(
        self, x: Any, lengths: Any, state: Any, threads: int | None
    ) -> tuple[Source, tuple[Array, Array] | None, int | None]:
        refuse_lazy(x)
        first = self.layers[0]
        n_hidden = self.recurrent[0].hidden_size
        source: Source
        if isinstance(first, Embedding):
            source = as_ids(x, lengths, first.ids, n_hidden)
            masked: float | None = first.padding_id
        else:
            source = as_source(x, lengths, self.input_size, n_hidden)
            masked = self.mask_value
        if masked is not None:
            source = MaskedSource(source, masked, self.input_size, self.input_dtype)
        if state is None:
            start = learned_state(self._cells, source.n_rows, self.dtype)
        else:
            start = flat_state(state, self._state_sizes, source.n_rows, self.dtype)
        if threads is not None:
            threads = _as_integer("threads", threads)
            if threads < 1:
                raise ValueError(f"expected at least one thread, got {threads}")
        return source, start, threads

    def _new_sequence(self, source: Source, shape: tuple[int, ...]) -> Array:
        # zeros are memory that was never touched: it costs nothing where lengths leave it so
        return (np.empty if source.lengths is None else np.zeros)(shape, self.dtype)

    def _checked_out(
        self, out: Array | None, shape: tuple[int, ...], source: Source
    ) -> Array | None:
        """Return where to compute to: `out`, or None if that cannot be written in place."""
        if out is None:
            return None
        if not isinstance(out, np.ndarray):
            raise TypeError(f"expected out to be an array, got {type(out).__name__}")
        if out.shape != shape or out.dtype != self.dtype:
            raise ValueError(
                f"expected out of shape {shape} and dtype {self.dtype}, "
                f"got {out.shape} and {out.dtype}"
            )
        if not out.flags.writeable:
            raise ValueError("expected out to be writeable, got a read-only array")
        direct = out.flags.c_contiguous and out.flags.aligned and not source.overlaps(out)
        return out.view(np.ndarray) if direct else None

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"an LSTM is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an LSTM is immutable: cannot delete {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.layers, self.head, self.options)

    def __dask_tokenize__(self) -> str:
        parts = *self.layers, *self.head
        kinds = [(type(part).__name__, part.digest.hex()) for part in parts]
        return repr((type(self).__qualname__, len(self.layers), kinds, self.options))

    def _identity(self) -> tuple[Any, ...]:
        return self.layers, self.head, tuple(self.options.items())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LSTM):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        sizes = " -> ".join(str(k.output_size) for k in self.layers)
        head = f", head={self.output_size}" if self.head else ""
        sequences = ", return_sequences=True" if self.return_sequences else ""
        read = "" if self.read == "final" else f", read={self.read}"
        return f"LSTM({self.input_size} -> {sizes}{head}{sequences}{read}, {self.dtype})"


def _new_engine(*network: Any) -> Engine:
    from fastlstm.engine.compiling import alone

    with alone():  # who is forked while a module is imported can never import it
        from fastlstm.engine.run.engine import Engine

    return Engine(*network)


def _rebuild(kind: type[LSTM], layers: Any, head: Any, options: dict[str, Any]) -> LSTM:
    return kind(layers, head, **options)


def _as_float(name: str, value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name}: expected a float64, got an integer beyond that") from None
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}") from None


def _as_integer(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"expected {name} to be an integer, got {type(value).__name__}") from None
