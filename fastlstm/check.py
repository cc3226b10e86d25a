"""Comparing a model with its framework: with the live model, or with numbers in a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm import reference
from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.torch.example import Run, leaves
from fastlstm.formats.trust import opened
from fastlstm.messages import Message, Option
from fastlstm.model import LSTM
from fastlstm.network.reading import READS

__all__ = [
    "Distance",
    "allowed_error",
    "check_example",
    "check_keras",
    "check_module",
    "compare",
    "verify",
]

Array = npt.NDArray[Any]

# Another engine sums in another order and approximates tanh differently: in the tests with PyTorch,
# its error is at most 4 times that of this engine, or 4 ULP of the largest number.
FACTOR: Final = 16
MOST_ROWS: Final = 64  # for measuring the error of float32


class Distance(NamedTuple):
    """How far apart two results are."""

    largest: float  # difference of two numbers; NaN if one of them is NaN or infinite alone
    place: tuple[int, ...]  # where it is
    ours: float
    theirs: float

    def within(self, allowed: float) -> bool:
        """Whether they are at most this far apart; NaN is too far."""
        return self.largest <= allowed

    def __str__(self) -> str:
        at = ", ".join(map(str, self.place))
        return f"at [{at}] {self.ours:.9g}, expected {self.theirs:.9g}"


def compare(ours: Array, theirs: Array) -> Distance:
    """The largest difference between two arrays of the same shape.

    NaN agrees only with NaN, and infinity only with the same infinity.

    Raises
    ------
    ValueError
        If `theirs` holds no finite number.
    """
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if not np.isfinite(b).any():
        raise ValueError(f"there are no finite numbers to compare with, in shape {b.shape}")
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b)
    apart[(a == b) | (np.isnan(a) & np.isnan(b))] = 0
    apart[~np.isfinite(apart)] = np.nan  # a number against NaN or infinity
    odd = np.isnan(apart)
    place = np.unravel_index(int(np.argmax(odd if odd.any() else apart)), apart.shape)
    at = tuple(int(k) for k in place)
    return Distance(float(apart[at]), at, float(a[at]), float(b[at]))


def allowed_error(model: LSTM, x: Array, ours: Array, dtype: npt.DTypeLike | None = None) -> float:
    """Return how far another engine that computes in `dtype` may be from `ours` on `x`.

    This is 16 times the error of float32 in this network (the difference between the NumPy loop in
    float32 and in float64, on these inputs and on some like them), and at least 16 units in the
    last place of the largest number. For float64 it is the same, scaled to float64's precision.

    Parameters
    ----------
    model : LSTM
        The model.
    x, ours : array
        Inputs (N, T, I), or ids (N, T), and what `predict` returns for them.
    dtype : dtype, optional
        The less precise dtype of the two sides; the model's by default.
    """
    scale = float(np.max(np.abs(ours), where=np.isfinite(ours), initial=0))
    narrow, wide = model.astype("float32"), model.astype("float64")
    error = 0.0
    for like_x in _likes(x):
        a, b = (
            np.asarray(reference.predict(k.network, like_x), np.float64) for k in (narrow, wide)
        )
        both = np.isfinite(a) & np.isfinite(b)
        error = max(error, float(np.max(np.abs(a - b), where=both, initial=0)))
    units = np.finfo(np.float32).eps
    coarser = np.dtype(model.dtype if dtype is None else dtype)
    return float(FACTOR * max(error / units, scale) * np.finfo(coarser).eps)


def _likes(x: Array) -> Iterator[Array]:
    """Return some of these inputs, and others like them: a few numbers may agree by chance."""
    some = x[:: -(-len(x) // MOST_ROWS) or 1]
    yield some
    yield some[:, ::-1]
    if some.dtype.kind == "f":
        for scale in (0.97, 1.03):
            yield some * some.dtype.type(scale)


# --- live models ----------------------------------------------------------------------------


def check_module(module: Any, model: LSTM, x: Any) -> None:
    """Refuse a model that does not give the same numbers as the torch module it was made from.

    Raises
    ------
    TypeError
        If it is not a module, or `x` is not an array.
    UnsupportedModelError
        If they do not agree.
    """
    if isinstance(module, Mapping) or not callable(module):
        raise TypeError(
            Message(Option("check"), ": weights alone compute nothing; pass the module itself")
        )
    inputs = _inputs(model, x, Option("check"))
    _require(model, inputs, list(_torch_results(module, model, inputs)), "the module")


def check_example(model: LSTM, runs: Sequence[Run]) -> None:
    """Refuse a model that does not give what the module it was made from gave for these inputs.

    This is computed by the reference, at once: a model need not be compiled to be loaded.

    Raises
    ------
    UnsupportedModelError
        If they do not agree.
    """
    for run in runs:
        x = run.x if run.x.ndim == 3 or model.input_dtype == np.int64 else run.x[..., None]
        x = np.ascontiguousarray(x, model.input_dtype)
        ours = reference.predict(model.network, x, run.lengths)
        results = [order for k in run.results for order in _orders(k)]
        if run.lengths is not None and ours.ndim == 3:
            results = [_up_to(k, run.lengths, ours.shape) for k in results]
        _require(model, x, results, "the module", ours)


def check_keras(keras_model: Any, model: LSTM, x: Any) -> None:
    """Refuse a model that does not give the same numbers as the Keras model it was made from.

    Raises
    ------
    TypeError
        If `x` is not an array.
    UnsupportedModelError
        If they do not agree.
    """
    inputs = _inputs(model, x, Option("check"))
    live = keras_model
    if any(getattr(layer, "stateful", False) for layer in keras_model.layers):
        live = type(keras_model).from_config(keras_model.get_config())  # the state stays as it is
        live.set_weights(keras_model.get_weights())
    result = live(inputs, training=False)
    results = [_keras_array(part) for part in leaves(result)]
    _require(model, inputs, results, "the Keras model")


def _inputs(model: LSTM, x: Any, what: str | Option) -> Array:
    """Return inputs that both the model and its framework take: (N, T, I), or ids (N, T)."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        x = x.detach().cpu().numpy()
    array = np.asarray(x) if hasattr(x, "__array__") or isinstance(x, (list, tuple)) else None
    embedded = model.input_dtype == np.int64
    fits = array is not None and (
        array.dtype.kind in "iu" and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1))
        if embedded
        else array.dtype.kind in "fiub" and array.ndim in (2, 3)
    )
    if array is None or not fits:
        shape = "of integer ids (N, T)" if embedded else f"(N, T, {model.input_size})"
        got = type(x).__name__ if array is None else f"{array.dtype} of shape {array.shape}"
        raise TypeError(Message(what, f": expected an array {shape}, got {got}"))
    if not len(array):
        raise ValueError(Message(what, f": no sequences to compare, got shape {array.shape}"))
    if embedded:
        return np.ascontiguousarray(array.astype(np.int64).reshape(array.shape[:2]))
    if array.ndim == 2:
        array = array[..., None] if model.input_size == 1 else array[None]
    return np.ascontiguousarray(array, model.dtype)


