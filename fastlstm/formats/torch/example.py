"""A live module and an example of its inputs: its own ``forward``, followed by torch's exporter.

The module is exported to ONNX in memory, by torch's exporter that traces a call
(``torch.onnx.export`` with ``dynamo=False``), and `fastlstm.formats.onnx` reads the graph: so there
is one table of operators for files and for modules. On 24 modules of the usual kinds this was
compared with the two other ways that torch 2.13 has.

- ``torch.export``: a table of ATen's operators of our own, beside that of ONNX. An LSTM is one
  operator there, too, but torch unrolls it over the steps of the example in order to find shapes.
  So the steps are fixed, a convolution with a stride in front makes it fail, and so do packed
  sequences. 0.5 to 3 seconds a module.
- ``dynamo=True``: the same, with patches for free steps in the newest version of torch alone; needs
  onnxscript. 2 to 6 seconds a module.
- ``dynamo=False``: in every version of torch, needs onnx alone, and takes
  0.1 seconds. An LSTM remains an LSTM, with a node for each layer. Projections are not exported.

A trace has the operations of one call, but not the decisions of the Python code around them. So a
module is traced twice, at other numbers of sequences and steps, and its decisions are watched
(`watch`). If both traces are the same network, and nothing was decided by the number of steps, then
the network takes any. Otherwise it takes the steps of the example alone. A decision by the numbers
of the inputs is refused.
"""

from __future__ import annotations

import copy
import inspect
import io
import logging
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm import reference
from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.onnx import reader as onnx
from fastlstm.formats.torch.watch import Decision, watch
from fastlstm.messages import Message, Option
from fastlstm.network.joints import From, Join
from fastlstm.network.network import Network
from fastlstm.network.steps import Flatten, Unflatten

__all__ = ["Followed", "Run", "follow", "leaves"]

Array = npt.NDArray[Any]

MOST_ROWS: Final = 64  # of the example that are compared
# What the axes of an example may be, by how many there are: sequences, steps, numbers of a step.
LAYOUTS: Final = {2: ("NT", "TN"), 3: ("NTF", "NFT", "TNF")}
ROUGHLY: Final = 1e-3  # how far a network may be off if only its layout is in question


class Run(NamedTuple):
    """What a module gives for some inputs."""

    x: Array  # (N, T, I), or ids (N, T)
    lengths: Array | None
    results: list[Array]


class Followed(NamedTuple):
    """The network of a module, and what the module gives, to be compared."""

    network: Network
    runs: list[Run]


def follow(module: Any, example: Any) -> Followed:
    """Follow a module's own ``forward``.

    Parameters
    ----------
    module : torch.nn.Module
        It is left as it is, in its mode; a copy of it is run in ``eval()`` mode.
    example : array or tensor, or (x, lengths)
        Inputs as the module takes them.

    Raises
    ------
    TypeError, ValueError
        If it is not a module, or these are no such inputs.
    UnsupportedModelError
        If the module does not run on the example, or is not computed.
    ImportError
        If the package onnx is not installed.
    """
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(module, torch.nn.Module):
        raise TypeError(
            Message(Option("example"), ": weights alone compute nothing; pass the module itself")
        )
    _require_onnx()
    call = _Call(torch, module, example)
    refused: list[UnsupportedModelError] = []
    for batch in (0, 1):
        try:
            return _followed(call, batch)
        except _OtherAxis:
            continue
        except UnsupportedModelError as error:
            refused.append(error)
    if not refused:
        raise UnsupportedModelError("the module does not keep the sequences of a batch apart")
    raise refused[0]


class _OtherAxis(Exception):
    """The sequences are on another axis of the example."""


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise ImportError(
            'following a module needs a package: pip install "fastlstm[onnx]"'
        ) from None


# --- a call ---------------------------------------------------------------------------------


