"""A chain of parts that the caller names one by one (the hint `parts`).

A part is ``name``, ``name(word, option=value)`` or a word. A name is that of weights, or of a
module. What weights do not say (the stride of a convolution, the epsilon of a normalisation) stands
in brackets, and has to: no number is guessed. A module says it itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.floats import widened
from fastlstm.formats.found import Found
from fastlstm.formats.torch.hints import Hints
from fastlstm.formats.torch.modules import (
    activation_named,
    activation_of,
    check_embedding,
    check_lstm,
    is_inert,
    is_torchs,
    kind_of,
)
from fastlstm.formats.torch.names import (
    as_numpy,
    dense_from,
    embedding_from,
    find_name,
    layers_from,
    lstm_names,
    shortened,
)
from fastlstm.formats.torch.state import parts_of
from fastlstm.formats.torch.unused import Without, groups_of, ignored_names
from fastlstm.formats.trust import WrongChoice
from fastlstm.messages import Message, Option
from fastlstm.network.activations import as_activations
from fastlstm.network.convolution import Conv
from fastlstm.network.embedding import Embedding
from fastlstm.network.network import Network
from fastlstm.network.normalisation import Affine, LayerNorm
from fastlstm.network.pointwise import OVER_NUMBERS, Activate, PReLU
from fastlstm.network.pooling import Pool
from fastlstm.network.reading import READS, Read
from fastlstm.network.steps import Flatten, Repeat

__all__ = ["chain_of"]

Array = npt.NDArray[Any]

_ITEM: Final = re.compile(r"\s*([^()\s]+)\s*(?:\((.*)\))?\s*")
_CONV: Final = ("stride", "padding", "dilation", "groups")
ALLOWED: Final = {"parts", "ignore", "activations"}  # hints


class Item(NamedTuple):
    """A part as the caller wrote it."""

    text: str
    name: str
    words: tuple[Any, ...]  # in brackets, without a name
    options: dict[str, Any]


def chain_of(source: Any, hints: Hints) -> Found:
    """The network of the parts that the hints name.

    Raises
    ------
    WrongChoice, UnsupportedModelError, ValueError
        If a part is not there or not computed, says too little, or does not fit; or if weights or
        modules are left over.
    """
    if others := hints.given.keys() - ALLOWED:
        said = ": all that is computed is named in it; it does not go together with "
        raise WrongChoice(Message(Option("parts"), said, Option(min(others))))
    chain = _Chain(source, hints)
    for text in hints.parts:
        chain.take(_item(text))
    return chain.found()


def _item(text: str) -> Item:
    match = _ITEM.fullmatch(text)
    if match is None:
        raise WrongChoice(
            Message(Option("parts"), f": expected a name, or name(option=value), got {text!r:.80}")
        )
    words: list[Any] = []
    options: dict[str, Any] = {}
    for piece in filter(None, (k.strip() for k in re.split(r",(?![^\[(]*[\])])", match[2] or ""))):
        name, equals, value = piece.partition("=")
        try:
            read = ast.literal_eval((value if equals else name).strip())
        except (ValueError, SyntaxError):
            read = (value if equals else name).strip()
        if equals:
            options[name.strip()] = read
        else:
            words.append(read)
    return Item(text, match[1], tuple(words), options)


class _Chain:
    """A network in the making."""

    def __init__(self, source: Any, hints: Hints) -> None:
        self.of_cell = as_activations([activation_named(k) for k in hints.activations])
        self.tensors, self.modules = parts_of(source)
        left_out = ignored_names(hints.ignored, self.tensors, self.modules)
        self.unused = [name for name in self.tensors if name in left_out]
        self.tensors = Without(self.tensors, left_out)
        self.modules = {k: v for k, v in self.modules.items() if k not in left_out}
        self.parts: list[Any] = []
        self.used: set[str] = set()  # names of tensors
        self.seen: set[str] = set()  # names of modules

    # --- what a part is ---------------------------------------------------------------------

    def take(self, item: Item) -> None:
        """Add what an item stands for."""
        module = find_name(self.modules, item.name, "", "parts") if self.modules else None
        tensor = self._weights(item.name)
        if module is not None and not (item.words or item.options):
            self.take_module(module)
        elif tensor is not None:
            self.take_weights(tensor, item)
        elif item.name in WORDS:
            self._add(item, lambda: WORDS[item.name](*item.words, **item.options))
        else:
            self._take_activation(item)

    def _weights(self, name: str) -> str | None:
        """The full name of a group of weights."""
        roots = dict.fromkeys(k.rpartition(".")[0] for k in self.tensors)
        if name not in roots and name in {*WORDS, *OVER_NUMBERS}:
            return None
        return find_name(roots, name, "", "parts")

    def _take_activation(self, item: Item) -> None:
        try:
            named = (item.name, *item.words) if item.words else item.name
            activation = item.name if item.name in OVER_NUMBERS else activation_named(named)
        except ValueError:
            names = sorted({k.rpartition(".")[0] or k for k in self.tensors})
            raise WrongChoice(
                Message(
                    Option("parts", [item.text]),
                    f": the model has no {item.name!r}, and there is no such activation, pooling "
                    f"or reading; it has {shortened(names)}, and the words are "
                    f"{', '.join(WORDS)} and activations such as relu",
                )
            ) from None
        self._add(item, lambda: Activate(activation))

    def take_weights(self, name: str, item: Item) -> None:
        """Add the part that these weights are by their shapes, and by what is said of them."""
        names = [k for k in self.tensors if k.startswith(f"{name}.")]
        shapes = {k[len(name) + 1 :]: tuple(self.tensors[k].shape) for k in names}
        weight = shapes.get("weight", ())
        if any(k.startswith("weight_ih") for k in shapes):
            self._nothing_said(item, "an LSTM")
            self._lstm(name)
        elif "running_mean" in shapes:
            epsilon = self._said(item, "a batch normalisation", (), ("epsilon",))[1]["epsilon"]
            self._add(item, lambda: self._batch_norm(name, epsilon))
        elif len(weight) == 3:
            options = self._said(item, "a convolution", (), _CONV)[1]
            self._add(item, lambda: self._conv(name, options))
        elif len(weight) == 1:
            what = "a normalisation over the numbers of a step, or the like"
            kinds = ("layer_norm",) if "bias" in shapes else ("layer_norm", "rms_norm", "prelu")
            words, options = self._said(item, what, kinds, ("epsilon",))
            self._add(item, lambda: self._over_numbers(name, words[0], options.get("epsilon")))
        elif len(weight) == 2 and "bias" not in shapes:
            what = "a table: a dense layer without bias, or an embedding"
            words, _ = self._said(item, what, ("dense", "embedding"), ())
            embedded = words[0] == "embedding"
            self._add(
                item, lambda: (embedding_from if embedded else dense_from)(self.tensors, name)
            )
        elif len(weight) == 2:
            self._nothing_said(item, "a dense layer")
            self._add(item, lambda: dense_from(self.tensors, name))
        else:
            (group,) = groups_of(self.tensors, names)
            raise UnsupportedModelError(
                Message(Option("parts", [item.text]), f": this version does not compute {group}")
            )
        self.used.update(names)
        self.seen.add(name)

    def _said(
        self, item: Item, what: str, words: tuple[str, ...], options: tuple[str, ...]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What is said of weights, which has to be all of it."""
        wanted = () if item.words == ("prelu",) else options
        kind = len(item.words) == 1 and item.words[0] in words if words else not item.words
        if kind and item.options.keys() == set(wanted):
            return item.words, item.options
        defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "epsilon": 1e-5}
        numbers = [f"{k}={defaults[k]:g}" for k in options]
        ways = []
        for k in words or ("",):
            inside = ", ".join([*filter(None, [k]), *(numbers if k != "prelu" else [])])
            ways.append(f"{item.name}({inside})")
        raise WrongChoice(
            Message(
                Option("parts", [item.text]),
                f": the weights are those of {what}. They do not say the rest, which your code "
                f"does: expected {' or '.join(map(repr, ways))}"
                f"{', with its numbers (these are the defaults of torch)' * bool(options)}",
            )
        )

    def _nothing_said(self, item: Item, what: str) -> None:
        if item.words or item.options:
            raise WrongChoice(
                Message(Option("parts", [item.text]), f": {item.name} is {what}, with no options")
            )

    def _add(self, item: Item, build: Callable[[], Any]) -> None:
        try:
            self.parts.append(build())
        except UnsupportedModelError:
            raise
        except (TypeError, ValueError) as error:
            raise WrongChoice(Message(Option("parts", [item.text]), f": {error}")) from None

    # --- weights as parts -------------------------------------------------------------------

    def _array(self, name: str) -> Array:
        return widened(name, as_numpy(self.tensors[name]))

    def _maybe(self, name: str) -> Array | None:
        return self._array(name) if name in self.tensors else None

    def _lstm(self, name: str) -> None:
        root = f"{name}." if name else ""
        check_lstm(self.modules, root)
        self.parts += layers_from(self.tensors, root, self.of_cell)
        self.used.update(lstm_names(self.tensors, root))
        self.seen.add(name)

    def _conv(self, name: str, options: Mapping[str, Any]) -> Conv:
        """A convolution, with torch's options: padding is a number on both sides, or a word."""
        padding = options["padding"]
        padding = (
            padding[0] if isinstance(padding, (tuple, list)) and len(padding) == 1 else padding
        )
        stride, dilation, groups = (_one(options[k]) for k in ("stride", "dilation", "groups"))
        weight = self._array(f"{name}.weight")
        if padding == "same":  # the odd step behind, as torch has it
            total = (weight.shape[2] - 1) * dilation
            padding = (total // 2, total - total // 2)
        if isinstance(padding, int):
            padding = (padding, padding)
        return Conv(
            np.ascontiguousarray(weight.transpose(0, 2, 1)),
            self._maybe(f"{name}.bias"),
            stride=stride,
            dilation=dilation,
            groups=groups,
            padding=padding,
        )

    def _batch_norm(self, name: str, epsilon: float) -> Affine:
        mean, variance = (self._array(f"{name}.running_{k}") for k in ("mean", "var"))
        scale, shift = (self._maybe(f"{name}.{k}") for k in ("weight", "bias"))
        wide = np.sqrt(variance.astype(np.float64) + float(epsilon))
        factor = (1 if scale is None else scale.astype(np.float64)) / wide
        shift = np.zeros_like(mean) if shift is None else shift
        return Affine(mean, factor.astype(mean.dtype), shift)

    def _over_numbers(self, name: str, kind: str, epsilon: float | None) -> LayerNorm | PReLU:
        weight, bias = self._array(f"{name}.weight"), self._maybe(f"{name}.bias")
        if kind == "prelu":
            if bias is not None:
                raise ValueError(f"{name}: a PReLU has no bias")
            if len(weight) == 1:  # one slope for all
                weight = np.full(self._width(), weight[0], weight.dtype)
            return PReLU(weight)
        assert epsilon is not None
        shift = np.zeros_like(weight) if bias is None else bias
        return LayerNorm(weight, shift, epsilon, centered=kind == "layer_norm")

    def _width(self) -> int:
        """How many numbers the parts so far give."""
        for part in reversed(self.parts):
            size = getattr(part, "output_size", None)
            if size is not None:
                return int(size)
        raise ValueError("expected a part in front that says how many numbers there are")

    # --- modules as parts -------------------------------------------------------------------

    def take_module(self, name: str) -> None:
        """Add a module, or all that is in a Sequential."""
        module = self.modules[name]
        kind = kind_of(module)
        self.seen.add(name)
        if kind == "Sequential" and is_torchs(module):
            for child in [k for k in self.modules if k.rpartition(".")[0] == name and k != name]:
                self.take_module(child)
            return
        if is_inert(module):
            return
        item = Item(name, name, (), {})
        if kind in ("LSTM", "LSTMCell"):
            self._lstm(name)
            return
        try:
            read = MODULES.get(kind) if is_torchs(module) else None
            if read is not None:
                self._add(item, lambda: read(self, name, module))
                self.used |= {k for k in self.tensors if k.startswith(f"{name}.")}
                return
            activation = activation_of(name, module, True)
        except AttributeError as error:
            raise UnsupportedModelError(
                f"{name} ({kind}): the file does not hold its options ({error}); say them in "
                "brackets behind its name"
            ) from None
        if activation is None:
            raise UnsupportedModelError(
                f"{name} is a {kind}: as one of the parts this version computes LSTM, "
                f"{', '.join(MODULES)}, activations, and Sequentials of these"
            )
        self._add(item, lambda: Activate(activation))

    # --- all of it --------------------------------------------------------------------------

    def found(self) -> Found:
        """The network, if nothing is left over."""
        rest = [name for name in self.tensors if name not in self.used]
        groups = groups_of(self.tensors, [k for k in rest if not k.endswith("num_batches_tracked")])
        if groups:
            raise WrongChoice(
                Message(
                    Option("parts"),
                    f": the model holds more: {', '.join(map(str, groups[:8]))}. Name them in "
                    "their places, or, if they are of another branch, leave them out with ",
                    Option("ignore"),
                )
            )
        around = {k.rpartition(".")[0] for k in self.modules} | self.seen
        strange = {k: kind_of(v) for k, v in self.modules.items() if not is_inert(v)}
        if left := [f"{k} ({kind})" for k, kind in strange.items() if k and k not in around]:
            raise WrongChoice(
                Message(
                    Option("parts"),
                    f": the module computes more: {shortened(left)}. Name them in their places, "
                    "or leave them out with ",
                    Option("ignore"),
                )
            )
        try:
            network = Network(tuple(self.parts))
            if network.shapes[-1].every:
                network = Network(tuple(self.parts), return_sequences=True)
        except UnsupportedModelError:
            raise
        except ValueError as error:
            raise WrongChoice(Message(Option("parts"), f": {error}")) from None
        return Found(network, tuple(self.unused))


def _one(value: Any) -> Any:
    """A number, also as torch's modules have it: (number,)."""
    return value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value


def _pool(how: str) -> Callable[..., Pool]:
    """A pooling with the options and defaults of torch's."""

    def build(
        size: Any, *, stride: Any = None, padding: Any = 0, ceil: Any = False, dilation: Any = 1
    ) -> Pool:
        around = _one(padding)
        return Pool(
            how,
            _one(size),
            _one(stride),
            dilation=_one(dilation),
            padding=(around, around),
            ceil=ceil,
            counts_padding=how == "mean",
        )

    return build


# Words that stand for a part: as the caller calls them.
WORDS: Final[dict[str, Callable[..., Any]]] = {
    "max_pool": _pool("max"),
    "avg_pool": _pool("mean"),
    "flatten": lambda steps: Flatten(steps),
    "repeat": lambda steps: Repeat(steps),
    **{how: (lambda how=how: Read(how)) for how in READS},
}


def _conv_module(chain: _Chain, name: str, module: Any) -> Conv:
    if module.padding_mode != "zeros":
        raise UnsupportedModelError(f"{name}: padding_mode {module.padding_mode!r}")
    return chain._conv(name, {k: getattr(module, k) for k in _CONV})


def _batch_norm_module(chain: _Chain, name: str, module: Any) -> Affine:
    if f"{name}.running_mean" not in chain.tensors:
        raise UnsupportedModelError(f"{name}: a batch normalisation without running statistics")
    return chain._batch_norm(name, module.eps)


def _layer_norm_module(chain: _Chain, name: str, module: Any) -> Any:
    weight = chain.tensors.get(f"{name}.weight")
    if weight is None or len(weight.shape) != 1:
        raise UnsupportedModelError(f"{name}: a normalisation without weights, or of several axes")
    kind = "layer_norm" if kind_of(module) == "LayerNorm" else "rms_norm"
    if module.eps is None:
        raise UnsupportedModelError(f"{name}: a normalisation without an epsilon of its own")
    return chain._over_numbers(name, kind, module.eps)


def _max_pool_module(chain: _Chain, name: str, module: Any) -> Pool:
    options = {k: getattr(module, k) for k in ("stride", "padding", "dilation")}
    return _pool("max")(module.kernel_size, ceil=module.ceil_mode, **options)


def _avg_pool_module(chain: _Chain, name: str, module: Any) -> Pool:
    if not module.count_include_pad and _one(module.padding):
        raise UnsupportedModelError(f"{name}: count_include_pad=False with padding")
    options = {k: getattr(module, k) for k in ("stride", "padding")}
    return _pool("mean")(module.kernel_size, ceil=module.ceil_mode, **options)


def _embedding_module(chain: _Chain, name: str, module: Any) -> Embedding:
    check_embedding(chain.modules, name)
    return embedding_from(chain.tensors, name)


# Kind of module: what makes a part of it.
MODULES: Final[dict[str, Callable[[_Chain, str, Any], Any]]] = {
    "AvgPool1d": _avg_pool_module,
    "BatchNorm1d": _batch_norm_module,
    "Conv1d": _conv_module,
    "Embedding": _embedding_module,
    "LayerNorm": _layer_norm_module,
    "Linear": lambda chain, name, module: dense_from(chain.tensors, name),
    "MaxPool1d": _max_pool_module,
    "PReLU": lambda chain, name, module: chain._over_numbers(name, "prelu", None),
    "RMSNorm": _layer_norm_module,
}
