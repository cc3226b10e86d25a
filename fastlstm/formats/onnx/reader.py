"""Networks from ONNX: a whole graph that is one chain, or one LSTM operator of any graph.

The graph is never run. It is followed with places of numbers instead of numbers (see `tape`). If it
leaves sizes open, that is done for two examples of them, which must give the same network; for
longer examples, if the graph does not run for these.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.budget import OverBudget, returned
from fastlstm.formats.found import Found
from fastlstm.formats.onnx.flow import Flow
from fastlstm.formats.onnx.graph import Constants, Refused, Walk
from fastlstm.formats.onnx.node import Origins, nodes_of, one_operator
from fastlstm.formats.onnx.operator import INPUTS
from fastlstm.formats.onnx.outputs import plan_of_outputs
from fastlstm.formats.onnx.plan import DEPENDS, Plan, network_from, uncertain
from fastlstm.formats.onnx.tape import Ids, TooShort
from fastlstm.formats.onnx.tensors import Folder
from fastlstm.formats.onnx.unsupported import refuse_without_lstm
from fastlstm.formats.trust import WrongChoice, about, opened
from fastlstm.messages import Message, Option, message_of
from fastlstm.network.network import Network

__all__ = ["HINTS", "contents", "from_model", "read"]

HINTS: Final = ("node",)

Array = npt.NDArray[Any]

MAX_BYTES: Final = 1 << 31  # what a protobuf can have
MAX_OPSET: Final = 26  # later ones may change what an operator means
MAX_IDS: Final = 1 << 23  # numbers of a tensor of an input of fixed sizes
MANY_STEPS: Final = 1 << 12  # of all sequences of an input of fixed sizes
# Sequences and steps, where the graph leaves them open; more, if it does not run for so few steps.
# The third is for graphs that read some steps, which are the same ones in short examples.
STEPS: Final = ((3, 5, 28), (18, 23, 41), (68, 79, 131), (260, 289, 401))
EXAMPLES: Final = tuple(((2, a), (3, b), (2, c)) for a, b, c in STEPS)
ONE_BY_ONE: Final = tuple(((1, a), (1, b), (1, c)) for a, b, c in STEPS)  # for a batch of one
FLOATS: Final = {1: np.float32, 10: np.float32, 11: np.float64, 16: np.float32}
INTEGERS: Final = (2, 3, 4, 5, 6, 7, 12, 13)
# By the number of axes of an input, what they may be: batch, steps, numbers of a step.
ROLES: Final = {1: ("T",), 2: ("NT", "TN", "TF"), 3: ("NTF", "TNF", "NFT")}


def read(path: Path, *, node: str | None = None) -> Found:
    """The network of an ``.onnx`` file; `node` is that of `fastlstm.from_onnx`."""
    with _naming(path), opened(path) as file:
        return Found(_network_of(_parsed(file), path.parent, node))


def from_model(model: Any, node: str | None, numbers: Mapping[float, float] | None = None) -> Found:
    """The network of an ``onnx.ModelProto``.

    Parameters
    ----------
    model, node
        As in `fastlstm.from_onnx`.
    numbers : mapping of float to float, optional
        What numbers among the attributes, which ONNX keeps in float32, stand for.

    Raises
    ------
    TypeError
        If it is not one.
    ValueError, ModelFormatError, UnsupportedModelError
        As `fastlstm.from_onnx`.
    """
    if not (hasattr(model, "graph") and hasattr(model, "opset_import")):
        raise TypeError(f"expected a path or an onnx.ModelProto, got {type(model).__name__}")
    with _naming():
        return Found(_network_of(model, None, node, numbers))


def contents(path: Path) -> tuple[str, dict[str, str]]:
    """What kind of file it is, its LSTM nodes, and what each of its tensors is."""
    with _naming(path), opened(path) as file:
        model = _parsed(file)
        graph = model.graph
        found = {
            node.name or node.output[0]: "LSTM operator"
            for node in graph.node
            if node.op_type == "LSTM"
        }
        for tensor in graph.initializer:
            found[tensor.name] = (
                f"{tensor.DataType.Name(tensor.data_type).lower()} {tuple(tensor.dims)}"
            )
        return f"an ONNX graph of {len(graph.node)} nodes", found


@contextmanager
def _naming(path: Path | None = None) -> Iterator[None]:
    """Name the file in every error; whatever a damaged one makes our code raise is one of ours."""

    def said(error: Exception) -> Message:
        return message_of(error) if path is None else about(path, error)

    try:
        yield
    except WrongChoice as error:
        raise ValueError(said(error)) from None
    except OverBudget as error:
        raise ModelFormatError(said(error)) from None
    except (ModelFormatError, UnsupportedModelError) as error:
        raise type(error)(said(error)) from error
    except (ImportError, OSError):
        raise
    except Exception as error:
        flaw = ValueError(f"the graph is damaged: {str(error) or type(error).__name__}")
        raise ModelFormatError(said(flaw)) from error


def _parsed(file: IO[bytes]) -> Any:
    """A file as a ``ModelProto``."""
    try:
        from onnx import ModelProto
    except ImportError:
        raise ImportError('reading .onnx needs a package: pip install "fastlstm[onnx]"') from None
    size = os.fstat(file.fileno()).st_size
    if size >= MAX_BYTES:
        raise ModelFormatError(f"{size} bytes; expected less than {MAX_BYTES}")
    model = ModelProto()
    try:
        model.ParseFromString(file.read())
    except Exception as error:  # protobuf's own, which has moved from version to version
        raise ModelFormatError(f"the file is damaged: {error or type(error).__name__}") from error
    return model


def _network_of(
    model: Any, folder: Folder, node: str | None, numbers: Mapping[float, float] | None = None
) -> Network:
    versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    if len(versions) != 1 or not model.HasField("graph") or not model.graph.output:
        raise ModelFormatError("expected a graph with outputs and one version of ONNX's operators")
    opset = versions[0]
    if not 1 <= opset <= MAX_OPSET:
        raise UnsupportedModelError(
            f"operators of version {opset}: this version reads 1 ... {MAX_OPSET}"
        )
    graph, constants = model.graph, Constants(folder, numbers or {})
    if node is not None:
        return Network.of([one_operator(graph, constants, opset, node)])
    return network_from(_plans(graph, constants, opset))


# The whole graph


def _plans(graph: Any, constants: Constants, opset: int) -> list[Plan]:
    """What the graph is for each example of sizes, whatever its input's axes are."""
    data, others = _inputs(graph)
    dims = _dims(data)
    ranks = (3, 2) if dims is None else (len(dims),)
    roles = [role for rank in ranks for role in ROLES.get(rank, ())]
    readers = {node.op_type for node in graph.node if data.name in node.input[:1]}
    if readers & {"LSTM"}:  # ONNX's own order first, so that its flaws are told
        roles.sort(key=lambda role: role != "TNF")
    if readers & {"Conv", "BatchNormalization", "MaxPool", "AveragePool"}:
        roles.sort(key=lambda role: role != "NFT")
    if not roles:
        raise UnsupportedModelError(
            f"input {data.name!r} of {len(dims or ())} axes: expected sequences, steps and numbers"
        )
    # A size that is known is likelier to be that of the numbers than that of steps.
    guessed = {
        role
        for role in roles
        if dims is not None
        and "F" in role
        and dims[role.index("F")] is None
        and dims[role.index("T")] is not None
    }
    roles = sorted(set(roles) - (guessed & {"NFT"}), key=lambda k: (k in guessed, roles.index(k)))
    axes = [(role, k) for role in roles for k in _features(dims, role, graph, constants)]

    def followed(examples: Sequence[tuple[int, int]], last: bool) -> list[Plan]:
        """Follow the graph with the first meaning of its input's axes that fits."""
        refused: list[Refused] = []
        second: list[Plan] = []  # where steps became other steps: another meaning may fit better
        for role, features in axes:
            found: list[Plan] = []
            regrouped = role in guessed
            for example in examples if _open(graph) else examples[:1]:
                if len(found) == 2 and not (_agree(found) and uncertain(found)):
                    break
                try:
                    walked = _walk(graph, constants, opset, data, others, role, features, example)
                except _NotSo as error:
                    if found:
                        error.refused.by_size = True
                        refused.append(error.refused)
                        found = []
                    else:
                        refused.append(error.refused)
                    break
                found.append(walked[0])
                regrouped = regrouped or walked[1]
            if len(found) == 3 and not _agree(found):
                refused.append(Refused(UnsupportedModelError(DEPENDS), 0, True))
                continue
            if found and not regrouped:
                return found
            if found and _agree(found):
                second = second or found
        if second and last:
            return second
        if second or not refused:
            refused.append(Refused(UnsupportedModelError("steps become other steps"), 0, True))
        told = max(refused, key=lambda k: k.place)
        raise _NotSo(Refused(told.error, told.place, any(k.by_size for k in refused)))

    def tried(examples: Sequence[Sequence[tuple[int, int]]]) -> list[Plan]:
        """Follow it for more steps, if it does not run for fewer."""
        told: _NotSo | None = None
        for pair in examples:
            try:
                return followed(pair, pair is examples[-1])
            except _NotSo as error:
                if told is None or error.refused.place > told.refused.place:
                    told = error
                if not error.refused.by_size:
                    break
        assert told is not None
        raise told

    try:
        return tried(EXAMPLES)
    except _NotSo as error:
        refused = error.refused
    # A graph that runs only for a batch of 1 computes one sequence, as each row does here.
    # A graph that runs for larger batches but mixes their sequences is refused.
    try:
        found = tried(ONE_BY_ONE)
    except _NotSo as error:
        raise (error.refused if refused.by_size else refused).error from None
    if refused.by_size:
        return found
    raise UnsupportedModelError(
        f"{refused.error}. This version could compute the graph for a batch of 1, but a larger "
        "one mixes its sequences: export the model with the batch as an axis of its own all the "
        "way through, or fix the size of that axis at 1"
    )