class _Call:
    """A module, and what it is called with."""

    def __init__(self, torch: Any, module: Any, example: Any) -> None:
        self.torch, self.module = torch, module
        for name, part in module.named_modules():
            if isinstance(part, torch.jit.ScriptModule):
                raise UnsupportedModelError(
                    f"{name or 'the module'} is TorchScript, whose decisions are not seen: build "
                    "the module of its class and load the weights into it, or name its parts by "
                    "hints"
                )
        several = isinstance(example, tuple)
        first, *others = example if several else (example,)
        tensors = [*module.parameters(), *module.buffers()]
        floats = [k for k in tensors if k.is_floating_point()]
        self.device = tensors[0].device if tensors else torch.device("cpu")
        self.dtype = floats[0].dtype if floats else torch.float32
        if self.dtype in (torch.float16, torch.bfloat16):
            self.dtype = torch.float32  # as the copy is
        self.x = self._tensor(first)
        self.lengths = self._lengths(others)

    def _tensor(self, x: Any) -> Any:
        torch = self.torch
        if isinstance(x, Mapping):
            raise TypeError(
                Message(Option("example"), ": expected an array (N, T, I), not a mapping")
            )
        if not isinstance(x, torch.Tensor):
            array = np.asarray(x)
            if array.dtype.kind not in "fiub":
                got = f"an array of {array.dtype}" if hasattr(x, "dtype") else type(x).__name__
                raise TypeError(
                    Message(Option("example"), f": expected an array of numbers, got {got}")
                )
            x = torch.from_numpy(np.array(array, np.int64 if array.dtype.kind in "iu" else None))
        if x.dim() not in LAYOUTS or not x.numel():
            raise ValueError(
                Message(
                    Option("example"),
                    ": expected several sequences of several steps, as the module takes them, "
                    f"(N, T, I), got {tuple(x.shape)}",
                )
            )
        x = x.detach().to(self.device)
        return x.to(self.dtype) if x.is_floating_point() else x

    def _lengths(self, others: list[Any]) -> Array | None:
        """The lengths beside the sequences; anything else is refused."""
        if not others:
            return None
        lengths = [_as_lengths(self.torch, k, self.x.shape) for k in others]
        if len(others) > 1 or lengths[0] is None:
            names = list(inspect.signature(self.module.forward).parameters)
            strange = [k for k, v in enumerate(lengths, 1) if v is None] or [2]
            name = names[strange[0]] if strange[0] < len(names) else f"number {strange[0] + 1}"
            raise UnsupportedModelError(
                f"the module's forward takes a further input, {name}: this version computes "
                "modules of one sequence input, with its lengths"
            )
        self.kind = others[0]
        return lengths[0]

    def given(self, lengths: Array | None) -> tuple[Any, ...]:
        """Lengths as the caller gave them."""
        if lengths is None:
            return ()
        if isinstance(self.kind, self.torch.Tensor):
            tensor = self.torch.from_numpy(lengths.copy())
            return (tensor.to(device=self.kind.device, dtype=self.kind.dtype),)
        if isinstance(self.kind, np.ndarray):
            return (lengths.astype(self.kind.dtype),)
        return (type(self.kind)(lengths.tolist()),)

    def sized(self, sizes: Mapping[int, int]) -> Any:
        """The example with axes of other lengths: its numbers again and again."""
        x = self.x
        for axis, size in sizes.items():
            order = self.torch.arange(size, device=x.device) % x.shape[axis]
            x = x.index_select(axis, order)
        return x

    def tried(self, x: Any, batch: int) -> list[Array] | None:
        """What the module gives for inputs that it may not take; None if it does not."""
        try:
            return self.run(x, self.whole(x, batch))
        except UnsupportedModelError:
            return None

    def whole(self, x: Any, batch: int) -> Array | None:
        """The lengths if no row is shorter than the others."""
        if self.lengths is None:
            return None
        return np.full(x.shape[batch], x.shape[1 - batch], np.int64)

    def run(self, x: Any, lengths: Array | None) -> list[Array]:
        """Run a copy of the module, and return all that it gives.

        Raises
        ------
        UnsupportedModelError
            If it does not run.
        """
        with _quiet(self.torch), self.torch.no_grad():
            try:
                result = _copied(self.torch, self.module)(x, *self.given(lengths))
            except Exception as error:
                raise UnsupportedModelError(
                    f"the module cannot be run on inputs of shape {tuple(x.shape)} and {x.dtype}: "
                    f"{_line(error)}"
                ) from error
        return [k.detach().cpu().double().numpy() for k in leaves(result)]

    def traced(self, x: Any, batch: int) -> tuple[Network, list[Decision]]:
        """The network that the module is for inputs of this shape, and what its code decides."""
        model, decisions, numbers = _exported(self, x, self.whole(x, batch))
        by_numbers = [k.place for k in decisions if k.sizes is None]
        if by_numbers:
            raise UnsupportedModelError(
                f"the code of the module decides by numbers of its inputs, in {by_numbers[0]}: "
                "what it computes is not the same for all of them. If this is only a check, "
                "remove it; if one of its ways is what you need, give a module that takes only that"
            )
        try:
            return onnx.from_model(model, None, numbers).network, decisions
        except ValueError as error:
            raise UnsupportedModelError(
                f"what the module's forward computes, as torch exports it: {error}"
            ) from error


def _as_lengths(torch: Any, value: Any, shape: Sequence[int]) -> Array | None:
    """A further input as lengths, if it can be nothing else."""
    if value is None or isinstance(value, Mapping):
        return None
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    fits = array.dtype.kind in "iu" and array.ndim == 1 and len(array) in tuple(shape[:2])
    if not fits or array.min() < 1 or array.max() > max(shape):
        return None
    return array.astype(np.int64)


# --- its network ----------------------------------------------------------------------------