def _require(
    model: LSTM,
    x: Array,
    results: list[Array],
    whose: str,
    given: Array | None = None,
) -> None:
    """Refuse the model unless one of the framework's results agrees with its own, or those given.

    Only a network of hints could be told to read something else.
    """
    ours = model.predict(x) if given is None else given
    found = _nearest(ours, results)
    if found is None:
        shapes = sorted({str(k.shape) for k in results})
        raise UnsupportedModelError(
            f"{whose} gives {' and '.join(shapes) or 'no numbers'} for {len(x)} sequences, the "
            f"network {ours.shape}: they do not compute the same"
        )
    allowed = allowed_error(model, x, ours)
    if found.within(allowed):
        return
    said: list[str | Option] = [
        f"the network does not compute what {whose} does: they are {found.largest:.3g} apart "
        f"({found}), and rounding in {model.dtype} explains only {allowed:.2g}"
    ]
    network = model.network
    fixed = model.return_sequences or network.read_at == len(network.parts) or given is not None
    for read in () if fixed else READS:
        if read == model.read:
            continue
        try:
            other = LSTM.from_network(network.reading(read))
        except UnsupportedModelError:  # with a mask, some are none
            continue
        nearest = _nearest(other.predict(x), results)
        if nearest is not None and nearest.within(allowed):
            said += ["; they agree with ", Option("read", read)]
            break
    raise UnsupportedModelError(Message(*said))


def _orders(result: Array) -> Iterator[Array]:
    """A result with its axes in all orders, if it may be (N, T, K)."""
    if result.ndim == 3:
        yield from (result.transpose(order) for order in permutations(range(3)))
    else:
        yield result


def _up_to(result: Array, lengths: Array, shape: tuple[int, ...]) -> Array:
    """Outputs (N, T, K) in this shape, zero past each length, as those of a model are.

    Those of padded sequences have the steps of the longest of them.
    """
    if result.ndim != 3 or result.shape != (shape[0], lengths.max(), shape[2]):
        return result
    cut = np.zeros(shape, result.dtype)
    for row, length, whole in zip(cut, lengths, result, strict=True):
        row[:length] = whole[:length]
    return cut