def _agree(plans: list[Plan]) -> bool:
    try:
        network_from(plans)
    except UnsupportedModelError:
        return False
    return True


class _NotSo(Exception):
    """The axes of the input are not what they were taken for, or the graph is refused."""

    def __init__(self, refused: Refused) -> None:
        self.refused = refused


@returned()
def _walk(
    graph: Any,
    constants: Constants,
    opset: int,
    data: Any,
    others: dict[str, Any],
    role: str,
    features: int,
    example: tuple[int, int],
) -> tuple[Plan, bool]:
    """Follow the graph for an input whose axes mean what `role` says.

    Returns the plan, and whether steps became other steps.
    """
    dims = _dims(data) or [None] * len(role)
    sizes = {"N": 1, "T": example[1], "F": 1}
    for letter, size, open_size in zip(role, dims, (0,) * len(role), strict=True):
        chosen = {"N": example[0], "T": example[1], "F": features}[letter]
        sizes[letter] = size or chosen or open_size
    N, T, F = sizes["N"], sizes["T"], sizes["F"]
    fixed = f"an input of fixed shape {dims}; export the model with a batch or steps of any size"
    if N * T * F > MAX_IDS:
        raise UnsupportedModelError(fixed)
    exact = not _open(graph)
    dtype = FLOATS.get(data.type.tensor_type.elem_type, np.float32)
    fixed_steps = "T" in role and dims[role.index("T")] is not None
    flow = Flow(dtype, constants.parts, exact=fixed_steps)
    flow.integers = data.type.tensor_type.elem_type in INTEGERS
    ids = flow.whole(flow.add(N, T, F))  # (N, T, F)
    order = [("NTF").index(letter) for letter in role]
    rest = [k for k in range(3) if k not in order]  # axes of size 1 that the input lacks
    turned = ids.array.transpose([*order, *rest])
    given: dict[str, Any] = {data.name: ids.moved(turned.reshape([ids.shape[k] for k in order]))}
    for name, value in others.items():
        shape = [size or N for size in _dims(value) or ()]
        size = int(np.prod(shape, dtype=object))
        if size > MAX_IDS or not size:
            raise UnsupportedModelError(f"input {name!r} of shape {shape}")
        source = flow.add(1, 1, size, every=False, origin=f"input {name}")
        whole = flow.whole(source)
        given[name] = whole.moved(whole.array.reshape(shape))
    walk = Walk(constants, opset, flow, given, exact)
    try:
        outputs = walk.run(graph)
    except OverBudget:
        if exact and N * T > MANY_STEPS:
            raise UnsupportedModelError(fixed) from None
        raise
    for value, output in zip(outputs, graph.output, strict=True):
        if isinstance(value, Refused):
            raise _NotSo(value)
        if not isinstance(value, Ids):
            raise UnsupportedModelError(f"output {output.name!r} does not depend on the input")
    try:
        named = {k.name: v for k, v in zip(graph.output, outputs, strict=True)}
        return plan_of_outputs(flow, named), flow.regrouped
    except TooShort as error:
        raise _NotSo(Refused(error, walk.place + 1, not exact)) from None
    except UnsupportedModelError as error:
        raise _NotSo(Refused(error, walk.place + 1)) from None