def _followed(call: _Call, batch: int) -> Followed:
    """The network of a module whose sequences are on this axis of its example."""
    x = call.x
    whole = call.run(x, call.lengths)
    few = next((n for n in (3, 2, 5, 7) if n not in x.shape), 3)
    first = call.sized({batch: few})
    theirs = call.tried(first, batch)
    if theirs is None:  # the module takes no other batch
        first, theirs = x, call.run(x, call.whole(x, batch))
    network, decisions = call.traced(first, batch)
    layout = _layout(network, first, theirs)
    if layout.index("N") != batch:
        raise _OtherAxis
    runs = [
        _some(_turned(x, layout), call.lengths, whole),
        Run(_turned(first, layout), None, theirs),
    ]
    steps_at = layout.index("T")
    steps = x.shape[steps_at]
    more = next(n for n in range(first.shape[batch] + 1, 100) if n not in first.shape)
    for rows in (more, first.shape[batch]):
        longer = call.sized({batch: rows, steps_at: steps + 1})
        if (theirs := call.tried(longer, batch)) is not None:
            break
    if theirs is None:
        if _takes(network, steps + 1):
            network = _only(network, steps)
        return Followed(network, runs)
    if not _same(call, network, decisions, first, longer, batch):
        return Followed(_only(network, steps), runs)
    runs.append(Run(_turned(longer, layout), None, theirs))
    for sizes in ({batch: 1, steps_at: steps + 2}, {batch: rows, steps_at: 2 * steps + 1}):
        other = call.sized(sizes)  # which it may not take
        if (theirs := call.tried(other, batch)) is not None:
            runs.append(Run(_turned(other, layout), None, theirs))
    if call.lengths is not None:
        runs += _shorter(call, batch, layout)
    return Followed(network, runs)


def _same(
    call: _Call, network: Network, decisions: list[Decision], first: Any, longer: Any, batch: int
) -> bool:
    """Whether the module is the same network for more sequences and steps, and by no decision."""
    try:
        other, more = call.traced(longer, batch)
    except UnsupportedModelError:
        return False
    batches = first.shape[batch], longer.shape[batch]
    alike = other.parts == network.parts and other.return_sequences == network.return_sequences
    return (
        alike
        and len(decisions) == len(more)
        and all(_alike(a, b, *batches) for a, b in zip(decisions, more, strict=True))
    )