def _nearest(ours: Array, results: list[Array]) -> Distance | None:
    """Return the distance to the nearest result of our shape, not counting axes of length 1."""
    shape = [k for k in ours.shape if k != 1]
    fitting = [k.reshape(ours.shape) for k in results if [n for n in k.shape if n != 1] == shape]
    finite = [k for k in fitting if np.isfinite(k).any()]
    distances = [compare(ours, theirs) for theirs in finite or fitting]
    return min(distances, key=lambda k: np.inf if np.isnan(k.largest) else k.largest, default=None)


def _keras_array(value: Any) -> Array:
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, np.float64)


def _torch_results(module: Any, model: LSTM, x: Array) -> Iterator[Array]:
    """Yield what a module gives for the inputs, batch first, and time first if it may want that."""
    torch = sys.modules["torch"]
    module = _widened(torch, module)
    parameter = next(iter(module.parameters()))
    inputs = torch.from_numpy(x).to(parameter.device)
    recurrent = [k for k in module.modules() if type(k).__name__ in ("LSTM", "LSTMCell")]
    orders = [False]
    if not all(getattr(k, "batch_first", True) for k in recurrent) or not recurrent:
        orders = [True, False]
    for time_first in orders:
        with _evaluating(torch, module):
            try:
                result = _run(torch, module, inputs.transpose(0, 1) if time_first else inputs)
            except Exception as error:
                if time_first is not orders[-1]:
                    continue  # it may take the other order
                raise UnsupportedModelError(
                    f"the module cannot be run on inputs of shape {tuple(inputs.shape)} and "
                    f"{inputs.dtype}: {error}"
                ) from error
        for leaf in result:
            array = leaf.detach().cpu().double().numpy()
            yield array
            if time_first and array.ndim == 3:
                yield array.swapaxes(0, 1)


def _run(torch: Any, module: Any, inputs: Any) -> list[Any]:
    """Return the tensors that a module gives; a bare LSTM gives its last hidden states."""
    kind = type(module)
    if kind is torch.nn.LSTMCell:
        steps = inputs.transpose(0, 1)
        state = None
        for step in steps:
            state = module(step, state)
        assert state is not None
        return [state[0]]
    if kind is torch.nn.LSTM:
        output, (h_n, _) = module(inputs)
        directions = 2 if module.bidirectional else 1
        return [output, torch.cat(tuple(h_n[-directions:]), 1)]
    return list(leaves(module(inputs)))


def _widened(torch: Any, module: Any) -> Any:
    """Return the module, or a copy in float32 if it is in half precision, as the network is."""
    narrow = (torch.float16, torch.bfloat16)
    if any(parameter.dtype in narrow for parameter in module.parameters()):
        import copy

        return copy.deepcopy(module).float()
    return module


@contextmanager
def _evaluating(torch: Any, module: Any) -> Iterator[None]:
    """Put a module into eval() mode without gradients, and restore the mode of each part."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, training in modes:  # a part before those in it
            part.train(training)


# --- files ----------------------------------------------------------------------------------


def verify(model: LSTM, x: Path, expected: Path, tolerance: float | None = None) -> str:
    """Return a line that says how far the scores of a model are from those in a file.

    Parameters
    ----------
    model : LSTM
        The model.
    x, expected : path
        ``.npy`` files: the sequences, and what `predict` should return for them.
    tolerance : float, optional
        The largest difference to accept; by default that of `allowed_error`.

    Raises
    ------
    ValueError
        If they are further apart or differ in shape, or there is nothing to compare.
    OSError
        If a file cannot be read.
    """
    inputs, theirs = _inputs(model, _read(x), str(x)), _read(expected)
    ours = model.predict(inputs)
    if theirs.shape != ours.shape:
        if [n for n in theirs.shape if n != 1] != [n for n in ours.shape if n != 1]:
            raise ValueError(
                f"{expected}: expected scores of shape {ours.shape} as the model gives for "
                f"{x.name}, got {theirs.shape}"
            )
        theirs = theirs.reshape(ours.shape)
    try:
        found = compare(ours, theirs)
    except ValueError as error:
        raise ValueError(f"{expected}: {error}") from None
    coarser = np.float32 if np.float32 in (model.dtype, theirs.dtype) else model.dtype
    allowed = allowed_error(model, inputs, ours, coarser) if tolerance is None else tolerance
    said = f"{ours.shape} scores, at most {found.largest:.3g} apart, {allowed:.3g} is allowed"
    if found.within(allowed):
        return said
    raise ValueError(f"{expected} does not agree: {said}; {found}")


def _read(path: Path) -> Array:
    """The numbers of an .npy file."""
    with opened(path) as file:
        try:
            array = np.load(file, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path}: expected an .npy file of numbers: {error}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise ValueError(f"{path}: expected an .npy file of numbers")
    return array
