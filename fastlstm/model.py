"""`LSTM`, the model that users hold: a network and the calls on it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastlstm.calls.call import (
    as_integer,
    check_call,
    check_out,
    is_lazy,
    new_array,
    output_steps,
)
from fastlstm.calls.dask_array import predict_blocks
from fastlstm.calls.masks import MaskedSource
from fastlstm.calls.state import new_state, of_first_layers
from fastlstm.calls.trace import Trace
from fastlstm.engine.run.source import Outputs
from fastlstm.formats import native
from fastlstm.lazy import lazy
from fastlstm.messages import Message, Option
from fastlstm.network.dense import Dense
from fastlstm.network.layers import Bidirectional, Layer
from fastlstm.network.network import AnyLayer, Network, Part
from fastlstm.network.state import State

if TYPE_CHECKING:
    from fastlstm.engine.run.engine import Engine

__all__ = ["LSTM", "warmup"]

Array = npt.NDArray[Any]


class LSTM:
    """An LSTM network and the calls on it.

    A model is immutable: models with equal weights and options are equal and have equal hashes. A
    pickle holds only the weights and options; a copy compiles its own kernels, or loads them from
    the disk cache.

    The result for a sequence does not depend on the sequences beside it, their order, the number of
    threads, the form of the input (padded or ragged, whole or in pieces, any strides) or the CPU.

    Parameters
    ----------
    layers : sequence of Layer, Bidirectional, Dense and Embedding
        Applied at every step, one after the other. An embedding can only be the first; dense
        layers may stand anywhere. At least one layer is recurrent, and all have the same dtype.
    head : Dense, number, (weight, bias) or sequence of Dense, optional
        Dense layers applied to the vector that `read` selects, or at every step with
        `return_sequences`. A number is the weight of a single unit.
    return_sequences : bool
        Whether `predict` returns the outputs of every step unless the call says otherwise.
    read : {"final", "last", "max", "mean", "sum"}
        The vector of a sequence that the head reads: ``"final"``, the last hidden states of all
        directions; ``"last"``, the outputs at the last real step, where a reverse direction has
        read only that step; ``"max"``, ``"mean"`` or ``"sum"`` of the outputs over all real steps.
    mask_value : float, optional
        A step whose inputs all have this value is masked (Keras' ``Masking``): it changes no
        state. The output of a layer there is that of the step before, or zeros if the layer has
        two directions.
    skip : int
        How many of the inputs are added to the outputs of the head (a skip connection).

    Attributes
    ----------
    network : Network
        The layers and options as a value.
    unused : tuple of str
        Names of the weights of the file or module that the network leaves out because of `prefix`
        or `ignore`. They are not saved, and two models that differ only in them are equal.

    Raises
    ------
    TypeError
        If `layers` are not layers, or `head` is not one of the above.
    ValueError
        If sizes or dtypes do not fit together, or an option has another value than those above.
    UnsupportedModelError
        If this version does not compute the combination of options.

    Examples
    --------
    >>> model = LSTM.from_gates(TUTORIAL_PARAMS, head=4.0)  # doctest: +SKIP
    >>> model.predict([1, 2, 3])  # doctest: +SKIP
    array([[3.48271114]])
    """

    network: Network
    unused: tuple[str, ...]

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
        network = Network.of(
            layers, head, return_sequences, read=read, mask_value=mask_value, skip=skip
        )
        self._hold(network)

    @classmethod
    def from_network(cls, network: Network, unused: Sequence[str] = ()) -> LSTM:
        """Return the model of a network.

        Parameters
        ----------
        network : Network
            The layers and options.
        unused : sequence of str
            Names of the weights of the network's file that it leaves out.

        Returns
        -------
        LSTM
        """
        model = cls.__new__(cls)
        model._hold(network, unused)
        return model

    def _hold(self, network: Network, unused: Sequence[str] = ()) -> None:
        object.__setattr__(self, "network", network)
        object.__setattr__(self, "unused", tuple(unused))

    @classmethod
    def from_gates(cls, params: Mapping[str, Sequence[float]], head: Any = None) -> LSTM:
        """Return the tutorial's scalar cell as a float64 model: one input, one hidden unit.

        Parameters
        ----------
        params : mapping
            ``(w_x, w_h, b)`` for each of ``"forget"``, ``"input"``, ``"cell"`` and ``"output"``.
        head : number or (weight, bias), optional
            ``4.0`` is the tutorial's ``y = 4 * h``.

        Returns
        -------
        LSTM

        Raises
        ------
        TypeError, ValueError
            If a gate is missing, unknown, or not three numbers, or the head does not fit.
        """
        return cls([Layer.from_gates(params)], head=head)

    # --- what it is -------------------------------------------------------------------------

    @property
    def layers(self) -> tuple[AnyLayer, ...]:
        """The layers, first to last."""
        return self.network.layers

    @property
    def head(self) -> tuple[Dense, ...]:
        """The dense layers of the head."""
        return self.network.head

    @property
    def return_sequences(self) -> bool:
        """Whether `predict` returns the outputs of every step unless the call says otherwise."""
        return self.network.return_sequences

    @property
    def read(self) -> str:
        """The vector of a sequence that the head reads: final, last, max, mean or sum."""
        return self.network.read

    @property
    def mask_value(self) -> float | None:
        """The value that all inputs of a masked step have; None if there is no mask."""
        return self.network.mask_value

    @property
    def skip(self) -> int:
        """How many inputs are added to the outputs."""
        return self.network.skip

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype that the model computes in, ``float32`` or ``float64``."""
        return self.network.dtype

    @property
    def recurrent(self) -> tuple[Layer | Bidirectional, ...]:
        """The recurrent layers."""
        return self.network.recurrent

    @property
    def masks(self) -> bool:
        """Whether steps can be masked by their inputs."""
        return self.network.masks

    @property
    def num_layers(self) -> int:
        """L, the number of recurrent layers."""
        return len(self.network.recurrent)

    @property
    def input_size(self) -> int:
        """I, the inputs of a step; 1 for an embedding, whose inputs are ids."""
        return self.network.input_size

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """The dtype that inputs are converted to: the model's, or ``int64`` for ids."""
        return self.network.input_dtype

    @property
    def hidden_size(self) -> int:
        """H, the hidden units of the last recurrent layer (of each direction)."""
        return self.network.hidden_size

    @property
    def output_size(self) -> int:
        """How many outputs `predict` returns for a sequence: the head's, or the last layer's."""
        return self.network.output_size

    @property
    def options(self) -> dict[str, Any]:
        """The constructor's arguments after `layers` and `head`, by name."""
        return self.network.options

    def astype(self, dtype: npt.DTypeLike) -> LSTM:
        """Return the model with its weights rounded to a dtype, which it then computes in.

        Parameters
        ----------
        dtype : dtype
            ``float32`` or ``float64``.

        Returns
        -------
        LSTM
            The model itself if it has this dtype.

        Raises
        ------
        TypeError
            If the dtype is neither of the two.
        ValueError
            If a weight is too large for the dtype.
        """
        network = self.network.astype(dtype)
        return self if network is self.network else self.from_network(network, self.unused)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model to a file, from which `fastlstm.load` makes an equal one.

        The file appears under its name when it is complete and on the disk.

        Parameters
        ----------
        path : path
            Ending in ``.safetensors``, ``.npz`` or ``.json``.

        Returns
        -------
        Path
            Where the file is.

        Raises
        ------
        ValueError
            If the path has another suffix.
        OSError
            If the file cannot be written there.
        ImportError
            If it is a ``.safetensors`` file and the package safetensors is not installed.
        """
        return native.save(self.network, path)

    # --- what it does -----------------------------------------------------------------------

    def __call__(
        self, x: Any, state: Any = None, lengths: Any = None, threads: int | None = None
    ) -> tuple[Array, State]:
        """Return the last layer's outputs at every step, and the state of all layers.

        Parameters
        ----------
        x : array (N, T, I), list of arrays (T, I), or Ragged
            The sequences; (N, T) or (T,) if I is 1, (T, I) for one sequence. Any real dtype, byte
            order and strides. For an embedding, integer ids (N, T).
        state : State, list of (h, c), or (h_n, c_n), optional
            The state before the first step: what an earlier call returned, a pair of arrays
            (D, N, H) for each layer, or torch's pair of arrays (L * D, N, H). If left out, the
            learned state, or zeros.
        lengths : array (N,) of int, optional
            How many steps of each row of a padded array are real; by default all T.
        threads : int, optional
            The most threads to use; by default as many as the process may use.

        Returns
        -------
        output : array (N, T, D * H)
            In the model's dtype; zero past each length.
        state : State
            For each recurrent layer (h, c), each (D, N, H), after the last step of each sequence
            that the layer reads.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit the model; the message says what was expected.
        UnsupportedModelError
            If steps are masked and the last layer reads backwards alone: frameworks do not agree
            on its outputs at every step.
        """
        network, engine = self.network, self._network_engine
        first = engine.network
        first.check_every_step()
        source, start, threads = check_call(network, x, lengths, state, threads, first)
        n_steps, _ = output_steps(first, source)
        shape = source.n_rows, n_steps, first.output_size
        output = new_array(shape, network.dtype, source)
        end = new_state(network.state_sizes, source.n_rows, network.dtype)
        engine.run(source, start, Outputs(sequence=output, end=end.flat), threads)
        if isinstance(source, MaskedSource):
            source.spread(output, engine.blank(), self._repeats)
        return output, end

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
        """Return the model's outputs: one vector for each sequence, or one at every step.

        For a sequence, the head reads what the model's `read` says: by default the last hidden
        state, of both directions if there are two (torch's ``h_n`` of the last layer).

        Parameters
        ----------
        x, lengths, state, threads
            As in a call of the model. For a Dask array the result is a lazy Dask array, see below.
        return_sequences : bool, optional
            Return the outputs of every step; by default as the model says.
        out : array, optional
            Where to write the result; it has the result's shape and the model's dtype.
        progress : bool
            Draw a progress bar on stderr (needs tqdm).

        Returns
        -------
        array (N, outputs), or (N, T, outputs) with `return_sequences`
            In the model's dtype; zero past each length. Without a head, the last layer's outputs.
            It is `out` if that was given.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit the model; the message says what was expected.
        UnsupportedModelError
            If the outputs of every step are wanted, steps are masked, and the last layer reads
            backwards alone.
        ImportError
            If a progress bar is wanted and tqdm is not installed.

        Notes
        -----
        A Dask array is (N, T, I), or (N, T). Each of its blocks of rows becomes a task, which joins
        blocks along the other axes. Nothing is compiled before a task runs. `lengths` may be a Dask
        array too; `state`, `out` and `progress` are refused. Each task uses one thread, or as many
        as `threads` says.

        Examples
        --------
        >>> model.predict(x).shape  # x (1000, 48, 7), a head of one output  # doctest: +SKIP
        (1000, 1)
        """
        every = self._gives_every_step(return_sequences)
        if type(x) is not np.ndarray and is_lazy(x):
            blocks: Array = predict_blocks(self, x, lengths, state, every, threads, out, progress)
            return blocks
        network, engine = self.network, self._engine
        source, start, threads = check_call(network, x, lengths, state, threads)
        shape: tuple[int, ...] = source.n_rows, network.output_size
        if every:
            n_steps, _ = output_steps(network, source)
            shape = source.n_rows, n_steps, network.output_size
        result = None if out is None else check_out(out, shape, network.dtype, source, start)
        if result is None:
            result = new_array(shape, network.dtype, source)
        elif every and source.lengths is not None:
            result[...] = 0
        outputs = Outputs(sequence=result) if every else Outputs(last=result)
        engine.run(source, start, outputs, threads, progress)
        if isinstance(source, MaskedSource) and (every or network.read == "last"):
            restore = source.spread if every else source.blank_ends
            restore(result, engine.blank(), self._repeats)
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
        """Return all gates and states of one recurrent layer at every step.

        The kernel that computes them is the one that scores, so the numbers have the same bits.

        Parameters
        ----------
        x, lengths, state, threads
            As in a call of the model.
        layer : int
            The number of the recurrent layer, from 0; -1 is the last.

        Returns
        -------
        Trace
            Six arrays (N, T, D * H) in the model's dtype, after activation; zero past each length.

        Raises
        ------
        TypeError, ValueError
            If an argument does not fit the model; the message says what was expected.
        """
        index = as_integer("layer", layer)
        if not -self.num_layers <= index < self.num_layers:
            raise ValueError(
                Message(
                    "expected ",
                    Option("layer"),
                    f" within {-self.num_layers} ... {self.num_layers - 1}, got {layer}",
                )
            )
        index %= self.num_layers
        engine = self._engine_up_to(index)
        source, start, threads = check_call(
            self.network, x, lengths, state, threads, engine.network
        )
        sizes = self.network.state_sizes[: index + 1]  # of the layers that are run
        start = of_first_layers(start, sizes, source.n_rows)
        cells = self.recurrent[index].cells  # both directions side by side
        units, width = sum(k.hidden_size for k in cells), sum(k.output_size for k in cells)
        n_steps, real = output_steps(engine.network, source)
        shape = source.n_rows, n_steps
        gates = new_array((5, *shape, units), self.dtype, source)
        i, f, g, o, c = gates
        h = new_array((*shape, width), self.dtype, source)
        outputs = Outputs(sequence=h, gates=gates)
        engine.run(source, start, outputs, threads)
        lengths = real
        if isinstance(source, MaskedSource):
            lengths = source.source.lengths
            for values in (i, f, g, o, c, h):
                source.spread(values, np.zeros(1, self.dtype), False)
        return Trace(f, i, g, c, o, h, lengths)

    # --- inside -----------------------------------------------------------------------------

    @lazy
    def _engine(self) -> Engine:
        """The engine of the network and its head."""
        return _new_engine(self.network)

    @lazy
    def _network_engine(self) -> Engine:
        """The engine without the head."""
        alone = self.network.without_head
        return self._engine if alone.parts == self._bare_parts else _new_engine(alone)

    @property
    def _bare_parts(self) -> tuple[Part, ...]:
        """The network's parts, without a `Read` that is the last of them."""
        at = self.network.read_at
        return self.network.parts[:at] if at == len(self.network.parts) - 1 else self.network.parts

    def _engine_up_to(self, index: int) -> Engine:
        """The engine of the layers up to a recurrent one, its directions side by side."""
        top = self.recurrent[index]
        merges = isinstance(top, Bidirectional) and top.merge != "concat"
        if top is self._network_engine.network.parts[-1] and not merges:
            return self._network_engine
        if index not in self._engines:
            self._engines.setdefault(index, _new_engine(self.network.up_to(index)))
        return self._engines[index]

    @lazy
    def _engines(self) -> dict[int, Engine]:
        return {}

    @property
    def _repeats(self) -> bool:
        """Whether the last layer repeats its outputs where steps are masked."""
        return not isinstance(self.recurrent[-1], Bidirectional)

    def _gives_every_step(self, return_sequences: bool | None) -> bool:
        every = self.network.return_sequences
        if return_sequences is not None:
            if not isinstance(return_sequences, bool | np.bool_):
                raise TypeError(
                    "expected return_sequences to be True, False or None, "
                    f"got {type(return_sequences).__name__}"
                )
            every = bool(return_sequences)
        if every:
            self.network.check_every_step()
        return every

    def _scores_and_state(self, x: Any, lengths: Any, threads: int | None) -> tuple[Array, State]:
        """What `predict` returns for each sequence, and the state that a call returns, in one run.

        Not for models that read the last step: a reverse direction is walked only over that step,
        and then has no final state.
        """
        assert self.read != "last"
        source, start, threads = check_call(self.network, x, lengths, None, threads)
        end = new_state(self.network.state_sizes, source.n_rows, self.dtype)
        scores = np.empty((source.n_rows, self.output_size), self.dtype)
        self._engine.run(source, start, Outputs(last=scores, end=end.flat), threads)
        return scores, end

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"an LSTM is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an LSTM is immutable: cannot delete {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_network, (self.network,)

    def __dask_tokenize__(self) -> str:
        return repr((type(self).__qualname__, self.network.digest.hex()))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LSTM):
            return NotImplemented
        return self.network == other.network

    def __hash__(self) -> int:
        return hash(self.network)

    def __repr__(self) -> str:
        return f"LSTM{repr(self.network).removeprefix('Network')}"


def warmup(model: LSTM | None = None) -> None:
    """Compile now, or load from the disk cache, what the first call would compile.

    Parameters
    ----------
    model : LSTM, optional
        The model whose `predict` and calls to compile for, but not its `trace`. Without one,
        compile for float32 models of any size whose cell has the usual activations and no options.

    Raises
    ------
    TypeError
        If `model` is not an LSTM.
    """
    if isinstance(model, LSTM):
        return model._engine.warmup()
    if model is not None:
        raise TypeError(f"expected model to be an LSTM, got {type(model).__name__}")
    from fastlstm.engine.compiling import alone

    with alone():
        from fastlstm.engine.kernel.compiled import warm_kernels
        from fastlstm.engine.kernel.forms import Form

    for scalar in (True, False):
        warm_kernels("float32", Form(scalar=scalar))
    return None


def _new_engine(network: Network) -> Engine:
    from fastlstm.engine.compiling import alone

    with alone():  # a child forked during an import could never import that module
        from fastlstm.engine.run.engine import Engine

    return Engine(network)