def _dims(value: Any) -> list[int | None] | None:
    """The sizes of an input's axes, None where they are open; None without a shape."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [d.dim_value if d.dim_value > 0 else None for d in tensor.shape.dim]


def _open(graph: Any) -> bool:
    """Whether an input leaves sizes open."""
    there = {tensor.name for tensor in graph.initializer}
    shapes = [_dims(value) for value in graph.input if value.name not in there]
    return any(dims is None or None in dims for dims in shapes)


def _features(
    dims: list[int | None] | None, role: str, graph: Any, constants: Constants
) -> list[int]:
    """How many numbers a step may have."""
    if "F" not in role:
        return [1]
    if dims is not None and (size := dims[role.index("F")]):
        return [size]
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    read = [shapes.get(name, []) for node in graph.node for name in node.input[1:2]]
    found = [size for shape in read for size in shape if 0 < size <= 1 << 16]
    return list(dict.fromkeys(found))[:16] or [1]


def _inputs(graph: Any) -> tuple[Any, dict[str, Any]]:
    """The input that the LSTM reads, and those of lengths and states."""
    there = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: value for value in graph.input if value.name not in there}
    origins = Origins(graph)
    read: dict[str, set[str]] = {name: set() for name in INPUTS}
    lstms = [node for node in nodes_of(graph) if node.op_type == "LSTM"]
    if not lstms:
        raise UnsupportedModelError(refuse_without_lstm(k.op_type for k in nodes_of(graph)))
    for node in lstms:
        for place, name in zip(INPUTS, node.input, strict=False):
            read[place] |= origins.of(name) & inputs.keys()
    data = read["X"]
    if len(data) != 1:
        name = lstms[0].name or next(filter(None, lstms[0].output), "")
        got = f"expected one input of data, got {sorted(data) or 'none'}; one LSTM operator alone: "
        raise UnsupportedModelError(Message(got, Option("node", name)))
    (name,) = data
    tensor = inputs[name].type.tensor_type
    if tensor.elem_type not in FLOATS and tensor.elem_type not in INTEGERS:
        raise UnsupportedModelError(f"input {name!r} of ONNX's data type {tensor.elem_type}")
    return inputs[name], {key: value for key, value in inputs.items() if key != name}