def _shorter(call: _Call, batch: int, layout: str) -> Iterator[Run]:
    """The example with lengths that differ, if those of the caller do not."""
    assert call.lengths is not None
    x = call.x
    steps = x.shape[layout.index("T")]
    if len(set(call.lengths.tolist())) > 1 or steps < 2:
        return
    x = call.sized({batch: 4})
    lengths = np.array([steps, steps, max(steps - 1, 1), -(-steps // 2)], np.int64)
    yield Run(_turned(x, layout), lengths, call.run(x, lengths))


def _some(x: Array, lengths: Array | None, results: list[Array]) -> Run:
    """Some rows of a run, or all if not all of its results have a row for each."""
    N = len(x)
    rows = slice(None, None, -(-N // MOST_ROWS))
    if N <= MOST_ROWS or any(k.shape[:1] != (N,) for k in results):
        return Run(x, lengths, results)
    lengths = None if lengths is None else lengths[rows]
    return Run(x[rows], lengths, [k[rows] for k in results])


def _alike(a: Decision, b: Decision, few: int, more: int) -> bool:
    """Whether decisions of two traces, for few and for more sequences, are by the same sizes.

    The number of sequences does not count: each is computed by itself.
    """
    assert a.sizes is not None
    assert b.sizes is not None
    same = a.sizes == b.sizes or a.sizes - {few} == b.sizes - {more}
    return same and a.place == b.place


def _takes(network: Network, steps: int) -> bool:
    return network.steps(np.array([steps])).why is None


def _turned(x: Any, layout: str) -> Array:
    """Inputs as the network takes them: (N, T, I), or ids (N, T)."""
    order = [layout.index(letter) for letter in "NTF" if letter in layout]
    return np.ascontiguousarray(x.cpu().numpy().transpose(order))


def _layout(network: Network, x: Any, theirs: list[Array]) -> str:
    """What the axes of the example are: those with which the network gives the module's numbers.

    If none does, the first with which it runs at all; the comparison then says how far it is off.
    """
    runs = []
    for layout in LAYOUTS[x.dim()]:
        try:
            with np.errstate(all="ignore"):
                ours = reference.predict(network, _as_inputs(network, _turned(x, layout)))
        except (ValueError, IndexError):
            continue
        flat = np.sort(ours, None)
        for result in theirs:
            if result.size == ours.size:
                apart = np.abs(flat - np.sort(result, None))
                if np.nanmax(apart) <= ROUGHLY * max(1, np.nanmax(np.abs(flat))):
                    return layout
        runs.append(layout)
    if not runs:
        raise UnsupportedModelError(
            f"the network of the module does not take an example of shape {tuple(x.shape)}"
        )
    return runs[0]


def _as_inputs(network: Network, x: Array) -> Array:
    if x.ndim == 2 and network.embedding is None:
        x = x[..., None]
    if x.shape[-1] != network.input_size and x.ndim == 3:
        raise ValueError("other inputs")
    return x.astype(network.input_dtype)


def _only(network: Network, steps: int) -> Network:
    """The network for sequences of so many steps alone."""
    at = 0 if network.embedding is None else network.parts.index(network.embedding) + 1

    def moved(value: int) -> int:
        return value if value < at - 1 else value + 2

    parts: list[Any] = []
    for part in network.parts:
        if isinstance(part, From):
            part = From(moved(part.value))
        elif isinstance(part, Join):
            part = Join(part.how, tuple(moved(k) for k in part.values))
        parts.append(part)
    parts[at:at] = [Flatten(steps), Unflatten(steps)]
    return replace(network, parts=tuple(parts))


# --- torch ----------------------------------------------------------------------------------


def _exported(
    call: _Call, x: Any, lengths: Array | None
) -> tuple[Any, list[Decision], dict[float, float]]:
    """The ONNX graph of a call, what the module's code decided, and the numbers that it used."""
    from onnx import ModelProto

    torch = call.torch
    decisions: list[Decision] = []
    numbers: dict[float, float] = {}
    base: Any = torch.nn.Module

    class Traced(base):  # type: ignore[misc]
        """The module as a function of its sequences, which gives tensors alone."""

        def __init__(self) -> None:
            super().__init__()
            self.module = _copied(torch, call.module)
            self.training = False

        def forward(self, x: Any) -> tuple[Any, ...]:
            with watch(torch, x, decisions, numbers):
                result = self.module(x, *call.given(lengths))
            return tuple(leaves(result))

    file = io.BytesIO()
    options: dict[str, Any] = {}
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False
    with _quiet(torch), torch.no_grad():
        try:
            # PRESERVE keeps batch normalisation apart from convolutions; the mode is eval()
            torch.onnx.export(
                Traced(),
                (x,),
                file,
                input_names=["x"],
                training=torch.onnx.TrainingMode.PRESERVE,
                **options,
            )
        except UnsupportedModelError:
            raise
        except Exception as error:
            raise UnsupportedModelError(
                Message(
                    f"torch cannot export the module to ONNX: {_line(error)}. Its parts can be "
                    "named by hints instead of ",
                    Option("example"),
                )
            ) from error
    model = ModelProto()
    model.ParseFromString(file.getvalue())
    return model, decisions, numbers


@contextmanager
def _quiet(torch: Any) -> Iterator[None]:
    """Keep what an exporter prints and warns about from the terminal; errors are raised."""
    before = logging.root.manager.disable
    name = "_jit_set_onnx_log_enabled"  # torch enables it for good, and prints graphs on errors
    enable = getattr(torch._C, name, None)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            if enable is not None:
                setattr(torch._C, name, lambda enabled: None)
            yield
        finally:
            if enable is not None:
                setattr(torch._C, name, enable)
            logging.disable(before)


def _line(error: BaseException) -> str:
    """The first line of an error's message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0] if lines else type(error).__name__
    return said if len(said) <= 300 else f"{said[:300]} ..."


def _copied(torch: Any, module: Any) -> Any:
    """A copy of a module in eval() mode, so that nothing of a run remains in the caller's.

    Weights are not copied, unless they are widened to float32.
    """
    narrow = (torch.float16, torch.bfloat16)
    half = any(k.dtype in narrow for k in (*module.parameters(), *module.buffers()))
    kept: dict[int, Any] = {} if half else {id(k): k for k in module.parameters()}
    for part in module.modules():  # a state of the last call, which belongs to its graph
        for tensor in _held(torch, vars(part)):
            if not tensor.is_leaf:
                kept[id(tensor)] = tensor.detach().clone()
    try:
        copied = copy.deepcopy(module, kept)
    except Exception as error:
        raise UnsupportedModelError(
            f"the module cannot be copied, and running it might change it: {_line(error)}"
        ) from error
    return (copied.float() if half else copied).eval()


def _held(torch: Any, value: Any, depth: int = 3) -> Iterator[Any]:
    """The tensors in the attributes of a module."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple)) and depth:
        for part in value.values() if isinstance(value, dict) else value:
            yield from _held(torch, part, depth - 1)


def leaves(value: Any) -> Iterator[Any]:
    """All tensors in what a model returned."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from leaves(part)
    elif hasattr(value, "shape") and hasattr(value, "dtype"):
        yield value
